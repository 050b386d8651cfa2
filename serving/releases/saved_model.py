"""What a SavedModel offers and needs, read without TensorFlow: its signatures and its ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from crossrec.serving.contract.messages import SignatureDef
from crossrec.serving.contract.names import SERVING_TAG
from crossrec.serving.contract.tensors import dtype_name
from crossrec.serving.releases.errors import InvalidBundleError

# Only what is read here, with the field numbers of TensorFlow's own messages. A message is bytes on the wire, so the
# values of the signature map are parsed with the contract's class.
_FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "SavedModel": {"meta_graphs": (2, "MetaGraph*")},
    "MetaGraph": {"info": (1, "Info"), "graph": (2, "Graph"), "signatures": (5, "Entry*")},
    "Info": {"tags": (4, "string*"), "tensorflow_version": (5, "string")},
    "Entry": {"key": (1, "string"), "value": (2, "bytes")},
    "Graph": {"nodes": (1, "Node*"), "library": (2, "Library")},
    "Library": {"functions": (1, "Function*")},
    "Function": {"nodes": (3, "Node*")},
    "Node": {"op": (2, "string")},
}


@dataclass(frozen=True)
class ModelDescription:
    """What a version offers and needs.

    Attributes:
      signatures: A line per input and output, such as ``"x float32 [?, 3]"``, by signature and "inputs" or "outputs".
      ops: Names of all ops in the graph and its functions.
      tensorflow_version: What wrote it.
    """

    signatures: Mapping[str, Mapping[str, tuple[str, ...]]]
    ops: frozenset[str]
    tensorflow_version: str


def describe_model(version_dir: Path) -> ModelDescription:
    """Read a SavedModel's graph file.

    Args:
      version_dir: Directory of the version.

    Returns:
      What its serving graph offers and needs.

    Raises:
      InvalidBundleError: If it cannot be read, or has no graph for serving.
    """
    path = version_dir / "saved_model.pb"
    try:
        model = _message_class().FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InvalidBundleError(
            f"{path}: cannot be read as a SavedModel: {error}; publish the version again"
        ) from error
    for graph in model.meta_graphs:
        if list(graph.info.tags) == [SERVING_TAG]:
            break
    else:
        raise InvalidBundleError(f"{path}: holds no graph with the tag {SERVING_TAG!r}; export it for serving")
    nodes = [*graph.graph.nodes, *(node for function in graph.graph.library.functions for node in function.nodes)]
    signatures = {}
    for entry in sorted(graph.signatures, key=lambda one: one.key):
        signature = SignatureDef.FromString(entry.value)
        signatures[entry.key] = {"inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs)}
    return ModelDescription(signatures, frozenset(node.op for node in nodes), graph.info.tensorflow_version)


def _tensors(infos: Any) -> tuple[str, ...]:
    lines = []
    for name in sorted(infos):
        info = infos[name]
        sizes = ", ".join("?" if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim)
        shape = "of any shape" if info.tensor_shape.unknown_rank else f"[{sizes}]"
        lines.append(f"{name} {dtype_name(info.dtype)} {shape}")
    return tuple(lines)


def _message_class() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {"string": kinds.TYPE_STRING, "bytes": kinds.TYPE_BYTES}
    file = descriptor_pb2.FileDescriptorProto(
        name="crossrec/saved_model_reader.proto", package="crossrec", syntax="proto3"
    )
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            added = described.field.add(
                name=field, number=number, label=label, type=plain.get(kind, kinds.TYPE_MESSAGE)
            )
            if kind not in plain:
                added.type_name = f".crossrec.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName("crossrec.SavedModel")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(pool)  # protobuf before 4.22
    return factory.GetPrototype(descriptor)
