"""Errors of the release commands; every message names the path and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


class ReleaseError(RuntimeError):
    """A release step could not be done; no version has changed, unless the message says otherwise."""


class InvalidBundleError(ReleaseError):
    """The bundle lacks something that a version directory must have."""


class LockTimeoutError(ReleaseError):
    """Somebody else held a lock for longer than the caller was willing to wait."""


class UsageError(ReleaseError):
    """An argument is wrong; nothing was done."""


class InvalidStateError(ReleaseError):
    """The stored state of the releases cannot be read."""


class ConflictError(ReleaseError):
    """Somebody else changed the state, or is at work on it."""


class ReplicaDownError(ReleaseError):
    """A server does not answer."""


class ReplicaError(ReleaseError):
    """A server answers, but does not do what it was told."""


class LoadError(ReplicaError):
    """A server cannot load a version, or not in time."""


class CorruptVersionError(LoadError):
    """A server tried to load a version and gave up: the version is to blame."""


class CheckFailedError(ReleaseError):
    """A version is loaded but not good enough: wrong answers, errors, or too slow."""


class WithdrawnError(ReleaseError):
    """A release was taken back because it was not good enough; the servers are as they were before."""


_MENDS = {
    errno.ENOSPC: "free space on that file system (old versions are the first candidates) and try again",
    errno.EDQUOT: "the disk quota is used up: free space or raise the quota, and try again",
    errno.EFBIG: "the limit for the size of a file (`ulimit -f`) is too small: raise it and try again",
    errno.EACCES: "give this user access to that path (owner or mode) and try again",
    errno.EPERM: "give this user access to that path (owner, mode or attributes) and try again",
    errno.EROFS: "the file system is mounted read-only: mount it writable or use another place",
}


def describe_os_error(error: OSError, directory: Path, needed_bytes: int | None = None) -> str:
    """Turn an operating system error into a sentence with path, bytes and mend.

    Args:
      error: What the operating system said.
      directory: Where the work was done; named when the error carries no path, and asked for its free space.
      needed_bytes: Bytes that the whole step writes, if they are known.

    Returns:
      One sentence for the user.
    """
    # A copy knows two paths; the one that is written to is the second.
    path = error.filename2 or error.filename or str(directory)
    reason = os.strerror(error.errno) if error.errno is not None else str(error)
    sizes = ""
    if needed_bytes is not None:
        existing = next((p for p in (directory, *directory.parents) if p.exists()), Path("/"))
        sizes = f" ({needed_bytes} bytes needed, {shutil.disk_usage(existing).free} bytes free)"
    mend = _MENDS.get(error.errno or 0, "see to that path and try again")
    return f"{path}: {reason}{sizes}; {mend}"
