"""The AUC by counts in sorted runs on disk."""

import math
import os

import numpy as np
import pytest

from crossrec.components.evaluation.metrics import auc
from crossrec.components.evaluation.score_counts import ScoreCounts, _merged


def counted(directory, labels, scores, rows, batches):
    counts = ScoreCounts(str(directory), rows)
    for part in np.array_split(np.arange(len(labels)), batches):
        counts.add(labels[part], scores[part])
    return counts


def data(seed, count=5_000, digits=3):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    scores = (rng.normal(size=count) + labels).astype(np.float32)
    return labels, np.round(scores, digits)


@pytest.mark.parametrize("digits", [0, 2, 7])
@pytest.mark.parametrize(("rows", "batches"), [(10**6, 1), (10**6, 40), (600, 40), (100, 100), (1, 60)])
def test_it_is_the_auc_to_the_last_bit_however_many_files_there_are(tmp_path, digits, rows, batches):
    labels, scores = data(digits, 900 if rows == 1 else 5_000, digits)
    counts = counted(tmp_path, labels, scores, rows, batches)
    assert bool(os.listdir(tmp_path)) == (rows < 10**6)
    assert counts.auc() == auc(labels, scores) == counts.auc()
    assert (counts.positives, counts.negatives) == (labels.sum(), (~labels).sum())


def test_rows_may_come_after_the_first_figure(tmp_path):
    labels, scores = data(4)
    counts = counted(tmp_path, labels[:3_000], scores[:3_000], 700, 5)
    assert counts.auc() == auc(labels[:3_000], scores[:3_000])
    counts.add(labels[3_000:], scores[3_000:])
    assert counts.auc() == auc(labels, scores)


def test_equal_scores_know_nothing_and_one_class_has_no_figure(tmp_path):
    labels, _ = data(0)
    same = np.full(len(labels), 0.25, np.float32)
    assert counted(tmp_path, labels, same, 300, 30).auc() == 0.5
    assert math.isnan(counted(tmp_path, np.ones(10, bool), same[:10], 300, 3).auc())
    assert math.isnan(ScoreCounts(str(tmp_path)).auc())


def test_scores_without_bounds_are_ordered_too(tmp_path):
    labels = np.array([False, True, False, True])
    scores = np.array([-np.inf, np.inf, np.inf, 0.0], np.float32)
    for rows in (1, 10):
        assert counted(tmp_path, labels, scores, rows, 4).auc() == (1 + 1 + 0.5 + 0) / 4


@pytest.mark.parametrize("digits", [1, 7])
def test_no_piece_of_what_is_read_back_is_much_larger_than_asked(tmp_path, digits):
    labels, scores = data(1, 20_000, digits)
    runs = []
    for part in np.array_split(np.arange(len(labels)), 16):
        runs.append(counted(tmp_path, labels[part], scores[part], 10**6, 1)._held())
    pieces = list(_merged(runs, 500))
    assert max(len(piece) for piece in pieces) <= 2 * 500
    joined = np.concatenate([piece["score"] for piece in pieces])
    assert joined.tolist() == np.unique(scores).tolist(), "each score once, ascending"
    assert sum(piece["positives"].sum() for piece in pieces) == labels.sum()
