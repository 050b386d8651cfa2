"""The spec as a frozen model, composed of the parts that each component defines."""

from __future__ import annotations

from pydantic import Field

from crossrec.components.cross_selector.config import CrossesConfig
from crossrec.components.evaluation.config import EvaluationConfig
from crossrec.components.example_gen.config import DataConfig
from crossrec.components.features.config import FeaturesConfig, Frozen
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.serving_bundle.config import ServingConfig


class ValidationConfig(Frozen):
    """Schemas that the user wrote, in place of inferred ones.

    Attributes:
        interactions_schema: File with a ``tensorflow.metadata.v0.Schema`` as text, relative to the data directory.
        items_schema: The same for the items.
    """

    interactions_schema: str = ""
    items_schema: str = ""


class Spec(Frozen):
    """Everything that a pipeline run depends on, besides the data.

    Attributes:
        name: Name of the pipeline.
        data: Where the tables lie, what their columns mean, how time splits them.
        validation: Schemas.
        features: What each raw column becomes.
        crosses: Crosses of features: explicit ones, and how to find others.
        retrieval: The two towers.
        ranking: The ranking model.
        evaluation: What is measured, and what decides the blessing.
        serving: What is served, under which name.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    data: DataConfig
    validation: ValidationConfig = ValidationConfig()
    features: FeaturesConfig
    crosses: CrossesConfig = CrossesConfig()
    retrieval: RetrievalConfig
    ranking: RankingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingConfig = ServingConfig()

    @property
    def labels(self) -> tuple[str, ...]:
        """Label columns of the examples; without labels in the data every row has ``interaction`` 1."""
        return self.data.interactions.labels or ("interaction",)

    @property
    def positive_label(self) -> str:
        """The label that makes a row a positive for retrieval and for the lists."""
        return self.retrieval.label or self.labels[0]
