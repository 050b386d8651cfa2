"""Estimates, intervals and verdicts: numbers by hand, coverage, power, and who may decide."""

import math

import numpy as np
import pytest

from crossrec.serving.experiments.analysis import Design, MetricValues, Plan, detectable_lift, judge, units_needed
from crossrec.serving.experiments.analysis.contrast import Contrast, contrast
from crossrec.serving.experiments.analysis.levels import levels
from crossrec.serving.experiments.analysis.moments import Estimate, estimates

HALVES = Design(("stable", "canary"), (0.5, 0.5))


def metric(values, name="m", **parts):
    return MetricValues(name, np.asarray(values, float), **{k: np.asarray(v, float) for k, v in parts.items()})


def experiment(units, rates, seed=0, share=0.5):
    generator = np.random.default_rng(seed)
    arms = (generator.random(units) < share).astype(np.int64)
    return arms, metric(generator.random(units) < np.asarray(rates)[arms])


def only(judgement):
    (comparison,) = judgement.comparisons
    return comparison


def test_a_mean_by_hand():
    first, second = estimates(metric([1, 2, 3, 10, 20]), np.array([0, 0, 0, 1, 1]), 2)
    assert first[:3] == (3, 2.0, 1.0)
    assert second[:3] == (2, 15.0, 50.0)


def test_a_ratio_by_hand():
    # R = 6 / 12; residuals y - z / 2 = (0, -1, 1); over the mean 4: variance (1/16 + 1/16) / 2.
    (found,) = estimates(metric([1, 2, 3], denominators=[2, 6, 4]), np.array([0, 0, 0]), 1)
    assert found[:3] == (3, 0.5, 0.0625)


def test_the_variance_of_a_ratio_is_that_of_its_repetition():
    generator = np.random.default_rng(0)
    shown = generator.poisson(3, (2000, 400)) + 1.0
    clicked = generator.binomial(shown.astype(int), generator.beta(2, 8, shown.shape))
    ratios = clicked.sum(1) / shown.sum(1)
    arms = np.zeros(400, np.int64)
    within = [estimates(metric(c, denominators=s), arms, 1)[0].variance / 400 for c, s in zip(clicked[:50], shown[:50])]
    assert np.mean(within) == pytest.approx(ratios.var(), rel=0.1)


def test_a_covariate_takes_away_the_variance_that_it_explains_and_nothing_else():
    generator = np.random.default_rng(1)
    before = generator.normal(5, 1, 40_000)
    arms = (generator.random(40_000) < 0.5).astype(np.int64)
    values = 3 * before + generator.normal(0, 1, 40_000) + 0.5 * arms
    plain = estimates(metric(values), arms, 2)
    adjusted = estimates(metric(values, covariate=before), arms, 2)
    for one, other in zip(plain, adjusted):
        assert other.variance / one.variance == pytest.approx(0.1, rel=0.03)  # 1 - correlation^2 = 1 / 10
    assert adjusted[1].mean - adjusted[0].mean == pytest.approx(0.5, abs=0.04)
    constant = estimates(metric(values, covariate=np.ones(40_000)), arms, 2)
    assert constant == plain


def test_the_ends_of_a_lift_interval_are_where_the_test_turns():
    seen = Contrast(10.0, 11.0, 0.04, 0.09, 1000)
    for end in seen.lift_interval(1.96):
        ratio = 1 + end
        assert (11 - ratio * 10) ** 2 == pytest.approx(1.96**2 * (0.09 + ratio**2 * 0.04))
    assert seen.lift == pytest.approx(0.1)


def test_for_many_units_it_is_the_delta_methods():
    seen = Contrast(10.0, 11.0, 4e-6, 9e-6, 10**7)
    half = 1.96 * math.sqrt(9e-6 / 10**2 + 11**2 * 4e-6 / 10**4)
    assert seen.lift_interval(1.96) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-6)


@pytest.mark.parametrize("treatment", [9.0, 9.5, 10.0, 10.2, 10.4, 10.6, 11.0])
def test_lift_and_difference_agree_on_zero(treatment):
    seen = Contrast(10.0, treatment, 0.01, 0.02, 100)
    lift, difference = seen.lift_interval(2.5), seen.difference_interval(2.5)
    assert (lift[0] > 0, lift[1] < 0) == (difference[0] > 0, difference[1] < 0)


def test_there_is_no_lift_over_nothing():
    assert Contrast(0.0, 1.0, 0.1, 0.1, 100).lift is None
    assert Contrast(0.0, 1.0, 0.1, 0.1, 100).lift_interval(2.0) is None
    assert Contrast(0.5, 1.0, 0.1, 0.1, 100).lift_interval(2.0) is None


def test_an_arm_without_events_is_not_certain():
    # 3 of 1000 expected, none seen: with the arm's own variance this would be ten standard errors.
    control, treatment = Estimate(100_000, 0.003, 0.003 * 0.997, 0, 0), Estimate(1000, 0.0, 0.0, 0, 0)
    assert -2 < contrast(control, treatment).z < -1


def test_swapped_arms_swap_the_sign():
    arms, values = experiment(20_000, (0.1, 0.13))
    there, back = only(judge(HALVES, arms, [values])), only(judge(HALVES, 1 - arms, [values]))
    assert there.difference == pytest.approx(-back.difference)
    assert there.always_valid == pytest.approx(tuple(-end for end in reversed(back.always_valid)))
    assert (there.verdict, back.verdict) == ("higher", "lower")
    assert there.p_value == pytest.approx(back.p_value)
    ratio = (1 + there.lift) * (1 + back.lift)
    assert ratio == pytest.approx(1.0)


def test_the_single_look_interval_covers_the_true_lift():
    covered = []
    for seed in range(600):
        arms, values = experiment(3000, (0.2, 0.22), seed, share=0.3)
        low, high = only(judge(Design(("a", "b"), (0.7, 0.3)), arms, [values])).fixed_lift
        covered.append(low <= 0.1 <= high)
    assert abs(np.mean(covered) - 0.95) <= 3.3 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("planned", [None, 4000])
def test_looking_at_any_time_gives_no_more_false_verdicts_than_alpha(planned):
    design = Design(("a", "b"), (0.5, 0.5), planned_units=planned)
    looks = [*range(500, 4001, 500), 4500, 5000]
    wrong = 0
    for seed in range(300):
        arms, values = experiment(5000, (0.1, 0.1), seed)
        verdicts = {only(judge(design, arms[:n], [values.first(n)])).verdict for n in looks}
        wrong += bool(verdicts & {"higher", "lower"})
    assert wrong <= 0.05 * 300


def test_a_planned_experiment_finds_what_it_was_planned_for():
    plan = Plan(mean=0.2, power=0.8)
    units = units_needed(plan, 0.15)
    design = Design(("a", "b"), (0.5, 0.5), planned_units=units)
    found = 0
    for seed in range(400):
        arms, values = experiment(units, (0.2, 0.23), seed)
        found += only(judge(design, arms, [values])).verdict == "higher"
    assert abs(found / 400 - 0.8) <= 3.3 * math.sqrt(0.8 * 0.2 / 400)


def test_the_planned_look_is_one_look_whenever_it_is_made():
    arms, values = experiment(8000, (0.1, 0.125), 3)
    design = Design(("a", "b"), (0.5, 0.5), planned_units=5000)
    early = only(judge(design, arms[:4999], [values.first(4999)]))
    at_plan = only(judge(design, arms[:5000], [values.first(5000)]))
    later = only(judge(design, arms, [values]))
    assert later.fixed == at_plan.fixed and later.fixed_lift == at_plan.fixed_lift
    assert early.fixed != at_plan.fixed
    assert later.always_valid != at_plan.always_valid


def test_who_decides():
    strong = judge(HALVES, *_listed(experiment(4000, (0.1, 0.3))))
    assert (only(strong).verdict, only(strong).decided_by) == ("higher", "any look")
    design = Design(("a", "b"), (0.5, 0.5), planned_units=4000)
    same = judge(design, *_listed(experiment(4000, (0.2, 0.2), 5)))
    assert (only(same).verdict, only(same).decided_by) == ("no difference found", "planned look")
    early = judge(design, *_listed(experiment(3000, (0.2, 0.2), 5)))
    assert (only(early).verdict, only(early).decided_by) == ("undecided", "")


def _listed(pair):
    return pair[0], [pair[1]]


@pytest.mark.parametrize(("units", "rates"), [(60, (0.5, 0.5)), (4000, (0.001, 0.001)), (4000, (0.999, 0.999))])
def test_too_few_units_or_events_decide_nothing(units, rates):
    assert only(judge(HALVES, *_listed(experiment(units, rates)))).verdict == "too few"


def test_an_arm_that_broke_altogether_is_found():
    assert only(judge(HALVES, *_listed(experiment(2000, (0.2, 0.0))))).verdict == "lower"
    assert only(judge(HALVES, *_listed(experiment(2000, (1.0, 0.0))))).verdict == "lower"


def test_an_empty_arm_is_no_error():
    arms, values = experiment(500, (0.2, 0.2))
    found = only(judge(HALVES, np.zeros_like(arms), [values]))
    assert found.verdict == "too few" and found.lift is None and math.isnan(found.mean)


def test_every_comparison_gets_its_part_of_alpha():
    arms, values = experiment(3000, (0.2, 0.2))
    arms = np.arange(3000) % 3
    found = judge(Design(("a", "b", "c"), (1 / 3,) * 3), arms, [values, metric(values.values, "n")])
    assert [(one.metric, one.arm) for one in found.comparisons] == [("m", "b"), ("m", "c"), ("n", "b"), ("n", "c")]
    assert found.always_valid_level == pytest.approx(1 - 0.05 / 4)
    assert levels(0.05, 1, True) == pytest.approx((0.005, 0.045))
    assert sum(levels(0.05, 3, True)) == pytest.approx(0.05 / 3)


def test_units_needed_by_hand():
    # (z(0.9775) + z(0.8))^2 (0.05 * 0.95 / 0.5 + 0.055 * 0.945 / 0.5) / 0.005^2, z = 2.004654 and 0.841621
    assert units_needed(Plan(0.05), 0.1) == pytest.approx(2.846275**2 * (0.095 + 0.10395) / 0.005**2, abs=2)
    plan = Plan(10.0, 25.0, control_share=0.9, treatment_share=0.1)
    units = units_needed(plan, 0.05)
    assert detectable_lift(plan, units) == pytest.approx(0.05, rel=1e-4)
    assert units_needed(plan, -0.05) == units


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Design(("a",), (1.0,)), "give the control and at least one other"),
        (lambda: Design(("a", "b"), (1.0, 0.0)), "give a number above 0 for each of 2 arms"),
        (lambda: Design(("a", "b"), (0.5, 0.5), alpha=5), "alpha=5"),
        (lambda: Design(("a", "b"), (0.5, 0.5), planned_units=10), "planned_units=10"),
        (lambda: metric([1.0, math.nan]), "m.values: holds a number that is not finite"),
        (lambda: metric([1.0], covariate=[1, 2]), r"m.covariate: shape \(2,\)"),
        (lambda: metric([1.0], covariate=[1], denominators=[1]), "a ratio takes no covariate"),
        (lambda: judge(HALVES, np.array([0, 1]), [metric([1.0])]), "m: 1 values for 2 units"),
        (lambda: Plan(1.5), "mean=1.5"),
        (lambda: Plan(0.5, power=80), "power=80"),
        (lambda: Plan(0.5, control_share=0.9, treatment_share=0.2), "treatment_share=0.2"),
        (lambda: units_needed(Plan(0.5), 0.0), "lift=0.0"),
        (lambda: units_needed(Plan(0.5), 1.5), "lift=1.5"),
        (lambda: detectable_lift(Plan(0.5), 1), "units=1"),
    ],
)
def test_a_wrong_value_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
