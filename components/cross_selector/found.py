"""What a search gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossrec.components.cross_selector.candidates import Names
from crossrec.components.cross_selector.evaluate import Worth
from crossrec.components.cross_selector.significance import Gain


@dataclass
class Found:
    """What a search found.

    Attributes:
        chosen: The crosses, in the order in which they were chosen.
        pairs: What every pair is worth over main effects alone.
        looked_at: Different crosses that were scored.
        over_others: What each chosen cross gains over the others, on the selection block.
        stopped: Why the search ended.
        steps: What was chosen and dropped when, in words.
    """

    chosen: list[Names] = field(default_factory=list)
    pairs: dict[Names, Worth] = field(default_factory=dict)
    looked_at: int = 0
    over_others: dict[Names, Gain] = field(default_factory=dict)
    stopped: str = ""
    steps: list[str] = field(default_factory=list)
