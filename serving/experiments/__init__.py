"""Experiments: which arm a unit belongs to, records of who saw which, and what came of it. No TensorFlow.

Example:
    split = LabelSplit(Experiment("ranker-7", {"stable": 80, "canary": 20}), ExposureLog("exposures"))
    client = RecommenderClient("127.0.0.1:8500", "recommender", ClientConfig(traffic=split))
"""

from crossrec.serving.experiments.experiment import Assignment, Experiment, ExperimentError
from crossrec.serving.experiments.exposure import Exposure
from crossrec.serving.experiments.exposure_files import ExposureFiles
from crossrec.serving.experiments.exposure_log import ExposureLog, ExposureSink
from crossrec.serving.experiments.label_split import LabelSplit
from crossrec.serving.experiments.source import WatchedExperiment

__all__ = [
    "Assignment",
    "Experiment",
    "ExperimentError",
    "Exposure",
    "ExposureFiles",
    "ExposureLog",
    "ExposureSink",
    "LabelSplit",
    "WatchedExperiment",
]
