"""Which answers count as equal to the recorded ones."""

import numpy as np
import pytest

from crossrec.serving.contract.messages import PredictResponse
from crossrec.serving.contract.prediction_logs import predict_request, prediction_log
from crossrec.serving.releases.golden import compare

IDS = np.array([[b"a", b"b", b"c", b""]], object)
SCORES = np.array([[3.0, 2.0, 1.0, -np.inf]], np.float32)


def answer(version=7, **outputs):
    return prediction_log(predict_request({}), outputs, version).predict_log.response


def found(expected, answered, version=7, tolerance=1e-3):
    return compare(expected, answered, version, tolerance).problems


def lists(ids=IDS, scores=SCORES, **others):
    return answer(item_ids=ids, scores=scores, model_version=np.array([7]), **others)


def test_equal_answers_are_equal_and_comparison_is_per_value():
    values = np.array([1.0, np.nan, np.inf, -np.inf, 1e6], np.float32)
    assert found(answer(y=values, n=np.array([1, 2])), answer(y=values, n=np.array([1, 2]))) == []
    # The bound is tolerance * (1 + |expected|): 1001.0 at a million, 0.002 at one.
    assert found(answer(y=values), answer(y=values + np.array([0.0019, 0, 0, 0, 999], np.float32))) == []
    assert found(answer(y=values), answer(y=values + np.array([0.0021, 0, 0, 0, 0], np.float32))) == [
        "y[0] is 1.0021 instead of 1 (1 of 5 differ)"
    ]
    assert found(answer(y=values), answer(y=values[[0, 0, 2, 3, 4]])) == ["y[1] is 1 instead of nan (1 of 5 differ)"]
    assert found(answer(n=np.array([1, 2])), answer(n=np.array([2, 1]))) == ["n[0] is 2 instead of 1 (2 of 2 differ)"]


@pytest.mark.parametrize(
    ("answered", "line"),
    [
        (answer(8, y=np.zeros(2, np.float32)), "version 8 answered instead of 7"),
        (answer(y=np.zeros(3, np.float32)), "y has shape (3,) instead of (2,)"),
        (answer(y=np.zeros(2, np.float64)), "y is float64 instead of float32"),
        (answer(z=np.zeros(2, np.float32)), "outputs are ['z'] instead of ['y']"),
        (PredictResponse(), "version 0 answered instead of 7"),
    ],
)
def test_what_differs_is_named(answered, line):
    assert line in found(answer(y=np.zeros(2, np.float32)), answered)


def test_the_model_version_must_be_the_one_that_is_asked():
    recorded = answer(0, model_version=np.array([0, 0]))
    assert found(recorded, answer(7, model_version=np.array([7, 7]))) == []
    assert found(recorded, answer(7, model_version=np.array([0, 0]))) == [
        "model_version[0] is 0 instead of 7 (2 of 2 differ)"
    ]


def test_items_with_nearly_equal_scores_may_change_places_with_all_that_belongs_to_them():
    scores = np.array([[3.0, 2.0001, 2.0, -np.inf]], np.float32)
    title = np.array([[b"A", b"B", b"C", b""]], object)
    swap = [0, 2, 1, 3]
    expected = lists(scores=scores, title=title)
    swapped = lists(IDS[:, swap], scores[:, [0, 1, 2, 3]], title=title[:, swap])
    assert found(expected, swapped) == []
    mixed_up = lists(IDS[:, swap], scores, title=title)
    assert found(expected, mixed_up) == ["title[0, 1] is 'C' instead of 'B' (2 of 4 differ)"]
    # Scores that differ by more than the tolerance keep their order.
    far = np.array([[3.0, 2.1, 2.0, -np.inf]], np.float32)
    assert found(lists(scores=far), lists(IDS[:, swap], far)) == ["scores[0, 1] is 2 instead of 2.1 (2 of 4 differ)"]


def test_the_last_item_may_give_way_to_another_of_nearly_its_score():
    full = np.array([[3.0, 2.0, 1.0, 0.5]], np.float32)
    ids = np.array([[b"a", b"b", b"c", b"d"]], object)
    other = np.array([[b"a", b"b", b"c", b"e"]], object)
    near = np.array([[3.0, 2.0, 1.0, 0.5004]], np.float32)
    assert found(lists(ids, full), lists(other, near)) == []
    above = np.array([[3.0, 2.0, 1.0, 0.6]], np.float32)
    assert "item_ids[0, 3] is 'e' instead of 'd' (1 of 4 differ)" in found(lists(ids, full), lists(other, above))
    first = np.array([[b"e", b"b", b"c", b"d"]], object)
    assert "item_ids[0, 0] is 'e' instead of 'a' (1 of 4 differ)" in found(lists(ids, full), lists(first, full))
    shorter = np.array([[b"a", b"b", b"c", b""]], object)
    assert found(lists(ids, full), lists(shorter, SCORES)) != []


def test_the_deviation_is_that_of_the_items_and_not_of_their_places():
    expected = lists(np.array([[b"a", b"b", b"c", b""]], object), np.array([[3, 2, 2, -np.inf]], np.float32))
    swapped = lists(np.array([[b"a", b"c", b"b", b""]], object), np.array([[3, 2, 1.25, -np.inf]], np.float32))
    compared = compare(expected, swapped, 7, 1e-3)
    assert compared.deviation == 0.75 / 3, "of b, from 2 to 1.25; the paddings are equal"
    assert len(compared.problems) == 1
    assert compare(expected, expected, 7, 0).deviation == 0
    assert compare(expected, lists(scores=np.full((1, 4), np.nan, np.float32)), 7, 1e-3).deviation == np.inf
    assert compare(expected, answer(other=IDS), 7, 1e-3).deviation is None, "nothing can be compared"
