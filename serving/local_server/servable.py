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
from crossrec.serving.local_server.batching import BatchScheduler
from crossrec.serving.local_server.statuses import StatusError, invalid_argument, not_found, status_code

# Every request runs in the thread that answers it. TensorFlow's shared pool would cost several thread hand-overs a
# request, and on a single core one long request would hold up every other one and every load.
_IN_THE_CALLERS_THREAD = -1


@dataclass(frozen=True)
class Endpoints:
    """A signature's tensors in the session's own terms, by alias."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded and run.

    Attributes:
        checks_method_names: Whether Classify and Regress ask for signatures that say so.
        scheduler: Runs requests in batches; None runs each alone.
        intra_op_threads: Threads within an operation; 0 leaves it to TensorFlow.
        inter_op_threads: Operations at the same time; 0 runs a request in the thread that answers it.
    """

    checks_method_names: bool = False
    scheduler: BatchScheduler | None = None
    intra_op_threads: int = 0
    inter_op_threads: int = 0


_DEFAULTS = LoadOptions()


class Servable:
    """A version that can be called. Threads may share it.

    Args:
        name: Name of the model.
        version: Its number.
        session: Session that holds the graph, initialized.
        signatures: SignatureDef by key.
        checks_method_names: Whether Classify and Regress ask for signatures that say so.
    """

    def __init__(
        self,
        name: str,
        version: int,
        session: Any,
        signatures: Mapping[str, Any],
        checks_method_names: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.signatures = signatures
        self.checks_method_names = checks_method_names
        self._session = session
        self._endpoints: dict[str, Endpoints] = {}
        self._tensors: dict[str, Any] = {}

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
            known = Endpoints(
                {alias: self.tensor(info.name) for alias, info in signature.inputs.items()},
                {alias: self.tensor(info.name) for alias, info in signature.outputs.items()},
            )
            self._endpoints[key] = known
        return known

    def tensor(self, name: str) -> Any:
        """Find a tensor of the graph.

        Args:
            name: Such as ``serving_default_x:0``.

        Returns:
            The tensor as `run` takes it; the same object for the same name.

        Raises:
            StatusError: The graph does not have it.
        """
        known = self._tensors.get(name)
        if known is None:
            try:
                found = self._session.graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                raise invalid_argument(str(error)) from error
            # Two threads may come here at once: both must go on with the same object.
            known = self._tensors.setdefault(name, found)
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


class BatchedServable(Servable):
    """A version whose requests are run together where they ask for all outputs of a signature."""

    scheduler: BatchScheduler

    def use(self, scheduler: BatchScheduler) -> BatchedServable:
        """Run batches by a scheduler.

        Args:
            scheduler: Shared by all versions.

        Returns:
            This object.
        """
        self.scheduler = scheduler
        self._batched = {
            (frozenset(map(id, ends.inputs.values())), frozenset(map(id, ends.outputs.values())))
            # One without inputs, such as that of the initialization, cannot be batched.
            for ends in (self.endpoints(key) for key, signature in self.signatures.items() if signature.inputs)
        }
        return self

    def run(self, feeds: dict[Any, Any], fetches: list[Any]) -> list[Any]:
        """Run the graph on these feeds and those of other requests, see `Servable.run`."""
        if (frozenset(map(id, feeds)), frozenset(map(id, fetches))) not in self._batched:
            return super().run(feeds, fetches)
        # Of one dtype each, so that a request of a wrong one spoils no other's batch.
        order = sorted(feeds, key=id)
        key = (self, tuple(map(id, order)), tuple(map(id, fetches)), tuple(feeds[one].dtype for one in order))
        return self.scheduler.run(key, feeds, lambda joined: Servable.run(self, joined, fetches))


def load_saved_model(name: str, version: int, path: Path, options: LoadOptions = _DEFAULTS) -> Servable:
    """Load a SavedModel without warming it up.

    Args:
        name: Name of the model.
        version: Its number.
        path: The version's directory.
        options: How the session runs.

    Returns:
        The loaded version.

    Raises:
        StatusError: The directory holds no SavedModel that can be loaded.
    """
    _check_saved_model(path)
    if options.scheduler is not None:
        options.scheduler.config.check()
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads or _IN_THE_CALLERS_THREAD,
    )
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
    if options.scheduler is None:
        return Servable(name, version, session, signatures, options.checks_method_names)
    batched = BatchedServable(name, version, session, signatures, options.checks_method_names)
    try:
        return batched.use(options.scheduler)
    except StatusError:
        session.close()
        raise


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
