"""Writes an encoder as a SavedModel of one function, which other SavedModels can hold, and reads it back."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the operations that an encoder's graph holds

from crossrec.components.text.compression import Widened, compress, shared_name
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.projection import Projection
from crossrec.components.text.report import EncoderReport

# White space, and characters that no one sees.
_BLANK = r"[\s\p{Z}\p{Cc}\p{Cf}]*"
# Attributes that name things, as do all that begin with an underscore; the others tell what a node computes.
_NAMES = frozenset(("container", "shared_name", "f"))


def export(
    network: EncoderNetwork,
    projection: Projection | None,
    config: TextEncoderConfig,
    directory: str,
    training: dict[str, float] | None = None,
) -> EncoderReport:
    """Writes ``encode``: from texts, string ``[N]``, to float32 ``[N, dimension]`` of length 1.

    A text without a visible character gives zeros. The SavedModel has no assets.

    Args:
        network: The encoder, without adapters (merge them first).
        projection: Makes ``config.dimension`` numbers of the network's; None if they are as many.
        config: Its ``precision`` is used, and its key written.
        directory: Where the SavedModel and its report are written.
        training: Figures for the report.

    Raises:
        ValueError: If the vectors do not have ``config.dimension`` numbers.
    """
    dimension = network.width if projection is None else projection.matrix.shape[1]
    if dimension != config.dimension:
        raise ValueError(f"dimension {config.dimension}: the encoder's vectors have {dimension} numbers")
    texts = tf.TensorSpec([None], tf.string, name="texts")
    traced = tf.function(lambda texts: _embed(network, projection, texts), autograph=False).get_concrete_function(texts)
    module = _Encoder(traced, config.precision)
    tf.saved_model.save(module, directory, signatures={"encode": module.named})
    report = EncoderReport(
        key=config.key,
        dimension=dimension,
        digest=module.digest,
        kind="pretrained" if config.path else "small",
        weight_bytes=sum(variable.dtype.size * variable.shape.num_elements() for variable in module.stored),
        training=training or {},
    )
    report.write(directory)
    return report


def load_encoder(directory: str) -> Any:
    """Reads an exported encoder.

    Args:
        directory: What ``export`` wrote.

    Returns:
        An object whose ``encode`` and ``count_tokens`` may be called, and which another module may hold and save.
    """
    return tf.saved_model.load(directory)


def _embed(network: EncoderNetwork, projection: Projection | None, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Unit vectors of texts, and how many tokens of each count."""
    ids, mask = network.tokenize(texts)
    vectors = tf.math.l2_normalize(network(ids, mask, training=False), axis=1)
    if projection is not None:
        vectors = tf.math.l2_normalize(tf.matmul(vectors - projection.mean, projection.matrix), axis=1)
    blank = tf.strings.regex_full_match(texts, _BLANK)
    return tf.where(blank[:, tf.newaxis], 0.0, vectors), tf.reduce_sum(mask, axis=1)


class _Encoder(tf.Module):
    """A traced function whose variables are replaced by stored ones; nothing of Keras is left."""

    def __init__(self, traced: Any, precision: str):
        super().__init__()
        self.stored: list[tf.Variable] = []
        self.widened: list[Widened] = []
        self._graph = traced.graph.as_graph_def()
        self._texts = traced.inputs[0].name
        self._vectors, self._counts = (output.name for output in traced.outputs)
        looked_up = {node.input[0] for node in self._graph.node if node.op == "ResourceGather"}
        variables = {id(variable.handle): variable for variable in traced.graph.variables}
        digest = _digest_of_graph(self._graph)
        self._captures: dict[str, Any] = {}
        for captured, inner in zip(traced.captured_inputs, traced.inputs[1:], strict=True):
            value = variables[id(captured)] if captured.dtype == tf.resource else captured
            arrays = compress(value.numpy(), precision, rows=inner.op.name in looked_up)
            name = shared_name(arrays)
            digest.update(name.encode())
            self._captures[inner.name] = self._keep(arrays, name, captured.dtype)
        self.digest = digest.hexdigest()

    def _keep(self, arrays: tuple[Any, ...], name: str, kind: tf.DType) -> Any:
        """Stores arrays; gives what the graph captures instead."""
        stored = [tf.Variable(array, trainable=False) for array in arrays]
        self.stored += stored
        if kind != tf.resource:
            return stored[0]
        if arrays[0].dtype in (np.int8, np.float16):
            self.widened.append(Widened(stored[0], stored[1] if len(stored) > 1 else None, name))
            return self.widened[-1].resource_handle
        return stored[0].handle

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")], autograph=False)  # type: ignore[untyped-decorator]
    def encode(self, texts: tf.Tensor) -> tf.Tensor:
        """Makes unit vectors float32 ``[N, dimension]`` of texts, string ``[N]``."""
        return self._compute(texts, self._vectors)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")], autograph=False)  # type: ignore[untyped-decorator]
    def count_tokens(self, texts: tf.Tensor) -> tf.Tensor:
        """Counts the tokens that a text's vector is made of, int32 ``[N]``: texts of one count need no padding."""
        return self._compute(texts, self._counts)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")], autograph=False)  # type: ignore[untyped-decorator]
    def named(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature: as ``encode``, with a named output."""
        return {"vectors": self.encode(texts)}

    def _compute(self, texts: tf.Tensor, wanted: str) -> tf.Tensor:
        # Identity brings what lies outside of this function's graph into it.
        inputs = {name: tf.identity(captured) for name, captured in self._captures.items()}
        (found,) = tf.graph_util.import_graph_def(
            self._graph, input_map={self._texts: texts, **inputs}, return_elements=[wanted], name="text_encoder"
        )
        return found


def _digest_of_graph(graph: Any) -> Any:
    """Hashes what the nodes compute, without their names, which differ from process to process."""
    parts = [_digest_of_nodes(function.node_def) for function in graph.library.function]
    return hashlib.sha256(b"".join([_digest_of_nodes(graph.node), *sorted(parts)]))


def _digest_of_nodes(nodes: Any) -> bytes:
    digest = hashlib.sha256()
    for node in nodes:
        # Assertions and their messages, which hold names, change no result.
        if any(part.startswith("Assert") for part in node.name.split("/")):
            continue
        digest.update(node.op.partition("__inference_")[0].encode())
        for name, value in sorted(node.attr.items()):
            if not name.startswith("_") and name not in _NAMES:
                digest.update(name.encode() + value.SerializeToString(deterministic=True))
    return digest.digest()
