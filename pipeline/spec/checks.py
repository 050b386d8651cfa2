"""What the sections of a spec demand of each other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from crossrec.components.cross_selector.auto import check_auto
from crossrec.components.evaluation.config import LIST_METRICS, MEASURED_LISTS, task_metrics
from crossrec.components.example_gen.config import INTERACTION_LABEL, NO_TIME, RECENT_ITEMS
from crossrec.components.features.config import NAME, Categorical, RecentItems, Text, raw_columns
from crossrec.components.features.crosses import FOUND, StatisticsCross, check_crosses, check_vectors, expand
from crossrec.components.features.schema import is_padded
from crossrec.components.modeling.encoders.query_attention import QueryAttentionConfig
from crossrec.pipeline.spec.beam import check_beam
from crossrec.pipeline.spec.spec import Spec
from crossrec.serving.contract import names as contract

_COMPUTED = (RECENT_ITEMS, INTERACTION_LABEL, NO_TIME)
_INPUTS = (contract.EXCLUDE_ITEMS, contract.CANDIDATE_ITEMS, "self")
_OUTPUTS = (contract.ITEM_IDS, contract.SCORES, contract.MODEL_VERSION)


def check(spec: Spec) -> list[str]:
    """The combinations that cannot work: one line each, with field, value and mend."""
    return [
        *_columns(spec),
        *_texts(spec),
        *_times(spec),
        *check_crosses(spec.crosses.explicit, spec.features, spec.labels),
        *(check_auto(spec.features, spec.crosses.auto) if spec.crosses.auto is not None else ()),
        *_towers(spec),
        *_encoders(spec),
        *_ranking(spec),
        *_evaluation(spec),
        *_index(spec),
        *_serving(spec),
        *check_beam(spec.beam),
    ]


def _columns(spec: Spec) -> Iterable[str]:
    table = spec.data.interactions
    outcomes = {
        table.item: "the item, which is what is predicted",
        **{label: "a label" for label in (*spec.labels, *table.grades)},
    }
    if table.position:
        outcomes[table.position] = "the position, which no request knows"
    roles = {table.user: "string", table.time_column: "int", RECENT_ITEMS: "strings"}
    for name, feature in spec.features.query.items():
        where = f"features.query.{name}"
        if feature.column in outcomes:
            yield f"{where}.column: {feature.column!r} is {outcomes[feature.column]}. Use another column"
        elif feature.column in _COMPUTED and not isinstance(feature, RecentItems):
            yield f"{where}.column: {feature.column!r} is computed, not read. Rename the file's column"
        elif not re.fullmatch(NAME, feature.column) or feature.column in _INPUTS:
            yield (
                f"{where}.column: {feature.column!r} cannot name an input of the served model, as a query column does. "
                f"Rename the column of the file: letters, digits and '_', a letter first, and not {', '.join(_INPUTS)}"
            )
        if roles.get(feature.column, feature.raw_kind) != feature.raw_kind:
            yield (
                f"{where}.type: {feature.type!r} cannot read column {feature.column!r}, which holds "
                f"{roles[feature.column]}. Use a type for {roles[feature.column]}"
            )
        if isinstance(feature, RecentItems):
            if feature.column != RECENT_ITEMS:
                yield f"{where}.column: {feature.column!r} is computed as {RECENT_ITEMS!r}. Leave 'column' out"
            if spec.data.history is None:
                yield (
                    f"{where}: recent items are not collected. Add 'data.history: {{max_length: {feature.max_length}}}'"
                )
            elif feature.max_length > spec.data.history.max_length:
                yield (
                    f"{where}.max_length: {feature.max_length} is more than data.history.max_length "
                    f"{spec.data.history.max_length}. Raise that one or lower this"
                )
    for name, feature in spec.features.item.items():
        if feature.column in _COMPUTED:
            yield f"features.item.{name}.column: {feature.column!r} is computed, not read. Rename the file's column"
        if feature.column == spec.data.items.item and not (
            isinstance(feature, Categorical) and not feature.multi_valued
        ):
            yield f"features.item.{name}.type: {feature.type!r} cannot read the item id. Use 'categorical'"


def _times(spec: Spec) -> Iterable[str]:
    """What asks for times that the data do not have, or for a cut in time where ids split them."""
    if spec.data.interactions.timestamp is None:
        timed = {
            "crosses.auto": spec.crosses.auto is not None,
            "retrieval.popularity": spec.retrieval.popularity is not None,
            "ranking.last_days": spec.ranking.last_days is not None,
        }
        for field in (field for field, asked in timed.items() if asked):
            yield f"{field}: learns from the order of time, and the data have none. Name data.interactions.timestamp"
        for place, cross in enumerate(spec.crosses.explicit):
            if isinstance(cross, StatisticsCross) and cross.by == "time":
                yield f"crosses.explicit.{place}.by: 'time', and the data have none. Use 'user'"
    if spec.data.split.by != "time" and spec.warm_start is not None:
        yield (
            "warm_start: a release must not have seen the rows that this run measures on, which only a split by time "
            f"makes sure; data.split is by {spec.data.split.by}. Leave warm_start out"
        )


def _texts(spec: Spec) -> Iterable[str]:
    for name, side, feature in spec.features.items():
        encoder = feature.encoder if isinstance(feature, Text) else None
        for field, path in (("path", encoder.path), ("teacher", encoder.teacher)) if encoder is not None else ():
            if path and not path.startswith("/"):
                # A model belongs to the machine or to its image, not to the data.
                yield f"features.{side}.{name}.encoder.{field}: {path!r} is no whole path. Write it from '/' on"


def _names(spec: Spec, field: str, names: Iterable[str], side: str | None) -> Iterable[str]:
    """Problems of features and crosses that a model names."""
    features, expanded = expand(spec.features, spec.crosses.explicit)
    crosses = {cross.name: cross for cross in expanded}
    names = list(names)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{field}: {name!r} stands there twice. Name it once"
    for name in names:
        if name in crosses:
            inputs = [part for part in crosses[name].inputs if part in features.names]
            if side and any(features.side_of(part) != side for part in inputs):
                yield f"{field}: cross {name!r} needs more than the {side} side knows. Use it in ranking only"
            elif side == "item" and isinstance(crosses[name], StatisticsCross):
                # An item is embedded for many rows at once, so that the statistics could not be those of one's time.
                yield f"{field}: cross {name!r} is of statistics, which differ by row. Use it in ranking only"
        elif name not in features.names:
            known = [n for n in spec.features.names if not side or spec.features.side_of(n) == side]
            yield f"{field}: {name!r} is neither a feature nor a cross. Known: {', '.join(known)}"
        elif side and features.side_of(name) != side:
            yield f"{field}: {name!r} is a feature of the other side. This tower knows the {side} side only"


def _towers(spec: Spec) -> Iterable[str]:
    yield from _names(spec, "retrieval.query.features", spec.retrieval.query.features, "query")
    yield from _names(spec, "retrieval.item.features", spec.retrieval.item.features, "item")
    if spec.retrieval.label and spec.retrieval.label not in spec.labels:
        yield f"retrieval.label: {spec.retrieval.label!r} is no label. Known: {', '.join(spec.labels)}"
    requests, query = spec.retrieval.requests, spec.features.query
    if requests is not None and not isinstance(query.get(requests.history), RecentItems):
        known = ", ".join(name for name, feature in query.items() if isinstance(feature, RecentItems))
        yield (
            f"retrieval.requests.history: {requests.history!r} is no feature of type recent_items. "
            f"Known: {known or '(none: add one to features.query)'}"
        )


def _encoders(spec: Spec) -> Iterable[str]:
    query, item = spec.features.query, spec.features.item
    for place, encoder in enumerate(spec.retrieval.query.encoders):
        where = f"retrieval.query.encoders.{place}"
        if not isinstance(query.get(encoder.sequence), RecentItems):
            known = ", ".join(name for name, feature in query.items() if isinstance(feature, RecentItems))
            yield (
                f"{where}.sequence: {encoder.sequence!r} is no feature of type recent_items. "
                f"Known: {known or '(none: add one to features.query)'}"
            )
        for name in encoder.features or ():
            if name not in item:
                yield f"{where}.features: {name!r} is no item feature. Known: {', '.join(item)}"
        if not isinstance(encoder, QueryAttentionConfig):
            continue
        for field, there, name in (("query", query, encoder.query), ("keys", item, encoder.keys)):
            if name not in there:
                known = ", ".join(other for other, feature in there.items() if feature.kind == "dense")
                side = "item" if there is item else "query"
                yield f"{where}.{field}: {name!r} is no feature of the {side}. Known: {known or '(none)'}"
        if encoder.query in query and encoder.keys in item:
            yield from check_vectors((encoder.query, encoder.keys), spec.features, f"{where}.query and keys")


def _ranking(spec: Spec) -> Iterable[str]:
    crosses = [cross.name for cross in expand(spec.features, spec.crosses.explicit)[1]]
    yield from _names(spec, "ranking.features", spec.ranking.features, None)
    if not spec.ranking.features and not crosses:
        yield "ranking.features: missing, and there are no explicit crosses. Name features of either side"
    for name in set(spec.ranking.features) & set(crosses):
        yield f"ranking.features: {name!r} is a cross. Name it under ranking.crosses, or leave that out for all"
    for name in spec.ranking.crosses or ():
        if name == FOUND and spec.crosses.auto is None:
            yield f"ranking.crosses: {name!r} stands for what 'crosses.auto' finds, which is not set. Add that section"
        elif name not in (*crosses, FOUND):
            yield (
                f"ranking.crosses: {name!r} is not defined. Known: {', '.join(crosses) or '(none)'}, "
                f"and {FOUND!r} for all that 'crosses.auto' finds"
            )
    yield from _interest(spec)
    grades = spec.data.interactions.grades
    for place, task in enumerate(spec.ranking.tasks):
        if task.type == "graded" and task.label_column not in grades:
            known = ", ".join(grades) or "(none: name them under data.interactions.grades)"
            yield f"ranking.tasks.{place}.label: {task.label_column!r} is no column of grades. Known: {known}"
        elif task.type == "binary" and task.label_column in grades:
            yield f"ranking.tasks.{place}.type: 'binary', but {task.label_column!r} holds grades. Use 'graded'"
        elif task.type == "binary" and task.label_column not in spec.labels:
            yield f"ranking.tasks.{place}.label: {task.label_column!r} is no label. Known: {', '.join(spec.labels)}"
    if not (spec.data.interactions.labels or grades) and not spec.ranking.negatives.retrieved:
        yield (
            "ranking.negatives.retrieved: 0, and the data have no labels, so every row is a positive. "
            "Give at least 1, or name data.interactions.labels"
        )


def _interest(spec: Spec) -> Iterable[str]:
    query, item = spec.features.query, spec.features.item
    sequences = ", ".join(name for name, feature in query.items() if isinstance(feature, RecentItems))
    single = [name for name in item if item[name].kind == "ids" and not is_padded(spec.features, name)]
    for place, interest in enumerate(spec.ranking.interest):
        where = f"ranking.interest.{place}"
        known = f"Known: {sequences or '(none); add a query feature of type recent_items'}"
        if interest.sequence not in query:
            yield f"{where}.sequence: {interest.sequence!r} is no query feature. {known}"
        elif not isinstance(query[interest.sequence], RecentItems):
            kind = query[interest.sequence].type
            yield f"{where}.sequence: {interest.sequence!r} is of type {kind!r}, not 'recent_items'. {known}"
        names = interest.features or ()
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{where}.features: {name!r} stands there twice. Name it once"
        for name in names:
            if name not in item:
                yield f"{where}.features: {name!r} is no item feature. Known: {', '.join(item)}"
        if not names and not set(single) & set(spec.ranking.features):
            yield (
                f"{where}.features: left out, and ranking.features {list(spec.ranking.features)} has no single-valued "
                f"id feature of an item. Name item features, as in [{(single or list(item))[0]}]"
            )


def _evaluation(spec: Spec) -> Iterable[str]:
    if spec.evaluation.group_by == "request" and not spec.data.interactions.request:
        yield "evaluation.group_by: 'request', but data.interactions.request is not set. Name the column, or use 'user'"
    if max(spec.evaluation.k) > spec.serving.list_size:
        yield (
            f"evaluation.k: {max(spec.evaluation.k)} is more than serving.list_size {spec.serving.list_size}. "
            "Raise list_size or lower k"
        )
    texts = [column for column, kind in raw_columns(spec.features, "query").items() if kind == "string"]
    measured = [
        *(f"{source}/{name}@{k}" for source in MEASURED_LISTS for name in LIST_METRICS for k in spec.evaluation.k),
        *(
            f"ranking/{task.name}/{name}"
            for task in spec.ranking.tasks
            for name in task_metrics(task.type, spec.evaluation.k)
        ),
    ]
    for place, threshold in enumerate(spec.evaluation.thresholds):
        if threshold.metric not in measured:
            near = difflib.get_close_matches(threshold.metric, measured, 1)
            mend = f"Did you mean {near[0]!r}?" if near else f"Measured: {', '.join(measured)}"
            yield f"evaluation.thresholds.{place}.metric: {threshold.metric!r} is not measured. {mend}"
    for column in spec.evaluation.slices:
        if column not in texts:
            yield f"evaluation.slices: {column!r} is no text column of a query feature. Known: {', '.join(texts)}"


def _index(spec: Spec) -> Iterable[str]:
    kinds = raw_columns(spec.features, "item")
    for column in spec.index.filters:
        if kinds.get(column, "string") != "string":
            yield f"index.filters: {column!r} holds {kinds[column]} to the features. Filter by columns of one text each"
        if not re.fullmatch(NAME, column):
            yield f"index.filters: {column!r} cannot name an input of the served model. Rename the column of the file"
    taken = {*spec.index.inputs, *(f"{contract.FILTER_PREFIX}{column}" for column in spec.index.filters)}
    for name, feature in spec.features.query.items():
        if feature.column in taken:
            yield (
                f"features.query.{name}.column: {feature.column!r} is an input of the search, by 'index'. "
                "Rename the column of the file"
            )


def _serving(spec: Spec) -> Iterable[str]:
    kinds = raw_columns(spec.features, "item")
    for column in spec.serving.display:
        if kinds.get(column, "string") not in ("string", "strings"):
            yield f"serving.display: {column!r} is a number to the features. Only text columns can be shown"
        if column in (*_COMPUTED, *_OUTPUTS):
            yield f"serving.display: {column!r} is what an output of the model is called. Rename the column of the file"
    if spec.serving.candidates < spec.serving.list_size:
        yield (
            f"serving.candidates: {spec.serving.candidates} is less than list_size {spec.serving.list_size}. "
            "Ranking needs at least as many candidates as the list is long"
        )
