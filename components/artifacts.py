"""Artifact types that the components pass to each other.

On Kubeflow the type name is what gets imported, and it must be ``package.Class``: hence
``crossrec.<Class>``, which the root package exports. Properties are left out, because
Kubeflow carries custom properties only.
"""

from __future__ import annotations

from tfx.types.artifact import Artifact
from tfx.types.system_artifacts import Dataset, Metrics, Model

__all__ = [
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
]


class RetrievalModel(Artifact):
    """A trained two-tower model: query tower and candidate tower."""

    TYPE_NAME = "crossrec.RetrievalModel"
    TYPE_ANNOTATION = Model


class CandidateIndex(Artifact):
    """The catalogue's embeddings, arranged for search."""

    TYPE_NAME = "crossrec.CandidateIndex"


class RankingModel(Artifact):
    """A trained ranking model."""

    TYPE_NAME = "crossrec.RankingModel"
    TYPE_ANNOTATION = Model


class PreviousModel(Artifact):
    """Which release a run's models start from, or that there is none."""

    TYPE_NAME = "crossrec.PreviousModel"


class ItemTable(Artifact):
    """The items with their raw and display columns, one row per item id."""

    TYPE_NAME = "crossrec.ItemTable"
    TYPE_ANNOTATION = Dataset


class TransformGraphs(Artifact):
    """The transform graphs of the query side and the item side, with their vocabularies."""

    TYPE_NAME = "crossrec.TransformGraphs"


class ServingBundle(Artifact):
    """One SavedModel, directly under the artifact's URI: answers ``recommend``, ``retrieve`` and ``rank``."""

    TYPE_NAME = "crossrec.ServingBundle"
    TYPE_ANNOTATION = Model


class EvaluationReport(Artifact):
    """Metrics of a bundle, of its stages and of the baselines."""

    TYPE_NAME = "crossrec.EvaluationReport"
    TYPE_ANNOTATION = Metrics


class CrossSet(Artifact):
    """The feature crosses that were chosen, with the evidence for each."""

    TYPE_NAME = "crossrec.CrossSet"


class TextEncoders(Artifact):
    """Language models as functions from a text to a vector: one SavedModel per configuration, by its key."""

    TYPE_NAME = "crossrec.TextEncoders"
    TYPE_ANNOTATION = Model


class TextEmbeddings(Artifact):
    """The centres of the groups that texts fall into, by encoder, and what embedding the texts took."""

    TYPE_NAME = "crossrec.TextEmbeddings"
