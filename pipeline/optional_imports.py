"""Optional packages that libraries import in passing and that no run uses."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

# TFX's launcher imports all of TFX's components. Among what these import are a check of Kubernetes objects, which
# builds a grammar of addresses, and Keras 3 with its plots: both ask whether the package is there, and cost seconds.
_UNUSED = ("kubernetes_validate", "matplotlib")


@contextlib.contextmanager
def without_unused() -> Iterator[None]:
    """While it lasts, such packages count as not installed; those that were imported before stay as they are."""
    hidden = [name for name in _UNUSED if name not in sys.modules]
    # None is how Python marks a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
