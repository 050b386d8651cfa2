"""Warm start: a model begins with the weights of an earlier one, as far as these still mean the same.

Rows of embedding tables follow their raw values, whose ids change from run to run; those of vectors and clusters of
texts stay where the encoder is the same, and begin anew where it was fitted again. The layers above the fields are
taken over as a whole, where the fields and all shapes are the same; what is new begins as usual. The optimizer's state
is not taken over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import tensorflow as tf
from pydantic import ValidationError
from tfx import types

from crossrec.components import properties
from crossrec.components.features.document import Document
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.id_maps import IdMaps, Ids
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.progress import progress

PROPERTY = "warm_start"
_UNREADABLE = (OSError, tf.errors.OpError, ValidationError, ValueError, AssertionError)
_NAMED = 5


class PreviousRelease(Document):
    """The release that the models of a run start from.

    Attributes:
        version: Its number; 0 for none.
        epochs: Most epochs of a training that starts warm; those of its configuration if None.
        artifacts: Where what it was made of lies, by name.
    """

    FILE: ClassVar[str] = "previous_model.json"

    version: int = 0
    epochs: int | None = None
    artifacts: Mapping[str, str] = {}


class WarmStartReport(Document):
    """What was taken over.

    Attributes:
        version: Of the release that it was taken from.
        rows: Rows of the embedding tables.
        rows_taken: Those that were taken over.
        weights: Other trained arrays.
        weights_taken: Those that were taken over.
        new: Features and crosses of which no row was.
        reason: Why something was not; "" if everything could be.
    """

    FILE: ClassVar[str] = "warm_start.json"

    version: int
    rows: int = 0
    rows_taken: int = 0
    weights: int = 0
    weights_taken: int = 0
    new: tuple[str, ...] = ()
    reason: str = ""

    @property
    def warm(self) -> bool:
        """Whether anything was taken over."""
        return self.rows_taken > 0

    def __str__(self) -> str:
        """What people are told."""
        if not self.warm:
            return f"cold start, nothing taken from version {self.version}: {self.reason}"
        told = (
            f"warm start from version {self.version}: {self.rows_taken:,} of {self.rows:,} rows of embeddings, "
            f"{self.weights_taken} of {self.weights} other weights, the optimizer anew"
        )
        return told + (f" ({self.reason})" if self.reason else "")


@dataclass
class WarmStart:
    """Where one model starts from, and what came of that.

    Attributes:
        previous: The release.
        model: Name of the artifact that holds the model's weights.
        graphs: Directory of this run's transform graphs.
        report: What was taken over, once the model has been started.
    """

    previous: PreviousRelease
    model: str
    graphs: str
    report: WarmStartReport | None = field(default=None, init=False)

    def start(
        self,
        model: Any,
        run: tuple[FeatureSchema, ItemTable, Frozen],
        load: Callable[[str, FeatureSchema, ItemTable], tuple[Any, Frozen]],
    ) -> None:
        """Gives a built model the weights of the earlier one.

        Args:
            model: The model; changed in place.
            run: Schema, catalogue and the model's configuration in this run.
            load: Reads the earlier model, given its directory and the schema and catalogue that it was trained with.
        """
        schema, table, config = run
        places = self.previous.artifacts
        try:
            former_schema = FeatureSchema.read(places["cross_set"])
            former_table = ItemTable.read(places["item_table"])
            before = Ids.of(former_schema, places["transform_graphs"], former_table)
            former, former_config = load(places[self.model], former_schema, former_table)
        except _UNREADABLE as error:
            taken = WarmStartReport(version=0, reason=f"it cannot be read ({type(error).__name__}: {error!s:.200})")
        else:
            maps = IdMaps(Ids.of(schema, self.graphs, table), before)
            taken = take_over(model, former, maps, _differences(former_config, config))
        self.report = taken.model_copy(update={"version": self.previous.version})
        progress(str(self.report))

    def shortened(self, training: TrainingConfig) -> TrainingConfig:
        """The training loop of a model that has been started: shorter, where it starts warm and that was asked for."""
        if self.report is None or not self.report.warm or self.previous.epochs is None:
            return training
        return training.model_copy(update={"epochs": self.previous.epochs})

    def write_report(self, artifact: types.Artifact) -> None:
        """Writes what was taken over into a model's directory, and in a word into its custom properties."""
        if self.report is not None:
            self.report.write(artifact.uri)
            artifact.set_string_custom_property(PROPERTY, str(self.report))


def previous_release(inputs: properties.Artifacts) -> PreviousRelease:
    """The release that a run starts from; version 0, with no artifacts, where ``previous_model`` is no input."""
    if not inputs.get("previous_model"):
        return PreviousRelease()
    return PreviousRelease.read(properties.uri(inputs, "previous_model"))


def find_start(inputs: properties.Artifacts, model: str) -> WarmStart | None:
    """Where a trainer starts from.

    Args:
        inputs: Its input artifacts: ``transform_graphs``, and perhaps ``previous_model``.
        model: Name of the artifact that holds the model's weights.

    Returns:
        None for a cold start.
    """
    previous = previous_release(inputs)
    return WarmStart(previous, model, properties.uri(inputs, "transform_graphs")) if previous.version else None


def take_over(model: Any, former: Any, maps: IdMaps, differences: list[str]) -> WarmStartReport:
    """Copies what still means the same from one model into another.

    Args:
        model: The model that gets the weights.
        former: The model that has them.
        maps: Which id is which.
        differences: What differs between their configurations, to name it.

    Returns:
        What was copied; ``version`` is 0.
    """
    tables, weights = _parts(model)
    former_tables, former_weights = _parts(former)
    named = "; ".join(differences)
    rows = sum(layer.rows for layer in tables.values())
    counts = {"version": 0, "rows": rows, "weights": len(weights)}
    tasks, former_tasks = ([task.label_column for task in getattr(each, "tasks", ())] for each in (model, former))
    if (
        tables.keys() != former_tables.keys()
        or tasks != former_tasks
        or any(layer.size != former_tables[path].size for path, layer in tables.items())
    ):
        return WarmStartReport(**counts, reason=named or "the models have other parts")
    taken, new = 0, []
    for path, layer in tables.items():
        copied, without = layer.take_rows(former_tables[path], maps.of)
        taken += copied
        new += without
    changed = sorted(
        {name for path, layer in tables.items() for name, _ in {*layer.names} ^ {*former_tables[path].names}}
    )
    same = not changed and all(layer.names == former_tables[path].names for path, layer in tables.items())
    if same and {p: w.shape for p, w in weights.items()} == {p: w.shape for p, w in former_weights.items()}:
        for path, weight in weights.items():
            weight.assign(former_weights[path])
        reasons = []
    else:
        told = f"other fields: {_few(changed)}" if changed else named or "the layers have other shapes"
        reasons = [f"the layers above the fields begin anew: {told}"]
    if new:
        reasons.append(f"no row of {_few(new)}")
    return WarmStartReport(
        **counts,
        rows_taken=taken,
        weights_taken=0 if reasons and reasons[0].startswith("the layers") else len(weights),
        new=tuple(new),
        reason="; ".join(reasons),
    )


def _parts(model: Any) -> tuple[dict[str, Fields], dict[str, tf.Variable]]:
    """A model's layers of fields, and its other trained variables, each by its path from the model."""
    trained = {variable.ref() for variable in model.trainable_variables}
    tables: dict[str, Fields] = {}
    weights: dict[str, tf.Variable] = {}
    waiting = deque([("", model)])
    seen = {id(model)}
    while waiting:
        path, current = waiting.popleft()
        if isinstance(current, Fields):
            tables[path] = current
            continue
        if isinstance(current, tf.Variable):
            if current.ref() in trained:
                weights[path] = current
            continue
        for name, child in sorted(current._trackable_children().items()):
            if id(child) not in seen and not (current is model and name == "optimizer"):
                seen.add(id(child))
                waiting.append((f"{path}/{name}", child))
    return tables, weights


def _differences(former: Frozen, now: Frozen) -> list[str]:
    """Which values of two configurations differ, the training loop left out."""
    return [
        f"{path} was {before!r}, is {after!r}"
        for path, before, after in _leaves(former.model_dump(mode="json"), now.model_dump(mode="json"), "")
        if not path.startswith("training")
    ][:_NAMED]


def _leaves(before: Any, now: Any, path: str) -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        return [
            leaf
            for name in names
            for leaf in _leaves(before.get(name), now.get(name), f"{path}.{name}" if path else name)
        ]
    return [] if before == now else [(path, before, now)]


def _few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
