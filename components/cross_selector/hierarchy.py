"""Whether a part of a chosen cross has an effect of its own, or only shows what the whole does."""

from __future__ import annotations

import numpy as np

from crossrec.components.cross_selector.data import Array, Task
from crossrec.components.cross_selector.fields import AnyField, chunks, sums
from crossrec.components.cross_selector.score import Model

_VARIANCES = np.concatenate([[0.0], np.exp(np.linspace(np.log(1e-3), np.log(10.0), 20))])


def own_evidence(model: Model, part: str, whole: str) -> float:
    """The log evidence for effects of a part beside those of a cross that contains it.

    Both explain the same rows equally well, so held-out loss cannot tell. But if the part has an effect, the cells of
    the whole that share a cell of the part are alike. With normal effects u of the part and w of the whole, and the
    likelihood taken as quadratic around the present fit, the evidence of both variances is exact; the part is
    judged by the best evidence with u over the best without.

    Args:
        model: A fitted model.
        part: Key of the part.
        whole: Key of the cross that contains it.

    Returns:
        Nats, not negative.
    """
    one, other = model.fields[part], model.fields[whole]
    rows = slice(0, model.fitted)
    found = sums(other.field, model.task.columns, rows, model.residual, model.curvature)
    parents = _parents(other.field, one.field, model.task, rows)
    used = (found.rows >= model.min_count) & (found.hessian > 0)
    parents, hessian = parents[used], found.hessian[used]
    effects = one.table[parents] + other.table[used] + found.gradient[used] / hessian
    groups = np.unique(parents, return_inverse=True)[1]
    best = {True: -np.inf, False: -np.inf}
    for within in _VARIANCES:
        precision = 1.0 / (within + 1.0 / hessian)
        total = np.bincount(groups, precision)
        pull = np.bincount(groups, precision * effects)
        alone = 0.5 * float(np.sum(np.log(precision) - precision * effects**2))
        for shared in _VARIANCES:
            scale = 1.0 + shared * total
            value = alone + 0.5 * float(np.sum(shared * pull**2 / scale - np.log(scale)))
            best[shared > 0] = max(best[shared > 0], value)
    return max(best[True] - best[False], 0.0)


def _parents(whole: AnyField, part: AnyField, task: Task, rows: slice) -> Array:
    """For each cell of the whole the cell of the part that it lies in; 0 for cells that do not occur."""
    parents = np.zeros(whole.size, np.int64)
    names = part.names
    for rows_of, _ in chunks(rows):
        cells = whole.ids(task.columns, rows_of)
        inner = part.ids(task.columns, rows_of)
        if cells.ndim == 1:
            parents[cells] = inner
            continue
        # The whole lists all combinations of its inputs' values in a row; the part lists some of these inputs'.
        shape = [len(cells), *(_width(task, name) for name in whole.names)]
        kept = [shape[1 + at] if name in names else 1 for at, name in enumerate(whole.names)]
        spread = np.broadcast_to(inner.reshape(len(cells), *kept), shape).reshape(len(cells), -1)
        valid = cells >= 0
        parents[cells[valid]] = spread[valid]
    return parents


def _width(task: Task, name: str) -> int:
    column = task.columns[name]
    return column.shape[1] if column.ndim == 2 else 1
