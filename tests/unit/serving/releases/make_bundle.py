"""A bundle's files without its model: what publishing looks at."""

from pathlib import Path


def make_bundle(path: Path, weight_bytes: int = 4096, marker: bytes = b"graph") -> Path:
    for folder in ("variables", "assets", "assets.extra"):
        (path / folder).mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(marker)
    (path / "variables" / "variables.index").write_bytes(b"index")
    (path / "variables" / "variables.data-00000-of-00001").write_bytes(b"w" * weight_bytes)
    (path / "assets" / "model_version.txt").write_text("version\t0\n")
    (path / "assets.extra" / "golden_requests").write_bytes(b"golden")
    (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"warm-up")
    return path


def contents(path: Path) -> dict:
    """Every file below ``path`` with its bytes."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
