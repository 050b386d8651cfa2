"""What TFX's cache looks at of a pretrained directory, which no input artifact shows."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable

from tfx.dsl.io import fileio

from crossrec.components.errors import DataError
from crossrec.components.text_encoder.config import EncoderUse

_WHOLE = 1 << 22
_HEADER, _SAMPLES, _SAMPLE_BYTES = 1 << 20, 64, 1 << 12


def fingerprint_of(uses: Iterable[EncoderUse]) -> str:
    """Digest of all pretrained models that encoders start from or learn from; "" where there are none.

    Args:
        uses: The encoders.

    Raises:
        DataError: A directory is not there, or empty.
    """
    return "-".join(fingerprint(path, field) for use in uses for field, path in use.pretrained)


def fingerprint(path: str, field: str) -> str:
    """Digest of a model's files: small ones whole, of large ones the size and samples, their headers among them.

    Args:
        path: The directory.
        field: Dotted path of the configuration field, for messages.

    Returns:
        A hexadecimal digest.

    Raises:
        DataError: The directory is not there, or empty.
    """
    files = _files(path) if fileio.isdir(path) else []
    if not files:
        raise DataError(
            field,
            f"{path!r} is no directory with files",
            "Give a directory in the format of Hugging Face (config.json, vocab.txt, model.safetensors), downloaded "
            "beforehand: nothing is fetched at run time.",
        )
    digest = hashlib.sha256()
    for file in files:
        with fileio.open(file, "rb") as content:
            size = content.size()
            digest.update(f"{file[len(path) :].lstrip('/')}\0{size}\0".encode())
            if size <= _WHOLE:
                digest.update(content.read())
                continue
            digest.update(content.read(_HEADER))
            for sample in range(_SAMPLES):
                content.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(content.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _files(directory: str) -> list[str]:
    found = []
    for name in sorted(fileio.listdir(directory)):
        # Caches and other formats of the same weights have no part in what is loaded.
        if name.startswith("."):
            continue
        path = posixpath.join(directory, name.rstrip("/"))
        found += _files(path) if fileio.isdir(path) else [path]
    return found
