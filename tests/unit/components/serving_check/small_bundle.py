"""A whole bundle of a few kilobytes, and what can be wrong with one. TensorFlow is imported by `save` alone."""

from pathlib import Path

import numpy as np

from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs

X = np.array([1.5, -2.0], np.float32)
FACTOR = 3.0


def save(path: Path) -> Path:
    """`scale` multiplies its input by three; `loop` counts to its input. Golden: one request of `scale`."""
    import tensorflow as tf

    version_file = path.parent / "model_version.txt"
    version_file.write_text("version\t0\n")

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.factor = tf.Variable([FACTOR])
            self.versions = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(str(version_file), tf.string, 0, tf.int64, 1), default_value=-1
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def scale(self, x):
            version = tf.fill(tf.shape(x)[:1], self.versions.lookup(tf.constant("version")))
            return {"scores": x * self.factor, "model_version": version}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def loop(self, x):
            n = tf.cast(x[0], tf.int64)
            (count,) = tf.while_loop(lambda i: i < n, lambda i: (i + 1,), (tf.constant(0, tf.int64),))
            return {"count": count[None]}

    model = Model()
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.scale, "loop": model.loop})
    write_golden(path)
    return path


def write_golden(path: Path, scores=X * FACTOR, loops: int = 0) -> None:
    """One golden request of `scale`, and one of `loop` if it is to count."""
    answer = {"scores": np.asarray(scores, np.float32), "model_version": np.zeros(2, np.int64)}
    logs = [prediction_log(predict_request({"x": X}), answer)]
    if loops:
        request = predict_request({"x": np.array([loops], np.float32)}, signature_name="loop")
        logs.append(prediction_log(request, {"count": np.array([loops], np.int64)}))
    write_prediction_logs(path / "assets.extra" / "golden_requests", logs)


def write_warmup(path: Path, loops: int) -> None:
    """A warm-up request that counts so far."""
    request = predict_request({"x": np.array([loops], np.float32)}, signature_name="loop")
    write_prediction_logs(path / "assets.extra" / "tf_serving_warmup_requests", [prediction_log(request)])


def replace_op(path: Path, new: str, op: str = "Mul") -> None:
    """Let the functions of the graph use another operation."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    found = [
        node
        for graph in model.meta_graphs
        for function in graph.graph_def.library.function
        for node in function.node_def
        if node.op == op
    ]
    assert found
    for node in found:
        node.op = new
    file.write_bytes(model.SerializeToString())
