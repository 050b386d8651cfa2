"""What a bundle must hold before it may become a version, and the one line in it that names the version."""

from __future__ import annotations

from pathlib import Path

from crossrec.serving.releases.errors import InvalidBundleError

VERSION_ASSET = Path("assets", "model_version.txt")
GOLDEN_REQUESTS = Path("assets.extra", "golden_requests")

_REQUIRED = {
    Path("saved_model.pb"): "the graph",
    Path("variables", "variables.index"): "the index of the weights",
    VERSION_ASSET: "the asset that tells the model its version",
    GOLDEN_REQUESTS: "requests with known answers, for the check before a release",
}


def validate_bundle(bundle_dir: Path) -> None:
    """Check that a directory is a whole bundle.

    Args:
      bundle_dir: The SavedModel directory.

    Raises:
      InvalidBundleError: If a required file is missing or empty; the message names all of them.
    """
    if not bundle_dir.is_dir():
        raise InvalidBundleError(
            f"{bundle_dir}: is not a directory; give the directory that holds the bundle's saved_model.pb"
        )
    faults = []
    for name, meaning in _REQUIRED.items():
        path = bundle_dir / name
        if not path.is_file():
            faults.append(f"{name.as_posix()} is missing ({meaning})")
        elif path.stat().st_size == 0:
            faults.append(f"{name.as_posix()} is empty ({meaning})")
    if not any((bundle_dir / "variables").glob("variables.data-*")):
        faults.append("variables/variables.data-* is missing (the weights)")
    if faults:
        raise InvalidBundleError(
            f"{bundle_dir}: is not a whole bundle: {'; '.join(faults)}; export it again and publish that"
        )


def write_version(bundle_dir: Path, version: int) -> None:
    """Tell the model its version: the asset initialises a lookup table in the graph.

    Args:
      bundle_dir: The staged copy of the bundle.
      version: The number that it will be served as.
    """
    (bundle_dir / VERSION_ASSET).write_text(f"version\t{version}\n", encoding="utf-8")


def read_version(bundle_dir: Path) -> int:
    """Read the version that a bundle will report.

    Args:
      bundle_dir: A bundle or a version directory.

    Returns:
      The number in the version asset.

    Raises:
      InvalidBundleError: If the asset is missing or is not one line ``version<TAB>NUMBER``.
    """
    path = bundle_dir / VERSION_ASSET
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    key, _, number = text.strip().partition("\t")
    if key != "version" or not (number.isascii() and number.isdigit()):
        raise InvalidBundleError(
            f"{path}: holds {text[:40]!r} instead of one line version<TAB>NUMBER; export the bundle again"
        )
    return int(number)
