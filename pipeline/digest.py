"""Digests of code, so that TFX's cache notices an edit that no artifact shows."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SHARED = ("components/features", "components/modeling")
# Code of other parts whose change no input artifact shows.
_BORROWED = {
    "example_gen": ("components/features/spill.py",),
    "text_encoder": ("components/text",),
    "retrieval_trainer": ("components/evaluation/ragged.py", "components/evaluation/ranking_metrics.py"),
    "candidate_indexer": ("serving/contract/names.py",),
    "ranking_trainer": (
        "components/evaluation/classification_metrics.py",
        "components/evaluation/graded_metrics.py",
    ),
    "serving_bundle": ("serving/contract", "components/warm_start/lineage.py", "components/warm_start/records.py"),
    "evaluation": ("serving/contract",),
    "serving_check": (
        "serving/contract",
        "serving/launch",
        "serving/local_server",
        *(f"serving/releases/{name}.py" for name in ("bundle", "checks", "errors", "fleet", "golden", "replica")),
    ),
}


@functools.cache
def code_digest(component: str) -> str:
    """Digest of the code that a component runs: its own folder, the shared ones, and what it borrows.

    What a component borrows from one before it in the graph is left out: a change there gives it new inputs.

    Args:
        component: Folder below ``components/``.
    """
    shared = () if component == "example_gen" else _SHARED
    digest = hashlib.sha256()
    for part in (f"components/{component}", *shared, *_BORROWED.get(component, ())):
        place = _ROOT / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(_ROOT).as_posix().encode("utf-8"))
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
