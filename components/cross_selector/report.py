"""What a selection leaves for people and programs: ``selection.json``, and tables in Markdown and CSV."""

from __future__ import annotations

import csv
import io

from tfx.dsl.io import fileio

from crossrec.components.features.frozen import Frozen

FILE = "selection.json"
MARKDOWN, CSV, PAIRS_CSV, PICTURE = "selection.md", "selection.csv", "pairs.csv", "selection.png"


class GainReport(Frozen):
    """A gain in log loss, in nats per row.

    Attributes:
        mean: The gain.
        error: Its standard error, by user.
        low: Lower end of the 95 % confidence interval.
        high: Upper end.
        p_value: Probability of such a gain or a larger one without any effect.
    """

    mean: float
    error: float
    low: float
    high: float
    p_value: float


class CrossReport(Frozen):
    """One cross, measured on rows that had no part in choosing it.

    Attributes:
        name: Its name.
        inputs: Its features, in order.
        explicit: Whether the spec names it.
        gain: Over main effects and the crosses before it in the list.
        over_others: Over all other crosses of the list that do not contain it.
        buckets: Its ids.
        distinct: Combinations that occurred in the rows that it was fitted on.
        width: Ids in one row.
        coverage: Share of the later rows whose ids occurred often enough to have weights.
        collision_rate: Share of the combinations that share their id with others.
    """

    name: str
    inputs: tuple[str, ...]
    explicit: bool
    gain: GainReport
    over_others: GainReport
    buckets: int
    distinct: int
    width: int
    coverage: float
    collision_rate: float


class PairReport(Frozen):
    """What a pair is worth over main effects alone, on the selection block.

    Attributes:
        inputs: Two features.
        gain: Nats per row.
        error: Its standard error.
    """

    inputs: tuple[str, str]
    gain: float
    error: float


class SelectionReport(Frozen):
    """A whole selection.

    Attributes:
        labels: The labels that are explained, in the order of the funnel.
        rows: Rows of the blocks that fitted, selected and confirmed.
        looked_at: Different crosses that were scored.
        stopped: Why the search ended.
        seconds: How long it took, sample included.
        crosses: Explicit crosses, then the chosen ones in the order in which they were chosen.
        refused: Chosen ones that the confirmation block did not confirm.
        steps: What was chosen and taken out again when.
        pairs: Every pair.
    """

    labels: tuple[str, ...]
    rows: tuple[int, int, int]
    looked_at: int
    stopped: str
    seconds: float
    crosses: tuple[CrossReport, ...]
    refused: tuple[CrossReport, ...]
    steps: tuple[str, ...]
    pairs: tuple[PairReport, ...]

    def write(self, directory: str) -> None:
        """Writes the report and its tables into a directory, which must be there."""
        tables = {
            FILE: self.model_dump_json(indent=1),
            MARKDOWN: self.markdown(),
            CSV: _csv(_HEADER, [_row(one, False) for one in self.crosses] + [_row(one, True) for one in self.refused]),
            PAIRS_CSV: _csv(["a", "b", "gain", "error"], [[*one.inputs, one.gain, one.error] for one in self.pairs]),
        }
        for name, text in tables.items():
            with fileio.open(f"{directory}/{name}", "w") as file:
                file.write(text)

    @classmethod
    def read(cls, directory: str) -> SelectionReport:
        """Reads the report of a directory."""
        with fileio.open(f"{directory}/{FILE}", "r") as file:
            return cls.model_validate_json(file.read())

    def markdown(self) -> str:
        """The crosses as a table."""
        fitted, selected, confirmed = self.rows
        lines = [
            "# Crosses",
            "",
            f"{self.looked_at:,} candidates, fitted on {fitted:,} rows, selected on the {selected:,} after them and "
            f"confirmed on the last {confirmed:,}; labels: {', '.join(self.labels)}. The search ended because "
            f"{self.stopped}. Gains are millinats of log loss a row, ± half of the 95 % confidence interval.",
            "",
            "| cross | order | gain | over the others | ids | combinations | coverage | collisions |",
            "|---|---|---|---|---|---|---|---|",
            *(_line(one) for one in self.crosses),
        ]
        if self.refused:
            lines += ["", "Chosen but not confirmed: " + ", ".join(one.name for one in self.refused) + "."]
        return "\n".join(lines) + "\n"


_HEADER = [
    "name", "order", "source", "gain", "gain_low", "gain_high", "gain_p_value", "over_others", "over_others_low",
    "over_others_high", "over_others_p_value", "buckets", "distinct", "width", "coverage", "collision_rate",
]  # fmt: skip


def _row(one: CrossReport, refused: bool) -> list[object]:
    source = "refused" if refused else "explicit" if one.explicit else "auto"
    gains = [[gain.mean, gain.low, gain.high, gain.p_value] for gain in (one.gain, one.over_others)]
    return [
        one.name, len(one.inputs), source, *gains[0], *gains[1], one.buckets, one.distinct, one.width, one.coverage,
        one.collision_rate,
    ]  # fmt: skip


def _line(one: CrossReport) -> str:
    gains = [f"{1e3 * g.mean:.2f} ± {5e2 * (g.high - g.low):.2f}" for g in (one.gain, one.over_others)]
    name = f"{one.name} (explicit)" if one.explicit else one.name
    return (
        f"| {name} | {len(one.inputs)} | {gains[0]} | {gains[1]} | {one.buckets:,} | {one.distinct:,} "
        f"| {100 * one.coverage:.1f} % | {100 * one.collision_rate:.1f} % |"
    )


def _csv(header: list[str], rows: list[list[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
