"""Whether the versions that are to be loaded at the same time fit into memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.releases.errors import ReleaseError

# A server process without models: TensorFlow Serving's binary and its thread pools.
BASE_BYTES = 300 * 2**20
# Weights are held once; graphs and tables of strings take more in memory than on disk. A bundle with a graph of
# 1.2 MiB and 9 MiB of weights took 83 MiB beside another one. Nodes cost most; large graphs are large by constants.
_WEIGHTS_FACTOR = 1.1
_GRAPH_FACTOR = 3.0
_NODES_FACTOR, _MOST_NODES_BYTES = 60.0, 100 * 2**20
_ASSETS_FACTOR = 3.0
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CGROUP_USES = (Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"))
_LOOPBACK = ("127.", "localhost:", "[::1]:")


@dataclass(frozen=True)
class MemoryPlan:
    """What a load needs against what there is.

    Attributes:
      needed_bytes: Estimate of what is needed.
      available_bytes: What may be used; None if nobody knows.
      explanation: Both in words.
    """

    needed_bytes: int
    available_bytes: int | None
    explanation: str

    @property
    def fits(self) -> bool:
        """False only if it is known not to fit."""
        return self.available_bytes is None or self.needed_bytes <= self.available_bytes


def estimate_bytes(version_dir: Path) -> int:
    """Estimate the memory that a loaded version takes.

    Args:
      version_dir: Its directory.

    Returns:
      Bytes; 0 if the directory is gone.
    """
    total = 0.0
    for path in version_dir.rglob("*"):
        if path.is_file():
            folder = path.relative_to(version_dir).parts[0]
            size = path.stat().st_size
            if folder == "variables":
                total += _WEIGHTS_FACTOR * size
            elif folder == "assets":
                total += _ASSETS_FACTOR * size
            elif folder in ("saved_model.pb", "saved_model.pbtxt"):
                total += _GRAPH_FACTOR * size + min(_NODES_FACTOR * size, _MOST_NODES_BYTES)
    return int(total)


def plan_memory(target: str, loaded: Iterable[Path], new: Iterable[Path], limit_bytes: int | None) -> MemoryPlan:
    """Compare what a load needs with what a replica has.

    With a limit per replica, everything loaded counts against it. Without one, and only for a server on this
    machine, the new versions count against the memory that is free here.

    Args:
      target: Address of the replica.
      loaded: Directories of the versions that are loaded there.
      new: Directories of the versions that are to be loaded beside them.
      limit_bytes: What one replica may use, or None.

    Returns:
      The comparison.
    """
    new_bytes = sum(map(estimate_bytes, new))
    if limit_bytes is not None:
        loaded_bytes = sum(map(estimate_bytes, loaded))
        needed = BASE_BYTES + loaded_bytes + new_bytes
        words = (
            f"about {_size(needed)} for the server ({_size(BASE_BYTES)}), what is loaded ({_size(loaded_bytes)}) and "
            f"what is new ({_size(new_bytes)}), of {_size(limit_bytes)} that a replica may use "
            "(fleet.memory_limit_bytes)"
        )
        return MemoryPlan(needed, limit_bytes, words)
    if not target.startswith(_LOOPBACK):
        return MemoryPlan(new_bytes, None, f"about {_size(new_bytes)}; the limit of a replica is not known")
    free = free_bytes()
    return MemoryPlan(new_bytes, free, f"about {_size(new_bytes)} of {_size(free)} free on this machine")


def require_memory(target: str, plan: MemoryPlan) -> None:
    """Refuse a load that does not fit.

    Args:
      target: Address of the replica.
      plan: See `plan_memory`.

    Raises:
      ReleaseError: If it is known not to fit.
    """
    if not plan.fits:
        raise ReleaseError(
            f"{target}: the versions do not fit into memory together: {plan.explanation}. TensorFlow Serving loads the "
            "new version before it lets the old one go. Raise the limit (`configure --memory-limit`), let earlier "
            "versions go (`configure --keep-previous no` and `reconcile`, `pin --off`), or give --ignore-memory if "
            "the estimate is wrong"
        )


def free_bytes() -> int | None:
    """Find out how much memory is free on this machine, within the limit of this container.

    Returns:
      Bytes; None where the system does not tell.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    limit, used = _first_number(_CGROUP_LIMITS), _first_number(_CGROUP_USES)
    return free if limit is None or used is None else min(free, max(limit - used, 0))


def _first_number(paths: Iterable[Path]) -> int | None:
    for path in paths:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _size(count: int | None) -> str:
    return "an unknown amount" if count is None else f"{count / 2**20:,.0f} MiB"
