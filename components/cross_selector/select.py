"""The choice of crosses from the transformed training split: sample, search, confirmation, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.cross_selector.auto import AutoCrosses, families, with_granularities
from crossrec.components.cross_selector.candidates import Names
from crossrec.components.cross_selector.config import CrossSelectorConfig
from crossrec.components.cross_selector.confirm import Confirmed, confirm
from crossrec.components.cross_selector.data import Sample
from crossrec.components.cross_selector.fan_out import BeamScreen
from crossrec.components.cross_selector.fields import Field, ServedCross, sums
from crossrec.components.cross_selector.found import Found
from crossrec.components.cross_selector.picture import draw
from crossrec.components.cross_selector.report import PICTURE, CrossReport, GainReport, PairReport, SelectionReport
from crossrec.components.cross_selector.sample import Limits, MakePipeline, SampleInputs, read_sample, write_sample
from crossrec.components.cross_selector.search import Screen, Search
from crossrec.components.cross_selector.significance import Gain
from crossrec.components.features.crosses import CrossConfig, HashedCross, VocabularyCross, default_buckets, expand
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.progress import progress

_ROWS = 1_000_000
_ROOM = 8.0


@dataclass(frozen=True)
class RunInputs:
    """What a pipeline run gives to the selection.

    Attributes:
        pattern: Files of the training split's transformed interactions.
        item_table: Directory of the item table.
        schema: All features.
        spec: How to parse an interaction.
    """

    pattern: str
    item_table: str
    schema: FeatureSchema
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked of the data.

    Attributes:
        auto: How crosses are searched.
        families: The candidate features, all of ids, and what each is a version of.
        explicit: Crosses that the models see anyway.
        cardinalities: Transformed ids of each feature.
    """

    auto: AutoCrosses
    families: Mapping[str, str]
    explicit: tuple[CrossConfig, ...]
    cardinalities: Mapping[str, int]

    @property
    def measured(self) -> list[HashedCross | VocabularyCross]:
        """The explicit crosses that can be measured beside the chosen ones: those of ids, one of each inputs."""
        of_ids = {
            frozenset(cross.inputs): cross
            for cross in reversed(self.explicit)
            if isinstance(cross, (HashedCross, VocabularyCross)) and set(cross.inputs) <= set(self.cardinalities)
        }
        return list(of_ids.values())[::-1]

    def name(self, names: Names) -> str:
        """A name for a chosen cross that no feature and no explicit cross has."""
        taken = {*self.cardinalities, *(cross.name for cross in self.explicit)}
        name = "_x_".join(names)
        while name in taken:
            name += "_auto"
        return name


def select(
    make_pipeline: MakePipeline, inputs: SampleInputs, asked: Question, directory: str, temporary: str
) -> SelectionReport:
    """Finds crosses in the training split, and writes the report and its picture.

    Args:
        make_pipeline: Makes a Beam pipeline, for the sample and for each round of scoring.
        inputs: The rows, with the columns of the candidates and of the explicit crosses.
        asked: What is asked of them.
        directory: Where ``selection.json``, its tables and its picture go.
        temporary: For the sample; what is in it may be deleted afterwards.
    """
    started = time.monotonic()
    limits = Limits(asked.auto.budget.rows, asked.auto.budget.memory_gb, asked.auto.negatives)
    total = write_sample(make_pipeline, inputs, limits, f"{temporary}/sample")
    sample = read_sample(f"{temporary}/sample")
    progress(f"{sum(sample.rows):,} rows to learn crosses from, of {total:,}")
    screen = BeamScreen(make_pipeline, f"{temporary}/sample", temporary, asked.auto.min_count)
    report = search_and_confirm(sample, asked, started, screen)
    read_sample.cache_clear()
    report.write(directory)
    with fileio.open(f"{directory}/{PICTURE}", "wb") as file:
        file.write(draw(report))
    return report


def find_crosses(
    make_pipeline: MakePipeline, config: CrossSelectorConfig, inputs: RunInputs, directory: str, temporary: str
) -> tuple[HashedCross, ...]:
    """The crosses that the data speak for, beside the explicit ones.

    Args:
        make_pipeline: Makes a Beam pipeline.
        config: The features (with those of numeric candidates), and the crosses.
        inputs: Transformed rows and items.
        directory: Where the report goes.
        temporary: For the sample.
    """
    if config.crosses.auto is None:
        return ()
    schema = inputs.schema
    features, names = with_granularities(config.features, config.crosses.auto)
    cardinalities = {feature.name: feature.cardinality for feature in schema.features if feature.kind == "ids"}
    _, explicit = expand(config.features, config.crosses.explicit)
    asked = Question(config.crosses.auto, families(features, names), explicit, cardinalities)
    columns = dict.fromkeys([*names, *(name for cross in asked.measured for name in cross.inputs)])
    sampled = SampleInputs(inputs.pattern, inputs.item_table, schema, tuple(columns), inputs.spec)
    return chosen_crosses(select(make_pipeline, sampled, asked, directory, temporary))


def search_and_confirm(
    sample: Sample, asked: Question, started: float, screen: Screen | None = None
) -> SelectionReport:
    """Searches a sample, and measures what was found on the rows that were kept back.

    Args:
        sample: The rows.
        asked: What is asked of them.
        started: When the work began, by the monotonic clock; the budget counts from there.
        screen: Scores many candidates; in this process if left out.
    """
    explicit = [tuple(cross.inputs) for cross in asked.measured]
    search = Search(sample, asked.auto, asked.families, explicit, screen)
    search.end_at(started + 60.0 * asked.auto.budget.minutes)
    found = search.run()
    served = {names: _served(sample, asked, names) for names in (*explicit, *found.chosen)}
    progress(f"confirming {len(found.chosen)} crosses on the last {sample.rows[2]:,} rows")
    kept, refused = confirm(sample, explicit, found, served.__getitem__, asked.auto)
    return _report(
        sample, asked, found, started, [[_measured(sample, one, served) for one in part] for part in (kept, refused)]
    )


def chosen_crosses(report: SelectionReport) -> tuple[HashedCross, ...]:
    """The crosses that a selection adds to the explicit ones."""
    return tuple(
        HashedCross(inputs=one.inputs, name=one.name, buckets=one.buckets) for one in report.crosses if not one.explicit
    )


def _served(sample: Sample, asked: Question, names: Names) -> ServedCross:
    """The cross with the ids of serving: the spec's own, or enough for eight times the combinations seen."""
    for cross in asked.measured:
        if tuple(cross.inputs) == names:
            buckets = getattr(cross, "buckets", None) or default_buckets([asked.cardinalities[n] for n in names])
            return ServedCross(names, cross.name, buckets, sample.original)
    room = 2 ** int(np.ceil(np.log2(_ROOM * max(_distinct(sample, Field(names, _sizes(sample, names))), 1))))
    buckets = min(default_buckets([asked.cardinalities[name] for name in names]), max(room, 2))
    return ServedCross(names, asked.name(names), buckets, sample.original)


def _sizes(sample: Sample, names: Names) -> tuple[int, ...]:
    return tuple(sample.sizes[name] for name in names)


def _early(sample: Sample) -> slice:
    """A million rows at most of those before the confirmation block."""
    rows = sample.tasks[0].ends[1]
    return slice(0, rows, max(1, rows // _ROWS))


def _distinct(sample: Sample, field: Field) -> int:
    cells = field.cells(sample.tasks[0].columns, _early(sample))
    return len(np.unique(cells[cells >= 0]))


def _measured(sample: Sample, one: Confirmed, served: Mapping[Names, ServedCross]) -> CrossReport:
    cross, task = served[one.names], sample.tasks[0]
    ids = cross.ids(task.columns, _early(sample))
    distinct = _distinct(sample, Field(one.names, _sizes(sample, one.names)))
    used = len(np.unique(ids[ids >= 0]))
    return CrossReport(
        name=cross.name,
        inputs=one.names,
        explicit=one.explicit,
        gain=_gain(one.gain),
        over_others=_gain(one.over_others),
        buckets=cross.buckets,
        distinct=distinct,
        width=ids.shape[1] if ids.ndim == 2 else 1,
        coverage=_coverage(sample, cross),
        collision_rate=1.0 - used / distinct if distinct else 0.0,
    )


def _coverage(sample: Sample, cross: ServedCross) -> float:
    task = sample.tasks[0]
    early, late = slice(0, task.ends[1]), task.block(2)
    nothing = np.zeros(task.ends[1])
    known = np.append(sums(cross, task.columns, early, nothing, nothing).rows >= 1, False)
    ids = cross.ids(task.columns, late)
    return float((known[ids] if ids.ndim == 1 else known[ids].any(1)).mean())


def _gain(gain: Gain) -> GainReport:
    low, high = gain.interval()
    return GainReport(mean=gain.mean, error=gain.error, low=low, high=high, p_value=gain.p_value)


def _report(
    sample: Sample, asked: Question, found: Found, started: float, crosses: Sequence[Sequence[CrossReport]]
) -> SelectionReport:
    pairs = sorted(found.pairs.items(), key=lambda one: -one[1].gain.mean)
    return SelectionReport(
        labels=tuple(task.label for task in sample.tasks),
        rows=sample.rows,
        looked_at=found.looked_at,
        stopped=found.stopped,
        seconds=round(time.monotonic() - started, 1),
        crosses=tuple(crosses[0]),
        refused=tuple(crosses[1]),
        steps=tuple(found.steps),
        pairs=tuple(
            PairReport(inputs=(names[0], names[1]), gain=value.gain.mean, error=value.gain.error)
            for names, value in pairs
        ),
    )
