"""crossrec: feature crosses, retrieval and ranking for TFX pipelines and TensorFlow Serving.

Importing this package stays free of TensorFlow. It sets ``TF_USE_LEGACY_KERAS``, because
TensorFlow Recommenders needs Keras 2 and TensorFlow reads that variable once, at its first import.
The artifact types are importable from here (``crossrec.ServingBundle``), as Kubeflow wants it; the
first use of one imports TFX.
"""

import importlib
import os
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"

_ARTIFACTS = (
    "CandidateIndex",
    "CrossSet",
    "EvaluationReport",
    "ItemTable",
    "PreviousModel",
    "RankingModel",
    "RetrievalModel",
    "ServingBundle",
    "TextEmbeddings",
    "TextEncoders",
    "TransformGraphs",
)


def __getattr__(name: str) -> Any:
    if name in _ARTIFACTS:
        return getattr(importlib.import_module("crossrec.components.artifacts"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> "list[str]":
    return sorted([*globals(), *_ARTIFACTS])
