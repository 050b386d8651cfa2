"""Put a bundle into the serving root as the next version, whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from crossrec.serving.releases.bundle import validate_bundle, write_version
from crossrec.serving.releases.durable import (
    TreeListing,
    copy_tree,
    list_tree,
    make_directories,
    sync,
    sync_tree,
)
from crossrec.serving.releases.errors import InvalidBundleError, ReleaseError, describe_os_error
from crossrec.serving.releases.file_lock import file_lock
from crossrec.serving.releases.versions import next_version, record_version

LOCK_FILE = ".publish.lock"
STAGING_PREFIX = ".staging-"
# Room for the lock, the high-water mark and the file system's own bookkeeping.
_MARGIN_BYTES = 64 * 1024

_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_log = logging.getLogger(__name__)

Finalize = Callable[[Path, int], None]
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Published:
    """A version that a server may load.

    Attributes:
      version: Its number.
      path: Its directory, ``<serving root>/<model name>/<version>``.
    """

    version: int
    path: Path


def publish(
    bundle_dir: str | Path,
    serving_root: str | Path,
    model_name: str,
    finalize: Finalize | None = None,
    *,
    lock_timeout_seconds: float = 600.0,
    on_step: OnStep | None = None,
) -> Published:
    """Publish a bundle as the next version of a model.

    The bundle is copied to a hidden folder beside the versions, which TensorFlow Serving ignores, flushed to
    disk and renamed to its number. A kill or a full disk at any moment leaves either no new version or a
    whole one; what a killed publisher left behind, the next one removes. Numbers only grow: a number that was
    taken once, even by a publisher that died before the end, does not come back.

    Args:
      bundle_dir: The bundle, a SavedModel directory.
      serving_root: The directory that holds the model directories, on a local or mounted file system.
      model_name: The name that clients ask for; made as a directory if it is new.
      finalize: Called with the staged copy and its version before it becomes visible; may change the copy.
      lock_timeout_seconds: How long to wait for other publishers of the same model, in seconds.
      on_step: Called with the name of each step when it is done, for progress and for tests.

    Returns:
      The new version and its directory.

    Raises:
      InvalidBundleError: If the bundle is not whole, also after ``finalize``.
      LockTimeoutError: If another publisher kept the lock for too long.
      ReleaseError: If a name is wrong, or if the file system refuses: no space, no permission.
    """
    bundle, model_dir = Path(bundle_dir), _model_dir(serving_root, model_name)
    done = on_step or (lambda step: None)
    needed = None
    try:
        validate_bundle(bundle)
        if bundle.resolve() in (model_dir.resolve(), *model_dir.resolve().parents):
            raise InvalidBundleError(f"{bundle}: holds the model directory {model_dir}; publish elsewhere")
        listing = list_tree(bundle)
        needed = sum(listing.file_bytes)
        make_directories(model_dir)
        with file_lock(model_dir / LOCK_FILE, lock_timeout_seconds, f"publishing to {model_dir}"):
            done("locked")
            _remove_leftovers(model_dir)
            done("leftovers_removed")
            _require_space(model_dir, listing)
            version = next_version(model_dir)
            target = model_dir / str(version)
            with _staging(model_dir) as staged:
                done("staged")
                copy_tree(bundle, staged, listing, on_file=lambda file: done(f"copied {file}"))
                write_version(staged, version)
                done("version_written")
                if finalize is not None:
                    finalize(staged, version)
                    done("finalized")
                validate_bundle(staged)
                sync_tree(staged)
                done("synced")
                # First take the number, then show it: a crash in between skips a number, never repeats one.
                record_version(model_dir, version)
                done("recorded")
                os.rename(staged, target)
            done("renamed")
            _sync_entry(target)
            done("published")
    except OSError as error:
        reason = describe_os_error(error, model_dir, needed)
        raise ReleaseError(f"cannot publish {bundle}: {reason}") from error
    return Published(version, target)


def _model_dir(serving_root: str | Path, model_name: str) -> Path:
    if "://" in str(serving_root):
        raise ReleaseError(
            f"serving_root: {str(serving_root)!r} is a remote address, where no directory can be renamed in "
            "one step; mount it and give the mounted path"
        )
    if not _MODEL_NAME.fullmatch(model_name):
        raise ReleaseError(
            f"model_name: {model_name!r} cannot name a directory; use letters, digits, '_', '-' and '.', "
            "beginning with a letter, a digit or '_'"
        )
    return Path(os.path.abspath(serving_root)) / model_name


@contextlib.contextmanager
def _staging(model_dir: Path) -> Iterator[Path]:
    """Make a folder that is gone afterwards, whatever happens, unless it was renamed."""
    # Not tempfile.mkdtemp: its mode 0700 would lock out a server that runs as another user.
    path = model_dir / f"{STAGING_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    try:
        yield path
    except BaseException:
        # If this fails too, the first error matters more, and the next publisher removes the folder.
        shutil.rmtree(path, ignore_errors=True)
        raise


def _remove_leftovers(model_dir: Path) -> None:
    """Remove the staging folders of killed publishers; we hold the lock, so no living one has any."""
    for path in model_dir.glob(f"{STAGING_PREFIX}*"):
        try:
            shutil.rmtree(path)
        except OSError as error:
            _log.warning(
                "%s: left behind by a killed publisher, and cannot be removed (%s); remove it by hand",
                path,
                error.strerror,
            )


def _sync_entry(target: Path) -> None:
    try:
        sync(target.parent)
    except OSError as error:
        raise ReleaseError(
            f"{target}: is visible to servers, but the disk did not confirm it ({error.strerror}), so a "
            "power failure may undo it; check the disk, and publish again if the version is gone"
        ) from error


def _require_space(model_dir: Path, listing: TreeListing) -> None:
    """Refuse before the first byte is written, so that a disk that others use is not filled in vain."""
    status = os.statvfs(model_dir)
    needed = listing.bytes_on_disk(status.f_frsize) + _MARGIN_BYTES
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise ReleaseError(
            f"{model_dir}: the bundle needs {needed} bytes, but only {free} bytes are free; free at least "
            f"{needed - free} bytes on that file system (old versions are the first candidates), then publish"
        )
    entries = len(listing.files) + len(listing.directories) + 3
    # Some file systems make inodes as they need them, and say that they have none.
    if status.f_files and entries > status.f_favail:
        raise ReleaseError(
            f"{model_dir}: the bundle needs {entries} files and directories, but only {status.f_favail} "
            "inodes are free; remove files on that file system and publish again"
        )
