"""The spec as a frozen model, composed of the parts that each component defines."""

from __future__ import annotations

from pydantic import Field

from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.cross_selector.config import CrossesConfig
from crossrec.components.evaluation.config import EvaluationConfig
from crossrec.components.example_gen.config import DataConfig
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.frozen import Frozen
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.warm_start.config import WarmStartConfig
from crossrec.pipeline.kubeflow.config import KubeflowConfig
from crossrec.pipeline.spec.beam import BeamConfig


class ValidationConfig(Frozen):
    """Schemas that the user wrote, in place of inferred ones.

    Attributes:
        interactions_schema: File with a ``tensorflow.metadata.v0.Schema`` as text, relative to the data directory.
        items_schema: The same for the items.
    """

    interactions_schema: str = ""
    items_schema: str = ""


class ServingSection(ServingConfig):
    """What is served, and what it must show on a server before that.

    Attributes:
        check: Which server is asked, and the limits.
    """

    check: ServingCheckConfig = ServingCheckConfig()

    @property
    def bundle(self) -> ServingConfig:
        """What the bundle itself depends on."""
        return ServingConfig(**self.model_dump(exclude={"check"}))


class Spec(Frozen):
    """Everything that a pipeline run depends on, besides the data.

    Attributes:
        name: Name of the pipeline.
        data: Where the tables lie, what their columns mean, how they are split.
        validation: Schemas.
        features: What each raw column becomes.
        crosses: Crosses of features: explicit ones, and how to find others.
        warm_start: Which release the models start from; from nothing if left out.
        retrieval: The two towers.
        index: How the catalogue is searched.
        ranking: The ranking model.
        evaluation: What is measured, and what decides the blessing.
        serving: What is served, under which name, and what it must show before.
        beam: Options of Beam, by node id and for ``all``.
        kubeflow: Where and with what the pipeline runs on Kubeflow; only `crossrec compile` looks at it.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    data: DataConfig
    validation: ValidationConfig = ValidationConfig()
    features: FeaturesConfig
    crosses: CrossesConfig = CrossesConfig()
    warm_start: WarmStartConfig | None = None
    retrieval: RetrievalConfig
    index: IndexConfig = IndexConfig()
    ranking: RankingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingSection = ServingSection()
    kubeflow: KubeflowConfig | None = None
    beam: BeamConfig = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Label columns of the examples; without labels in the data every row has ``interaction`` 1."""
        return self.data.interactions.all_labels

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """Columns of the items that lists show or that requests filter by."""
        return tuple(dict.fromkeys((*self.serving.display, *self.index.filters)))

    @property
    def positive_label(self) -> str:
        """The label that makes a row a positive for retrieval and for the lists."""
        return self.retrieval.label or self.labels[0]
