"""A simulated marketplace: users, items, queries, impressions, clicks, purchases, and planted crosses of known effect.

`simulate(SimulationConfig(rows=100_000), "market")` writes it; `load_truth` reads what was planted, `load_rows` the
rows joined with their items, and `planted_effect` evaluates a planted cross on rows.
"""

from .config import SimulationConfig
from .effects import load_rows, planted_effect
from .errors import SimulationError, explain
from .generator import simulate
from .truth import CrossTruth, Truth, load_truth

__all__ = [
    "CrossTruth",
    "SimulationConfig",
    "SimulationError",
    "Truth",
    "explain",
    "load_rows",
    "load_truth",
    "planted_effect",
    "simulate",
]
