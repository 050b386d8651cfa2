"""What a directory in the format of Hugging Face says of its encoder, read without its libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from crossrec.components.errors import DataError
from crossrec.components.text.wordpiece import WordPieceOptions

# Those that read word pieces and have a TensorFlow class in transformers.
FAMILIES = ("bert", "distilbert", "electra")

WEIGHTS = "model.safetensors"
_CONFIG, _VOCABULARY, _TOKENIZER = "config.json", "vocab.txt", "tokenizer.json"
_SENTENCE_MODULES = ("Transformer", "Pooling", "Normalize")


class PretrainedDirectory(NamedTuple):
    """A pretrained encoder's tokens and pooling.

    Attributes:
        family: ``model_type`` of its ``config.json``.
        positions: Most tokens that it can take.
        vocabulary: Word pieces in the order of their ids.
        first: Id put before a text.
        last: Id put behind a text.
        unknown: The piece of an unknown word.
        options: How a text becomes words.
    """

    family: str
    positions: int
    vocabulary: tuple[str, ...]
    first: int
    last: int
    unknown: str
    options: WordPieceOptions


def read_directory(path: str, field: str) -> PretrainedDirectory:
    """Reads all that is needed beside the weights, and checks that those are there.

    Args:
        path: The directory.
        field: Name of the configuration's field that holds it, for errors.

    Raises:
        DataError: If the directory or a file is missing, or if it holds no encoder that works here.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(
            field,
            f"there is no directory {path!r}",
            "Nothing is downloaded while a pipeline runs: copy the encoder's directory to this machine, for example "
            "with 'huggingface-cli download NAME --local-dir DIR' where there is access, and give its path.",
        )
    config = _json(root, _CONFIG, field)
    family = str(config.get("model_type", ""))
    if family not in FAMILIES:
        raise DataError(
            field,
            f"{path!r} holds a model of type {family!r}",
            f"Give an encoder of one of these types: {', '.join(FAMILIES)}.",
        )
    _require(root, WEIGHTS, field)
    tokenizer = _json(root, _TOKENIZER, field) if (root / _TOKENIZER).is_file() else {}
    vocabulary = _vocabulary(root, tokenizer, field)
    settings = _optional(root, "special_tokens_map.json") | _optional(root, "tokenizer_config.json")
    ids = {piece: place for place, piece in enumerate(vocabulary)}
    pieces = {name: _piece(settings.get(f"{name}_token"), f"[{name.upper()}]") for name in ("cls", "sep", "unk")}
    for piece in pieces.values():
        if piece not in ids:
            raise DataError(
                field, f"the vocabulary of {path!r} has no {piece!r}", "Give a directory whose files belong together."
            )
    return PretrainedDirectory(
        family=family,
        positions=int(config.get("max_position_embeddings", 512)),
        vocabulary=vocabulary,
        first=ids[pieces["cls"]],
        last=ids[pieces["sep"]],
        unknown=pieces["unk"],
        options=_options(settings, tokenizer),
    )


def automatic_pooling(path: str, field: str) -> str:
    """Tells the pooling that a directory of sentence-transformers asks for.

    Args:
        path: The directory.
        field: Name of the configuration's field that says ``auto``, for errors.

    Returns:
        ``mean`` or ``cls``; ``mean`` if the directory says nothing.

    Raises:
        DataError: If it asks for something else, or for layers behind the pooling.
    """
    root = Path(path)
    modules = json.loads((root / "modules.json").read_text("utf-8")) if (root / "modules.json").is_file() else []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    asked = [name for name, on in _optional(root, "1_Pooling/config.json").items() if on is True and "_mode_" in name]
    further = [kind for kind in kinds if kind not in _SENTENCE_MODULES]
    known = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    if further or len(asked) > 1 or not set(asked) <= set(known):
        raise DataError(
            field,
            f"'auto', and {path!r} asks for {', '.join(asked + further)}",
            "Write 'mean' or 'cls': its vectors will differ from those of sentence-transformers.",
        )
    return known[asked[0]] if asked else "mean"


def _require(root: Path, name: str, field: str) -> None:
    if not (root / name).is_file():
        others = sorted(
            entry.name for entry in root.iterdir() if entry.suffix in (".bin", ".h5", ".onnx", ".safetensors")
        )
        held = f" (it holds {', '.join(others)})" if name == WEIGHTS and others else ""
        raise DataError(
            field,
            f"{str(root)!r} has no file {name}{held}",
            "Copy the whole directory of the encoder, for example with "
            "'huggingface-cli download NAME --local-dir DIR' where there is access.",
        )


def _json(root: Path, name: str, field: str) -> dict[str, Any]:
    _require(root, name, field)
    try:
        content = json.loads((root / name).read_text("utf-8"))
    except ValueError as error:
        raise DataError(field, f"{name} of {str(root)!r} is no JSON ({error})", "Copy the file again.") from error
    if not isinstance(content, dict):
        raise DataError(field, f"{name} of {str(root)!r} is no JSON object", "Copy the file again.")
    return content


def _optional(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / name).read_text("utf-8"))) if (root / name).is_file() else {}


def _vocabulary(root: Path, tokenizer: dict[str, Any], field: str) -> tuple[str, ...]:
    if (root / _VOCABULARY).is_file():
        lines = (root / _VOCABULARY).read_bytes().decode("utf-8").split("\n")  # only here does a line end
        pieces = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
        last = {piece: place for place, piece in enumerate(pieces)}
        # A piece that is there twice has the later id; a word never has a space.
        return tuple(piece if last[piece] == place else f"{piece} {place}" for place, piece in enumerate(pieces))
    if not tokenizer:
        _require(root, _VOCABULARY, field)
    model = tokenizer.get("model", {})
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(model.get("vocab"), dict):
        raise DataError(
            field, f"{_TOKENIZER} of {str(root)!r} has no word pieces", "Give an encoder with a WordPiece vocabulary."
        )
    return tuple(sorted(model["vocab"], key=model["vocab"].__getitem__))


def _piece(token: Any, default: str) -> str:
    return str(token["content"] if isinstance(token, dict) else token or default)


def _options(settings: dict[str, Any], tokenizer: dict[str, Any]) -> WordPieceOptions:
    normalizer = tokenizer.get("normalizer") or {}
    lower = bool(settings.get("do_lower_case", normalizer.get("lowercase", True)))
    accents = settings.get("strip_accents", normalizer.get("strip_accents"))
    chinese = settings.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True))
    longest = tokenizer.get("model", {}).get("max_input_chars_per_word", 100)
    # As in tokenizers' BertNormalizer: what is not said of accents follows the case.
    return WordPieceOptions(lower, lower if accents is None else bool(accents), bool(chinese), int(longest))
