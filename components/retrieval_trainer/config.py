"""The ``retrieval`` section of the spec."""

from __future__ import annotations

from pydantic import Field

from crossrec.components.features.config import Frozen
from crossrec.components.modeling.towers import TowerConfig, TowerSizes
from crossrec.components.modeling.training import TrainingConfig


class RetrievalLossConfig(Frozen):
    """In-batch sampled softmax.

    Attributes:
        temperature: Divides the scores.
        logq_correction: Subtracts the log of each item's sampling probability, its share of the training
            positives, from its score as a negative (Bengio and Senécal 2008; Yi et al. 2019).
        remove_accidental_hits: An item that is the positive of another row is no negative for its own copies.
    """

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
    training: TrainingConfig = TrainingConfig(learning_rate=3e-3, epochs=20)

    @property
    def sizes(self) -> TowerSizes:
        """What the towers agree on."""
        return TowerSizes(
            fields=self.embedding_dimension, output=self.dimension, normalise=self.normalise, dropout=self.dropout
        )
