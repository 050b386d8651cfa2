"""Whether what is about to be published is what servers load already."""

from __future__ import annotations

import filecmp
from pathlib import Path

from crossrec.serving.releases.bundle import VERSION_ASSET
from crossrec.serving.releases.publish import Published
from crossrec.serving.releases.versions import list_versions


def current_release(bundle_dir: str | Path, serving_root: str | Path, model_name: str) -> Published | None:
    """Find the latest version of a model, if it holds exactly this bundle.

    Every file is compared byte by byte, so a release that was damaged or changed counts as another one.

    Args:
      bundle_dir: The bundle, a SavedModel directory.
      serving_root: The directory that holds the model directories.
      model_name: The name that clients ask for.

    Returns:
      The latest version; None if there is none, or if it holds something else.
    """
    model_dir = Path(serving_root).absolute() / model_name
    versions = list_versions(model_dir) if model_dir.is_dir() else []
    if not versions:
        return None
    path = model_dir / str(versions[-1])
    return Published(versions[-1], path) if _same_bundle(Path(bundle_dir), path) else None


def _same_bundle(bundle: Path, version: Path) -> bool:
    """Compare two bundles, all but the number that publishing writes into the copy."""
    names = _files(bundle)
    if names != _files(version):
        return False
    compared = [str(name) for name in names if name != VERSION_ASSET]
    _, different, unreadable = filecmp.cmpfiles(bundle, version, compared, shallow=False)
    return not different and not unreadable


def _files(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
