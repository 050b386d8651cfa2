"""The ``ranking`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.heads import HeadsConfig
from crossrec.components.modeling.heads.shared_bottom import SharedBottomConfig
from crossrec.components.modeling.interactions import InteractionConfig
from crossrec.components.modeling.interactions.dcn_v2 import DCNV2Config
from crossrec.components.modeling.interest import InterestConfig
from crossrec.components.modeling.training import TrainingConfig


class TaskConfig(Frozen):
    """One probability that the model learns, or one order of lists.

    A ``binary`` task learns the probability that its label is 1. A ``graded`` one learns to order the rows of a list (a
    query, or a request) by their grades; see list_loss.py. Its output is a number between 0 and 1 too, the sigmoid of
    its standardised score: the larger, the better an answer, but no probability of anything.

    Attributes:
        name: Names the output ``probability_<name>``.
        type: What the label holds: 0 and 1, or grades.
        label: Label column, or column of ``data.interactions.grades``; the task's name if left out.
        gain: What a grade g is worth: ``exponential`` is 2^g - 1, ``linear`` is g.
        loss: Of a graded task: ``softmax`` cross-entropy with the gains as the target, or ``lambda``, the logistic loss
            of pairs by what a swap would change of NDCG.
        weight: Factor of its loss.
        score_weight: Factor of its probability in the score that orders items.
        positive_weight: Factor of the positive rows' loss, where they are rare; the probabilities stay those of the
            rows as they are (prior correction: King and Zeng, "Logistic Regression in Rare Events Data", 2001).
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    type: Literal["binary", "graded"] = "binary"
    label: str = ""
    gain: Literal["exponential", "linear"] = "exponential"
    loss: Literal["softmax", "lambda"] = "softmax"
    weight: float = Field(default=1.0, gt=0)
    score_weight: float = Field(default=1.0, ge=0)
    positive_weight: float = Field(default=1.0, gt=0, le=1e6)

    @model_validator(mode="after")
    def _options_of_its_type(self) -> TaskConfig:
        unused = {"positive_weight"} if self.type == "graded" else {"gain", "loss"}
        # Of a configuration that went through JSON all fields were set, those of no use to their defaults.
        fields = type(self).model_fields
        for name in sorted(name for name in unused if getattr(self, name) != fields[name].default):
            other = "binary" if self.type == "graded" else "graded"
            raise ValueError(f"{name} is of {other} tasks, but type is {self.type!r}. Leave it out")
        return self

    @property
    def label_column(self) -> str:
        """The label's column."""
        return self.label or self.name


class NegativesConfig(Frozen):
    """Candidates that retrieval would have shown, as negatives beside the logged rows.

    Items that no row of training shows are never drawn: nobody could like them, so that they would teach that new
    items are bad.

    Attributes:
        retrieved: Negatives for each positive; 0 for logged rows only.
        from_top: They are drawn from the query's that many nearest items.
        weight: Weight of such a row in the loss.
    """

    retrieved: int = Field(default=1, ge=0, le=100)
    from_top: int = Field(default=200, ge=1, le=100_000)
    weight: float = Field(default=1.0, gt=0)


class RankingConfig(Frozen):
    """What the ranking model sees and how it learns.

    Attributes:
        features: Features of both sides; none where crosses alone order items.
        crosses: Explicit crosses, by name, and ``found`` for all that ``crosses.auto`` finds; all of both if left out.
        retrieval_score: Whether the retrieval model's score has its part in the probabilities, see fusion.py.
        score_limit: The most that the retrieval score may count against the network's logit, in units of their
            standard deviations; above 1 where retrieval orders better than the network alone.
        last_days: Learns from that many days at the end of the training split; from all of it if left out. Worth it
            where popularity moves: retrieval's candidates are those of the end of the training.
        position_bias: Whether the place in the list explains part of a label; served as place 1.
        embedding_dimension: Size of each field.
        l2: Factor of the squared length of looked-up vectors in the loss: the more often a row is seen, the more it
            is held down.
        table_l2: Factor of half the squared length of all vectors in the loss, looked up or not: the rarer a row, the
            nearer it stays to zero. Each step then passes over the whole table.
        dropout: Share of the fields' numbers dropped in training.
        interactions: How fields meet; the outputs of several stand side by side.
        interest: What recent items say about a candidate, as fields beside the others.
        heads: How the tasks share what the interactions give.
        tasks: What is predicted.
        negatives: Negatives from retrieval.
        training: The training loop; its metric is the validation log loss, or NDCG@10 where all tasks are graded. The
            batches of graded tasks are made of whole lists.
    """

    features: tuple[str, ...] = ()
    crosses: tuple[str, ...] | None = None
    retrieval_score: bool = True
    score_limit: float = Field(default=0.5, gt=0, le=1000)
    last_days: float | None = Field(default=None, gt=0)
    position_bias: bool = True
    embedding_dimension: int = Field(default=16, ge=1, le=1024)
    l2: float = Field(default=0.0, ge=0)
    table_l2: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    interactions: tuple[InteractionConfig, ...] = Field(default=(DCNV2Config(),), min_length=1)
    interest: tuple[InterestConfig, ...] = ()
    heads: HeadsConfig = SharedBottomConfig()
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    negatives: NegativesConfig = NegativesConfig()
    training: TrainingConfig = TrainingConfig(epochs=10, patience=1)

    @model_validator(mode="after")
    def _tasks(self) -> RankingConfig:
        if not self.features and self.crosses == ():
            raise ValueError("features: [] and crosses: [] leave nothing to see. Name some of either")
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks have one name: {names}. Name each its own")
        if self.learns_lists and self.training.workers > 1:
            raise ValueError(
                f"training.workers {self.training.workers} would divide batches by rows, but a graded task needs whole "
                "lists. Set it to 1"
            )
        if not any(task.score_weight for task in self.tasks):
            raise ValueError("every task has score_weight 0, so nothing orders the items. Give one a weight")
        return self

    @property
    def learns_lists(self) -> bool:
        """Whether a task is of whole lists, and examples and batches are made of them."""
        return any(task.type == "graded" for task in self.tasks)
