import dataclasses
import time

import numpy as np

from crossrec.components.cross_selector.auto import AutoCrosses, SearchBudget
from crossrec.components.cross_selector.candidates import Candidates
from crossrec.components.cross_selector.data import Rows, make_sample
from crossrec.components.cross_selector.evaluate import Given, users_in_selection, worth
from crossrec.components.cross_selector.score import Model
from crossrec.components.cross_selector.search import Search
from crossrec.components.features.crosses import HashedCross
from tests.unit.components.cross_selector.simulated import make_rows, search, select, table

LEVELS = (2, 2, 5, 3, 4, 6, 3, 2)
TRIPLE = table(5, 5, 3, 4)


def planted(columns):
    exclusive = 1.0 * ((columns["a"] ^ columns["b"]) - 0.5)
    return -1.0 + exclusive + 0.8 * TRIPLE[columns["c"], columns["d"], columns["e"]]


def test_finds_an_exclusive_or_and_a_pure_triple_and_nothing_else():
    found = search(make_rows(1, 16_000, LEVELS, planted))
    assert {frozenset(names) for names in found.chosen} == {frozenset("ab"), frozenset("cde")}
    assert found.looked_at == 28 + 56 + 70


def test_a_pair_of_a_triple_is_kept_only_if_it_has_an_effect_of_its_own():
    def image(columns):
        return -1.0 + 1.2 * TRIPLE[columns["c"], columns["d"], np.maximum(columns["e"] - 4, 0)]

    def both(columns):
        return image(columns) + 1.2 * table(8, 5, 3)[columns["c"], columns["d"]]

    for logit, expected in ((image, {"cde"}), (both, {"cd", "cde"})):
        rows = make_rows(3, 24_000, (2, 2, 5, 3, 8), logit)
        # One level of e is five times as frequent as the others, so that the triple alone shows in (c, d).
        columns = {**rows.columns, "e": np.maximum(rows.columns["e"] - 4, 0)}
        found = search(dataclasses.replace(rows, columns=columns))
        assert "+ c x d:" in " ".join(found.steps)
        assert {"".join(sorted(one)) for one in found.chosen} == expected


def test_chooses_nothing_among_noise():
    chosen = [
        names for seed in range(25) for names in search(make_rows(seed, 3_000, (3, 4, 6, 5, 30), user_sd=0.5)).chosen
    ]
    assert len(chosen) <= 1


def test_noise_passes_selection_and_confirmation_together_never():
    reports = [select(make_rows(seed, 3_000, (3, 4, 6, 5), user_sd=0.5), max_order=2) for seed in range(100, 115)]
    assert not any(report.crosses for report in reports)


def leaking(seed):
    """The label is a function of a slot of time and a bit, a new one in each slot; and of nothing else."""
    rows = make_rows(seed, 12_000, (2, 3, 3))
    slot = np.arange(12_000) // 60
    secret = np.random.default_rng(seed).integers(0, 2, (200, 2))
    return dataclasses.replace(
        rows,
        columns={**rows.columns, "slot": slot},
        labels={"clicked": secret[slot, rows.columns["a"]]},
        times=np.arange(12_000),
    )


def test_a_leak_that_a_random_split_would_praise_is_refused():
    rows = leaking(0)
    sample = make_sample(rows)
    model = Model(sample.tasks[0], sample.tasks[0].ends[0], 5)
    given = [Given(model.task, model.residual, model.curvature, model.logits[model.task.block(1)])]
    candidates = Candidates(sample, {name: name for name in rows.columns}, 32)
    value = worth(candidates.field(("a", "slot")), given, users_in_selection(sample, 1), 5)
    assert value.fitted > 0.3
    assert value.gain.mean <= 0
    assert search(rows).chosen == []
    # The same rows in a random order of time: the leak is found.
    shuffled = dataclasses.replace(rows, times=np.random.default_rng(1).permutation(12_000))
    assert ("a", "slot") in search(shuffled).chosen


def summary(report):
    return [
        (one.name, round(one.gain.mean, 9), round(one.gain.error, 9), one.buckets, one.distinct)
        for one in (*report.crosses, *report.refused)
    ]


def test_the_same_rows_give_the_same_report_in_any_order():
    rows = make_rows(2, 12_000, LEVELS[:6], planted)
    first = select(rows, max_order=3)
    assert len(first.crosses) == 2
    order = np.random.default_rng(0).permutation(12_000)
    shuffled = Rows(
        {name: values[order] for name, values in rows.columns.items()},
        {name: values[order] for name, values in rows.labels.items()},
        *(values[order] for values in (rows.times, rows.users, rows.keys)),
        {},
    )
    for other in (rows, shuffled):
        again = select(other, max_order=3)
        assert again.model_copy(update={"seconds": first.seconds}) == first


def test_renamed_ids_give_the_same_gains():
    rows = make_rows(2, 12_000, LEVELS[:6], planted)
    rng = np.random.default_rng(9)
    renamed = {name: (7 + rng.permutation(50))[values] for name, values in rows.columns.items()}
    first = search(rows, max_order=3)
    other = search(dataclasses.replace(rows, columns=renamed), max_order=3)
    assert first.steps == other.steps and len(first.chosen) == 2


def test_the_budget_of_time_ends_the_search_and_says_so():
    rows = make_rows(2, 12_000, LEVELS, planted)
    sample = make_sample(rows)
    began = time.monotonic()
    auto = AutoCrosses(budget=SearchBudget(minutes=1e-6))
    found = Search(sample, auto, {name: name for name in rows.columns}).run()
    assert found.chosen == [] and found.stopped.startswith("budget.minutes")
    assert time.monotonic() - began < 60


def test_no_more_crosses_than_asked_for():
    found = search(make_rows(1, 16_000, LEVELS, planted), max_crosses=1)
    assert len(found.chosen) == 1 and found.stopped.startswith("max_crosses")


def test_one_version_of_a_number_in_a_cross_and_of_a_cross_in_the_result():
    def logit(columns):
        return 1.2 * table(3, 2, 4)[columns["a"], columns["b"] // 8]

    rows = make_rows(4, 12_000, (2, 32), logit)
    columns = {"a": rows.columns["a"], **{f"b_in_{k}": rows.columns["b"] * k // 32 for k in (2, 4, 32)}}
    families = {name: name[0] for name in columns}
    found = search(dataclasses.replace(rows, columns=columns), families)
    assert found.chosen == [("a", "b_in_4")]
    assert {tuple(sorted(name[0] for name in names)) for names in found.pairs} == {("a", "b")}


def test_what_one_feature_tells_of_another_is_not_crossed():
    rows = make_rows(4, 6_000, (3, 40, 5))
    columns = {**rows.columns, "country": rows.columns["b"] % 7}
    sample = make_sample(dataclasses.replace(rows, columns=columns))
    pairs = Candidates(sample, {name: name for name in columns}, 32).of_order(2, 0)
    assert ("b", "country") not in pairs
    assert len(pairs) == 5


def test_orders_with_too_many_crosses_extend_the_best_parents_chosen_or_not():
    rows = make_rows(4, 6_000, (3, 4, 5, 3, 4))
    candidates = Candidates(make_sample(rows), {name: name for name in rows.columns}, 32)
    assert len(candidates.of_order(3, 10)) == 10
    assert candidates.of_order(3, 9) is None
    assert candidates.extending([("b", "d")]) == [("a", "b", "d"), ("b", "c", "d"), ("b", "d", "e")]


def test_the_beam_finds_what_extends_a_cross_that_was_chosen():
    def logit(columns):
        pair = table(8, 5, 3)[columns["c"], columns["d"]]
        return -1.0 + 1.2 * pair + 1.2 * TRIPLE[columns["c"], columns["d"], columns["e"]]

    rows = make_rows(3, 24_000, (2, 2, 5, 3, 4, 3), logit)
    found = search(rows, exhaustive=0, beam=3)
    assert found.chosen == [("c", "d"), ("c", "d", "e")]
    assert found.looked_at < 15 + 20 + 15


def test_wide_crosses_of_multi_valued_features_are_left_out():
    rows = make_rows(4, 6_000, (3, 4))
    tags = np.random.default_rng(0).integers(0, 9, (6_000, 6))
    columns = {**rows.columns, "tags": tags, "words": tags[:, ::-1]}
    candidates = Candidates(make_sample(dataclasses.replace(rows, columns=columns)), {n: n for n in columns}, 32)
    assert ("tags", "words") not in candidates.of_order(2, 0)
    assert ("a", "tags") in candidates.of_order(2, 0)


def test_explicit_crosses_are_measured_and_never_chosen_again():
    rows = make_rows(1, 16_000, LEVELS, planted)
    explicit = (HashedCross(inputs=("b", "a"), buckets=64), HashedCross(inputs=("g", "h"), name="idle"))
    report = select(rows, explicit, max_order=3)
    assert [(one.name, one.explicit) for one in report.crosses] == [
        ("b_x_a", True), ("idle", True), ("c_x_d_x_e", False),
    ]  # fmt: skip
    useful, idle, _ = report.crosses
    assert useful.gain.low > 0 and useful.buckets == 64
    assert idle.gain.low <= 0 <= idle.gain.high or idle.gain.mean == 0


def test_multi_valued_features_are_crossed_by_the_mean_over_their_pairs():
    rng = np.random.default_rng(0)
    rows = make_rows(0, 16_000, (4, 3))
    tags = rng.integers(0, 5, (16_000, 3))
    tags[rng.random((16_000, 3)) < 0.3] = -1
    effects = np.append(table(1, 4, 5), np.zeros((4, 1)), axis=1)
    logits = -1 + 2.0 * effects[rows.columns["a"][:, None], tags].sum(1) / np.maximum((tags >= 0).sum(1), 1)
    labels = (rng.random(16_000) < 1 / (1 + np.exp(-logits))).astype(int)
    found = search(dataclasses.replace(rows, columns={**rows.columns, "tags": tags}, labels={"clicked": labels}))
    assert [set(one) for one in found.chosen] == [{"a", "tags"}]


def test_a_cross_that_moves_only_the_second_label_of_a_funnel_is_found():
    rows = make_rows(7, 30_000, (4, 5, 3))
    rng = np.random.default_rng(1)
    clicked = (rng.random(30_000) < 0.3).astype(int)
    logits = 1.0 * table(2, 4, 5)[rows.columns["a"], rows.columns["b"]]
    bought = clicked * (rng.random(30_000) < 1 / (1 + np.exp(-logits)))
    funnel = dataclasses.replace(rows, labels={"bought": bought, "clicked": clicked})
    sample = make_sample(funnel)
    assert [task.label for task in sample.tasks] == ["clicked", "bought"]
    assert sample.tasks[1].ends[2] == clicked.sum()
    assert search(funnel).chosen == [("a", "b")]
