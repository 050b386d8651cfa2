"""Adapts TFX artifacts to the embedding of texts."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.features.encodings import Encoding
from crossrec.components.features.item_table import Array
from crossrec.components.modeling.warm_start import previous_release
from crossrec.components.progress import progress
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_embedder import clusters
from crossrec.components.text_embedder.config import TextEmbedderConfig
from crossrec.components.text_embedder.embed import EmbedTexts, add_up
from crossrec.components.text_embedder.former import former_centres
from crossrec.components.text_embedder.join import AddColumns
from crossrec.components.text_embedder.prune import prune
from crossrec.components.text_embedder.report import EmbeddingReport, EncoderFigures
from crossrec.components.text_embedder.texts import ITEM, TRAIN, Examples, distinct_texts

# What a worker holds at once: texts of that many bytes of packed examples, and their vectors.
_PREFIX_BYTES = 16 * 2**20


class Executor(base_beam_executor.BaseBeamExecutor):
    """Embeds the texts, finds clusters of them, and copies the examples with the columns added."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see TextEmbedder for inputs, outputs and parameters."""
        started = time.perf_counter()
        config = TextEmbedderConfig.model_validate_json(exec_properties["config"])
        examples = {name: artifact_utils.get_single_instance(input_dict[name]) for name in ("interactions", "items")}
        copies = {name: artifact_utils.get_single_instance(output_dict[f"embedded_{name}"]) for name in examples}
        temporary = posixpath.join(self._get_tmp_dir(), "text_embedder")
        tables = posixpath.join(temporary, "tables")
        parts = [
            Examples(side, mark, fileio.glob(pattern))
            for side, name in (("item", "items"), ("query", "interactions"))
            for split, pattern in properties.split_patterns(examples[name]).items()
            for mark in [ITEM if side == "item" else TRAIN if split == "train" else 0]
        ]
        digits = _digits(path for part in parts for path in part.files)
        encoders = properties.uri(input_dict, "text_encoders")
        directories = {encoding.encoder: posixpath.join(encoders, encoding.encoder) for encoding in config.encodings}
        digests = {key: EncoderReport.read(directory).digest for key, directory in directories.items()}
        embed = EmbedTexts(directories, digests, str(exec_properties["cache_root"]), tables)
        with self._make_beam_pipeline() as pipeline:
            (
                distinct_texts(pipeline, parts, config.encodings, (digits, posixpath.join(temporary, "texts")))
                | "Embed" >> beam.ParDo(embed)
                | "FiguresAsJson" >> beam.Map(lambda figures: figures.model_dump_json())
                | "WriteFigures" >> beam.io.WriteToText(f"{temporary}/figures", shard_name_template="")
            )
        figures = _read_figures(f"{temporary}/figures", digests)
        for found in figures:
            progress(
                f"{found.texts:,} different texts: {found.computed:,} embedded in {found.seconds:.1f} s, "
                f"{found.from_cache:,} known from earlier runs"
                + (f"; {found.damaged_files:,} damaged files of the cache were made again" * bool(found.damaged_files))
            )
        embeddings = properties.uri(output_dict, "text_embeddings")
        previous = previous_release(input_dict)
        centres = _find_centres(config, tables, former_centres(previous, digests))
        for (key, count), groups in centres.items():
            clusters.write_centres(clusters.centres_path(embeddings, key, count), groups)
        rows = self._copy(config.encodings, (examples, copies), (tables, digits), centres, temporary)
        EmbeddingReport(encoders=tuple(figures), rows=rows, seconds=time.perf_counter() - started).write(embeddings)
        made_by = {
            each.encoded_column: _digest(digests[each.encoder], centres.get((each.encoder, each.clusters or 0)))
            for each in config.encodings
        }
        for copy in copies.values():
            copy.set_string_custom_property(properties.ENCODED_BY, json.dumps(made_by))
        removed = prune(str(exec_properties["cache_root"]), set(digests.values()))
        if removed:
            progress(f"{len(removed):,} encoders that no late run used were removed from the cache")
        fileio.rmtree(temporary)

    def _copy(
        self,
        encodings: tuple[Encoding, ...],
        examples: tuple[Mapping[str, types.Artifact], Mapping[str, types.Artifact]],
        tables: tuple[str, int],
        centres: Mapping[tuple[str, int], Array],
        temporary: str,
    ) -> int:
        """Copies all examples file by file; gives the number of rows."""
        counts = []
        with self._make_beam_pipeline() as pipeline:
            for name, side in (("interactions", "query"), ("items", "item")):
                original, copy = examples[0][name], examples[1][name]
                _describe(original, copy)
                files = [
                    (path, posixpath.join(artifact_utils.get_split_uri([copy], split), posixpath.basename(path)))
                    for split, pattern in properties.split_patterns(original).items()
                    for path in sorted(fileio.glob(pattern))
                ]
                own = [encoding for encoding in encodings if encoding.side == side]
                counts.append(
                    pipeline
                    | f"Files[{name}]" >> beam.Create(files)
                    | f"Spread[{name}]" >> beam.Reshuffle()
                    | f"AddColumns[{name}]" >> beam.ParDo(AddColumns(own, tables, centres))
                )
            (
                counts
                | "Flatten" >> beam.Flatten()
                | "Count" >> beam.CombineGlobally(sum)
                | "WriteCount" >> beam.io.WriteToText(f"{temporary}/rows", shard_name_template="")
            )
        with fileio.open(f"{temporary}/rows", "r") as file:
            return int(file.read())


def _digits(files: Iterable[str]) -> int:
    """By how many hexadecimal digits of their hashes the texts are divided."""
    size = sum(fileio.open(path, "rb").size() for path in files)
    return max(0, math.ceil(math.log(max(size, 1) / _PREFIX_BYTES, 16)))


def _read_figures(path: str, digests: Mapping[str, str]) -> list[EncoderFigures]:
    with fileio.open(path, "r") as file:
        parts = [EncoderFigures.model_validate_json(line) for line in file.read().splitlines()]
    nothing = {key: EncoderFigures(encoder=key, digest=digest) for key, digest in digests.items()}
    return [add_up([nothing[key], *(part for part in parts if part.encoder == key)]) for key in digests]


def _find_centres(
    config: TextEmbedderConfig, tables: str, former: Callable[[str, int], Array | None]
) -> dict[tuple[str, int], Array]:
    wanted = {(encoding.encoder, encoding.clusters) for encoding in config.encodings if encoding.clusters is not None}
    found = {}
    for key, count in sorted(wanted):
        centres = former(key, count)
        if centres is None:
            progress(f"finding {count:,} clusters of the catalogue's texts")
            centres = clusters.find_centres(tables, key, count, config.seed)
        found[key, count] = centres
    return found


def _digest(encoder: str, centres: Array | None) -> str:
    """Of what a column holds: vectors by the encoder alone, clusters by their centres too."""
    return encoder if centres is None else hashlib.sha256(encoder.encode() + centres.tobytes()).hexdigest()


def _describe(original: types.Artifact, copy: types.Artifact) -> None:
    """Says of the copy what readers of the original look at: splits and format."""
    copy.split_names = original.split_names
    examples_utils.set_payload_format(copy, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(copy, "tfrecords_gzip")
