"""The ``retrieval`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.towers import TowerConfig, TowerSizes
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.retrieval_trainer.graph import GraphConfig
from crossrec.components.retrieval_trainer.graph_filter import GraphFilterConfig
from crossrec.components.retrieval_trainer.loss import CosineContrastiveConfig
from crossrec.components.retrieval_trainer.negatives import DrawnConfig
from crossrec.components.retrieval_trainer.popularity import PopularityConfig
from crossrec.components.retrieval_trainer.requests import RequestsConfig


class RetrievalLossConfig(Frozen):
    """What a positive is compared with, and how.

    Attributes:
        negatives: ``in_batch``: the positives of the other rows, those on other devices included, and what is
            ``drawn``; ``sampled``: only what is drawn; ``catalogue``: all items, which takes a pass of the candidate
            tower over the catalogue in every step.
        drawn: Further negatives of ``in_batch``, and those of ``sampled``.
        contrastive: The cosine contrastive loss; the softmax if left out.
        temperature: Divides the scores in the softmax.
        label_smoothing: Share of the softmax's target that is spread evenly over all that are compared.
        logq_correction: Subtracts the log of each item's expected count among the candidates, of which its share of
            the training positives is a part, from its score as a negative (Bengio and Senécal 2008; Yi et al. 2019).
        remove_accidental_hits: An item that is a candidate by chance is no negative for its own copies.
    """

    negatives: Literal["in_batch", "sampled", "catalogue"] = "in_batch"
    drawn: DrawnConfig = DrawnConfig()
    contrastive: CosineContrastiveConfig | None = None
    temperature: float = Field(default=0.1, gt=0, le=100)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    logq_correction: bool = True
    remove_accidental_hits: bool = True

    @model_validator(mode="after")
    def _drawn_where_they_count(self) -> RetrievalLossConfig:
        if self.negatives == "catalogue" and self.drawn.any:
            raise ValueError("negatives 'catalogue' has all items already. Leave 'drawn' out")
        if self.negatives == "sampled" and not self.drawn.any:
            raise ValueError("negatives 'sampled' draws none. Set 'drawn: {uniform: 4096}', or 'negatives: in_batch'")
        if self.contrastive is not None and self.label_smoothing:
            raise ValueError("label_smoothing is for the softmax. Leave it or 'contrastive' out")
        return self


class RetrievalConfig(Frozen):
    """Which features stand on which tower, and how the towers learn.

    Attributes:
        query: The query tower.
        item: The candidate tower.
        label: The label that makes a row a positive; the first label of the data if left out.
        embedding_dimension: Size of each feature's vector.
        dimension: Size of the towers' outputs.
        normalise: Whether embeddings have length one, so that the score is their cosine.
        dropout: Share of the fields' numbers dropped in training.
        loss: The loss.
        popularity: The part of recent popularity in the scores; none if left out.
        graph: What users and items learn from their neighbours; nothing if left out.
        graph_filter: The part in the scores of what was met together; none if left out.
        requests: Trains on requests with companions and targets; on single rows if left out.
        refit: Whether the towers that are served are trained once more, on the training and the validation split
            together, for as many epochs as were best; ranking examples keep those that have not seen validation.
        training: The training loop.
    """

    query: TowerConfig
    item: TowerConfig
    label: str = ""
    embedding_dimension: int = Field(default=32, ge=1, le=1024)
    dimension: int = Field(default=32, ge=1, le=1024)
    normalise: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    loss: RetrievalLossConfig = RetrievalLossConfig()
    popularity: PopularityConfig | None = None
    graph: GraphConfig | None = None
    graph_filter: GraphFilterConfig | None = None
    requests: RequestsConfig | None = None
    refit: bool = False
    training: TrainingConfig = TrainingConfig(learning_rate=3e-3, epochs=20)

    @model_validator(mode="after")
    def _sums_are_embeddings(self) -> RetrievalConfig:
        if "sum" in (self.query.output, self.item.output) and self.embedding_dimension != self.dimension:
            raise ValueError(
                f"a tower's output is the sum of fields of size {self.embedding_dimension}, but dimension is "
                f"{self.dimension}. Set embedding_dimension to {self.dimension}, or 'output: dense'"
            )
        return self

    @model_validator(mode="after")
    def _catalogue_without_history(self) -> RetrievalConfig:
        if self.requests is not None and self.requests.new_items_only and self.loss.negatives != "catalogue":
            raise ValueError(
                "requests.new_items_only takes the history out of the catalogue, but loss.negatives is "
                f"{self.loss.negatives}. Set 'negatives: catalogue', or leave new_items_only out"
            )
        return self

    @model_validator(mode="after")
    def _encoders_are_of_queries(self) -> RetrievalConfig:
        if self.item.encoders:
            raise ValueError("item.encoders: items have no recent items. Move them to query.encoders")
        return self

    @model_validator(mode="after")
    def _cosines_are_of_unit_vectors(self) -> RetrievalConfig:
        added = [name for name in ("popularity", "graph_filter") if getattr(self, name) is not None]
        if self.loss.contrastive is not None and (not self.normalise or added):
            raise ValueError(
                "loss.contrastive compares cosines, but "
                + (f"{added[0]} is added to them. Leave it out" if self.normalise else "normalise is false. Set it")
            )
        return self

    @property
    def sizes(self) -> TowerSizes:
        """What the towers agree on. What a graph spreads is not normalised, but what comes of it."""
        return TowerSizes(
            fields=self.embedding_dimension,
            output=self.dimension,
            normalise=self.normalise and self.graph is None,
            dropout=self.dropout,
        )
