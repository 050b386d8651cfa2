"""The ``retrieval`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crossrec.components.features.config import Frozen
from crossrec.components.modeling.towers import TowerConfig, TowerSizes
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.retrieval_trainer.popularity import PopularityConfig
from crossrec.components.retrieval_trainer.requests import RequestsConfig


class RetrievalLossConfig(Frozen):
    """Softmax over the items of the batch, or over all items.

    Attributes:
        negatives: ``in_batch``: the positives of the other rows, those on other devices included; ``catalogue``: all
            items, which takes a pass of the candidate tower over the catalogue in every step.
        temperature: Divides the scores.
        logq_correction: Subtracts the log of each item's sampling probability, its share of the training
            positives, from its score as a negative in the batch (Bengio and Senécal 2008; Yi et al. 2019).
        remove_accidental_hits: An item that is the positive of another row is no negative for its own copies.
    """

    negatives: Literal["in_batch", "catalogue"] = "in_batch"
    temperature: float = Field(default=0.1, gt=0, le=100)
    logq_correction: bool = True
    remove_accidental_hits: bool = True


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

    @property
    def sizes(self) -> TowerSizes:
        """What the towers agree on."""
        return TowerSizes(
            fields=self.embedding_dimension, output=self.dimension, normalise=self.normalise, dropout=self.dropout
        )
