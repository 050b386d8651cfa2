"""What an experiment shows: lift with intervals that allow for looking at any time. Needs numpy only."""

from crossrec.serving.experiments.analysis.judge import Comparison, Design, Judgement, judge
from crossrec.serving.experiments.analysis.moments import MetricValues
from crossrec.serving.experiments.analysis.planning import Plan, detectable_lift, units_needed
from crossrec.serving.experiments.analysis.sample_ratio import SampleRatio, sample_ratio

__all__ = [
    "Comparison",
    "Design",
    "Judgement",
    "MetricValues",
    "Plan",
    "SampleRatio",
    "detectable_lift",
    "judge",
    "sample_ratio",
    "units_needed",
]
