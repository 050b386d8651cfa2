"""Writing that survives a crash: what has returned is on disk, what has not is either old or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from crossrec.serving.releases.errors import InvalidBundleError


@dataclass(frozen=True)
class TreeListing:
    """The content of a directory tree, relative to its root: parents before children."""

    directories: Sequence[Path]
    files: Sequence[Path]
    file_bytes: Sequence[int]

    def bytes_on_disk(self, block_bytes: int) -> int:
        """Bytes that a copy takes, in whole blocks.

        Args:
          block_bytes: Size of a block of the target file system.

        Returns:
          Bytes, with one block for every directory.
        """
        blocks = sum(-(-size // block_bytes) for size in self.file_bytes) + len(self.directories) + 1
        return blocks * block_bytes


def list_tree(root: Path) -> TreeListing:
    """List a directory tree that is to be copied.

    Args:
      root: The directory.

    Returns:
      Its directories, files and sizes in bytes.

    Raises:
      InvalidBundleError: If it holds a link to a directory, or what is neither a file nor a directory.
    """
    directories, files, sizes = [], [], []
    for folder, folder_names, file_names in os.walk(root, onerror=_raise):
        folder_names.sort()
        for name in folder_names:
            path = Path(folder, name)
            if path.is_symlink():
                raise InvalidBundleError(f"{path}: is a link to a directory; put the directory itself into the bundle")
            directories.append(path.relative_to(root))
        for name in sorted(file_names):
            path = Path(folder, name)
            if not path.is_file():
                raise InvalidBundleError(f"{path}: is neither a file nor a directory; remove it from the bundle")
            files.append(path.relative_to(root))
            sizes.append(path.stat().st_size)
    return TreeListing(directories, files, sizes)


def _raise(error: OSError) -> None:
    raise error


def copy_tree(source: Path, target: Path, listing: TreeListing, on_file: Callable[[str], None]) -> None:
    """Copy the listed files into an existing, empty directory, with the default modes of this process.

    Args:
      source: Root of the listing.
      target: The directory to fill.
      listing: What to copy.
      on_file: Called with each relative path after that file was copied.
    """
    for directory in listing.directories:
        (target / directory).mkdir()
    for file in listing.files:
        shutil.copyfile(source / file, target / file)
        on_file(file.as_posix())


def sync_tree(root: Path) -> None:
    """Flush every file and directory below ``root``, and ``root`` itself, to disk.

    Args:
      root: The directory.
    """
    for folder, _, file_names in os.walk(root, topdown=False, onerror=_raise):
        for name in file_names:
            sync(Path(folder, name))
        sync(Path(folder))


def sync(path: Path) -> None:
    """Flush one file or directory to disk.

    Args:
      path: The file, or the directory whose entries are to last.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, text: str) -> None:
    """Replace a small text file so that it is whole at any moment, also after a crash.

    Only one writer at a time: the caller holds a lock.

    Args:
      path: The file.
      text: Its new content.
    """
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def make_directories(path: Path) -> None:
    """Make a directory and its missing parents so that they last.

    Args:
      path: The directory.
    """
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in missing:
        sync(directory.parent)
