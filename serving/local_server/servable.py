"""One loaded version: a session over the SavedModel's serving graph, as TensorFlow Serving runs it.

A session, and not the functions of ``tf.saved_model.load``, because it is the same C++ path: it loads no
Python objects, feeds and fetches by the names in the signature, answers with the same messages, and costs less
per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError

from crossrec.serving.contract.names import SERVING_TAG
from crossrec.serving.local_server.statuses import StatusError, invalid_argument, not_found, status_code


@dataclass(frozen=True)
class Endpoints:
    """A signature's tensors in the session's own terms, by alias."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class Servable:
    """A version that can be called. Threads may share it.

    Args:
        name: Name of the model.
        version: Its number.
        session: Session that holds the graph, initialized.
        signatures: SignatureDef by key.
    """

    def __init__(self, name: str, version: int, session: Any, signatures: Mapping[str, Any]) -> None:
        self.name = name
        self.version = version
        self.signatures = signatures
        self._session = session
        self._endpoints: dict[str, Endpoints] = {}

    def endpoints(self, key: str) -> Endpoints:
        """Find the tensors of a signature.

        Args:
            key: Key of a signature that the model has.

        Returns:
            Its tensors.

        Raises:
            StatusError: The signature names a tensor that the graph does not have.
        """
        known = self._endpoints.get(key)
        if known is None:
            signature = self.signatures[key]
            known = Endpoints(self._tensors(signature.inputs), self._tensors(signature.outputs))
            self._endpoints[key] = known
        return known

    def run(self, feeds: dict[Any, Any], fetches: list[Any]) -> list[Any]:
        """Run the graph.

        Args:
            feeds: Array by tensor, tensors as in `Endpoints`.
            fetches: Tensors to compute.

        Returns:
            Array per fetched tensor; strings come as object arrays of bytes.

        Raises:
            StatusError: An op refused, or the arrays do not fit the graph.
        """
        try:
            # The public Session.run checks shapes and parses fetches in Python at every call; TensorFlow
            # Serving leaves shapes to the ops.
            results: list[Any] = self._session._call_tf_sessionrun(None, feeds, fetches, [], None)
        except tf.errors.OpError as error:
            raise StatusError(status_code(error.error_code), error.message) from error
        return results

    def close(self) -> None:
        """Free the graph and its variables."""
        self._session.close()

    def _tensors(self, infos: Any) -> dict[str, Any]:
        try:
            return {
                alias: self._session.graph.get_tensor_by_name(info.name)._as_tf_output()
                for alias, info in infos.items()
            }
        except (KeyError, ValueError) as error:
            raise invalid_argument(str(error)) from error


def load_saved_model(name: str, version: int, path: Path) -> Servable:
    """Load a SavedModel without warming it up.

    Args:
        name: Name of the model.
        version: Its number.
        path: The version's directory.

    Returns:
        The loaded version.

    Raises:
        StatusError: The directory holds no SavedModel that can be loaded.
    """
    _check_saved_model(path)
    config = tf.compat.v1.ConfigProto()
    config.gpu_options.allow_growth = True
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, [SERVING_TAG], str(path))
        session.graph.finalize()
        session._extend_graph()
    except Exception as error:  # whatever a damaged model brings up becomes the version's status
        session.close()
        raise _load_status(error) from error
    signatures = {}
    for key, signature in meta_graph.signature_def.items():
        signatures[key] = type(signature)()
        signatures[key].CopyFrom(signature)  # a reference would keep the whole graph definition in memory
    return Servable(name, version, session, signatures)


def _check_saved_model(path: Path) -> None:
    file = path / "saved_model.pb"
    if not file.is_file():
        if (path / "saved_model.pbtxt").is_file():
            return
        raise not_found(
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. Check that "
            "the directory exists and that you have the right permissions for accessing it."
        )
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"Can't parse {file} as binary proto") from error
    if not any(set(graph.meta_info_def.tags) == {SERVING_TAG} for graph in model.meta_graphs):
        raise not_found(
            f"Could not find meta graph def matching supplied tags: {{ {SERVING_TAG} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
        )


def _load_status(error: Exception) -> StatusError:
    if isinstance(error, tf.errors.OpError):
        return StatusError(status_code(error.error_code), error.message)
    if isinstance(error, MemoryError):
        return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Not enough memory to load the model")
    return StatusError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
