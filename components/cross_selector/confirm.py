"""What chosen crosses are worth on rows that had no part in choosing them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossrec.components.cross_selector.auto import AutoCrosses
from crossrec.components.cross_selector.candidates import Names
from crossrec.components.cross_selector.data import Array, Sample
from crossrec.components.cross_selector.fields import AnyField, Field
from crossrec.components.cross_selector.found import Found
from crossrec.components.cross_selector.score import Model, log_loss
from crossrec.components.cross_selector.significance import Gain, clustered, combined, discoveries

AsField = Callable[[Names], AnyField]
CONFIRMATION = 2
SWEEPS = 4


@dataclass(frozen=True)
class Confirmed:
    """A cross on the confirmation block.

    Attributes:
        names: Its features.
        gain: Over main effects and the crosses before it.
        over_others: Over all other crosses that do not contain it.
        explicit: Whether the spec names it.
    """

    names: Names
    gain: Gain
    over_others: Gain
    explicit: bool


def main_effects(sample: Sample, block: int, min_count: float) -> list[Model]:
    """A model of each task with every column as a field, fitted on all rows before a block."""
    models = []
    for task in sample.tasks:
        model = Model(task, task.ends[block - 1], min_count)
        for name, size in sample.sizes.items():
            model.add(Field((name,), (size,)))
        for _ in range(SWEEPS):
            model.sweep()
        models.append(model)
    return models


def confirm(
    sample: Sample, explicit: Sequence[Names], found: Found, field: AsField, auto: AutoCrosses
) -> tuple[list[Confirmed], list[Confirmed]]:
    """Fits everything on all but the last block, and tests each cross there.

    Args:
        sample: The rows.
        explicit: The spec's own crosses, which are measured but never dropped.
        found: What the search chose, in its order, and how sure it was of each among how many.
        field: The field of a cross, with the ids that serving will see.
        auto: Gains and false discovery rate to reach.

    Returns:
        The crosses that are confirmed, explicit ones first, and those that are not.
    """
    base = main_effects(sample, CONFIRMATION, auto.min_count)
    kept, refused = list(found.chosen), list[Confirmed]()
    while True:
        everything = [*explicit, *kept]
        models, gains = _in_order(base, everything, field, sample)
        tests = [
            Confirmed(
                names,
                gain,
                unique_gain(models, names, field, CONFIRMATION, sample, supersets(names, everything)),
                position < len(explicit),
            )
            for position, (names, gain) in enumerate(zip(everything, gains))
        ]
        last = tests[len(explicit) :]
        # Selection and confirmation block are different rows: together they tell more than either.
        p_values = [combined(found.over_others[one.names], one.over_others) for one in last]
        real = discoveries(p_values, auto.false_discovery_rate, found.looked_at)
        bad = [one for one, is_real in zip(last, real) if not is_real or one.over_others.mean < auto.min_gain]
        if not bad:
            return tests, refused
        worst = min(bad, key=lambda one: one.over_others.score)
        kept.remove(worst.names)
        refused.append(worst)


def _in_order(
    base: Sequence[Model], crosses: Sequence[Names], field: AsField, sample: Sample
) -> tuple[list[Model], list[Gain]]:
    """Adds crosses one by one to copies of models; the gain of each."""
    models = [copied(model) for model in base]
    before, gains = [losses(model, CONFIRMATION) for model in models], []
    for names in crosses:
        for model in models:
            model.add(field(names))
            settle(model, names, field(names).key, 3)
        after = [losses(model, CONFIRMATION) for model in models]
        gains.append(gain_between(models, before, after, CONFIRMATION, sample))
        before = after
    return models, gains


def losses(model: Model, block: int) -> Array:
    """The log loss of each row of a block."""
    rows = model.task.block(block)
    return log_loss(model.task.labels[rows], model.logits[rows])


def gain_between(
    models: Sequence[Model], before: Sequence[Array], after: Sequence[Array], block: int, sample: Sample
) -> Gain:
    """The gain in the log loss of all tasks, per row of the first.

    Args:
        models: The tasks' models.
        before: Losses of the rows of the block, by task.
        after: The same, of the model that is tested.
        block: The block.
        sample: The sample.
    """
    total = np.zeros(sample.users)
    for model, old, new in zip(models, before, after):
        users = model.task.users[model.task.block(block)]
        total += np.bincount(users, old - new, sample.users)
    first = sample.tasks[0]
    sizes = np.bincount(first.users[first.block(block)], minlength=sample.users)
    return clustered(total, sizes, sample.rows[block])


def unique_gain(
    models: Sequence[Model], names: Names, field: AsField, block: int, sample: Sample, without: Sequence[Names] = ()
) -> Gain:
    """What is lost on a block if a cross is taken out and those near it are fitted again.

    Args:
        models: The tasks' models, which stay as they are.
        names: The cross.
        field: The field of a cross.
        block: The block.
        sample: The sample.
        without: Crosses that are taken out of both sides of the comparison: those that contain the cross, which
            explain all that it does (the principle of marginality: Nelder, 1977, "A Reformulation of Linear Models").
    """
    before, after = [], []
    for model in models:
        base = copied(model)
        for other in without:
            base.remove(field(other).key)
        if without:
            settle(base, names, "", 2)
        after.append(losses(base, block))
        base.remove(field(names).key)
        settle(base, names, "", 2)
        before.append(losses(base, block))
    return gain_between(models, before, after, block, sample)


def supersets(names: Names, crosses: Sequence[Names]) -> list[Names]:
    """The crosses that contain a cross."""
    return [one for one in crosses if set(names) < set(one)]


def settle(model: Model, names: Names, first: str, sweeps: int) -> None:
    """Fits again all fields that share a feature with a cross.

    Args:
        model: The model.
        names: The features of the cross.
        first: Key of the field to begin with, "" if none.
        sweeps: How often.
    """
    near = [key for key, one in model.fields.items() if key != first and set(one.field.names) & set(names)]
    for _ in range(sweeps):
        model.sweep([first, *near] if first else near)


def copied(model: Model) -> Model:
    """A model that can be changed without changing this one."""
    other = copy.copy(model)
    other.logits = model.logits.copy()
    other.fields = {name: copy.copy(one) for name, one in model.fields.items()}
    return other
