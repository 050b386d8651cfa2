"""Digests of code, so that TFX's cache notices an edit that no artifact shows."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SHARED = ("components/features", "components/modeling")


@functools.cache
def code_digest(component: str) -> str:
    """Digest of the code that a component runs: its own folder and the shared ones.

    Args:
        component: Folder below ``components/``.
    """
    folders = ("components/example_gen",) if component == "example_gen" else (f"components/{component}", *_SHARED)
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode("utf-8"))
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
