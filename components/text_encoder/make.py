"""From an encoder's configuration and texts to a SavedModel."""

from __future__ import annotations

from crossrec.components.errors import DataError
from crossrec.components.progress import progress
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.export import export
from crossrec.components.text.hugging_face import HuggingFaceNetwork, load
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.projection import fit_projection
from crossrec.components.text.report import EncoderReport
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text.vocabulary import learn_vocabulary
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.config import EncoderUse
from crossrec.components.text_encoder.distil import distil, teacher_targets
from crossrec.components.text_encoder.texts import TextFiles, read_lines
from crossrec.components.text_encoder.train import TextPairs, fit_pairs

_FEWEST_TEXTS = 2


def make_encoder(use: EncoderUse, files: TextFiles, directory: str) -> EncoderReport:
    """Loads or makes an encoder, trains it as asked, and writes it.

    Args:
        use: The encoder and its columns.
        files: Its texts.
        directory: Where the SavedModel and its report are written.

    Raises:
        DataError: There is nothing to learn from, or the encoder cannot give as many numbers as asked.
    """
    config = use.encoder
    texts = read_lines(files.texts)
    columns = ", ".join(repr(column) for column in (*use.query, *use.item))
    learns = use.learns_pairs or not config.path
    if learns and len(texts) < _FEWEST_TEXTS:
        raise DataError(
            use.field,
            f"{len(texts)} different texts in column {columns}: nothing to learn from",
            "Name columns with texts, or give a pretrained encoder as 'path' without 'training'.",
        )
    network = _start(use, files)
    if config.dimension > network.width:
        raise DataError(
            f"{use.field}.dimension",
            f"{config.dimension} is more than the {network.width} numbers that the encoder gives",
            f"Write {network.width} or fewer" + (" (or a greater small.width)." if not config.path else "."),
        )
    figures: dict[str, float] = {}
    if config.teacher:
        progress(f"text encoder {config.key}: learning from {config.teacher} on {len(texts):,} texts")
        teacher = load(config.teacher, config, f"{use.field}.teacher")
        figures |= _prefixed(
            "distillation", distil(network, texts, teacher_targets(teacher, texts, network.width), use.training)
        )
    if use.learns_pairs:
        figures |= _fit(network, use, files, texts)
    projection = None
    if config.dimension < network.width:
        sample = read_lines(files.catalogue) or texts
        if not sample:
            raise DataError(
                use.field,
                f"no text in column {columns}: no principal components of its vectors",
                f"Name columns with texts, or write 'dimension: {network.width}'.",
            )
        progress(f"text encoder {config.key}: principal components of {len(sample):,} texts")
        projection = fit_projection(Embedder(network)(Tokens.of(network, sample)), config.dimension)
    return export(network, projection, config, directory, figures)


def _start(use: EncoderUse, files: TextFiles) -> EncoderNetwork:
    config: TextEncoderConfig = use.encoder
    if config.path:
        return load(config.path, config, f"{use.field}.path")
    pieces = learn_vocabulary({word: count for word, count in read_lines(files.words)}, config.small.vocabulary_size)
    return SmallNetwork(pieces, config, use.training.seed)


def _fit(network: EncoderNetwork, use: EncoderUse, files: TextFiles, texts: list[str]) -> dict[str, float]:
    """Trains on pairs, or on two views of each text where there are none."""
    found = [tuple(pair) for pair, _ in read_lines(files.pairs)]
    pairs = TextPairs.of(found)
    kind = "pairs of texts"
    if len(found) < _FEWEST_TEXTS:
        pairs, kind = TextPairs.views(texts), "texts without pairs"
    progress(f"text encoder {use.encoder.key}: learning from {len(pairs.left):,} {kind}")
    adapts = use.training.weights == "adapters" and isinstance(network, HuggingFaceNetwork)
    if adapts:
        network.add_adapters(use.training.rank, use.training.seed)
    figures = fit_pairs(network, pairs, use.training)
    if adapts:
        network.merge_adapters()
    return _prefixed("pairs" if len(found) >= _FEWEST_TEXTS else "views", figures)


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}
