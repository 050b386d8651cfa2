"""The picture of a selection: the gain of each cross, and a heat map of all pairs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from crossrec.components.cross_selector.data import Array
from crossrec.components.cross_selector.report import SelectionReport

_AUTO, _EXPLICIT, _REFUSED = "#1f6f8b", "#8d99ae", "#d1495b"


def draw(report: SelectionReport) -> bytes:
    """Draws a selection.

    Left, for each cross in its order, the gain over main effects and the crosses before it on rows that had no part in
    choosing it, with its 95 % confidence interval; chosen, explicit and refused ones in different colours. Right,
    for each pair the gain over main effects alone, squares around those that were chosen or are explicit.

    Args:
        report: The selection.

    Returns:
        A PNG image.
    """
    # Without pyplot: it keeps figures in global state and asks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, matrix = pair_matrix(report)
    bars = [*report.crosses, *report.refused]
    height = max(4.0, 0.42 * len(bars) + 1.8, 0.34 * len(names) + 2.2)
    figure = Figure(figsize=(16, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    _bars(left, report)
    _heat_map(right, report, names, matrix, figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def pair_matrix(report: SelectionReport) -> tuple[list[str], Array]:
    """The features of all pairs, and the gain of each pair in millinats; NaN where a pair was not looked at."""
    names = list(dict.fromkeys(name for pair in report.pairs for name in pair.inputs))
    place = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), np.nan)
    for pair in report.pairs:
        a, b = (place[name] for name in pair.inputs)
        matrix[a, b] = matrix[b, a] = 1e3 * pair.gain
    return names, matrix


def _bars(axes: Any, report: SelectionReport) -> None:
    bars = [*report.crosses, *report.refused]
    colours = [_EXPLICIT if one.explicit else _AUTO for one in report.crosses] + [_REFUSED] * len(report.refused)
    means = np.array([1e3 * one.gain.mean for one in bars])
    spread = np.array([[1e3 * (one.gain.mean - one.gain.low), 1e3 * (one.gain.high - one.gain.mean)] for one in bars])
    places = np.arange(len(bars))
    axes.barh(places, means, color=colours)
    if bars:
        axes.errorbar(means, places, xerr=spread.T, fmt="none", ecolor="black", capsize=3)
    labels = [one.name.replace("_x_", " × ") for one in bars]
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("gain over the crosses above, millinats a row (95 % interval)")
    axes.set_title("Gain by cross" if bars else "No cross gains enough")


def _heat_map(axes: Any, report: SelectionReport, names: list[str], matrix: Array, figure: Any) -> None:
    axes.set_title("Pairs, each alone over main effects")
    if not names:
        axes.set_axis_off()
        return
    # Gains differ by orders of magnitude; a root keeps the small ones visible.
    shown = np.sqrt(np.maximum(matrix, 0.0))
    image = axes.imshow(shown, cmap="viridis")
    axes.set_xticks(np.arange(len(names)), names, rotation=90)
    axes.set_yticks(np.arange(len(names)), names)
    place = {name: number for number, name in enumerate(names)}
    for one in report.crosses:
        if len(one.inputs) == 2 and all(name in place for name in one.inputs):
            a, b = (place[name] for name in one.inputs)
            axes.plot([a, b], [b, a], "s", markersize=11, markerfacecolor="none", color="white")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    ticks = np.linspace(0.0, float(np.nanmax(shown)) if np.isfinite(shown).any() else 1.0, 5)
    bar.set_ticks(ticks, labels=[f"{tick * tick:.2g}" for tick in ticks])
    bar.set_label("millinats a row")
