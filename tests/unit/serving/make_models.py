"""Small SavedModels of the contract, made in the tests. TensorFlow is imported by the functions alone."""

import shutil
from pathlib import Path

CATALOGUE = [f"i{number}" for number in range(8)]
LIST_SIZE = 5


def save_bundle(path: Path, version: int, extra_input: bool = False) -> Path:
    """Save a bundle with all four kinds of inputs.

    Item i<n> scores -n; `echo` repeats the inputs, so that a test sees what arrived. `extra_input` adds the
    float input `age`, as a new version might.
    """
    import tensorflow as tf

    strings, wide = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)
    query = {
        "user_id": strings,
        "price_max": tf.TensorSpec([None], tf.float32),
        "timestamp": tf.TensorSpec([None], tf.int64),
        "interests": wide,
        "recent_items": tf.TensorSpec([None, 3], tf.string),
    }
    if extra_input:
        query["age"] = tf.TensorSpec([None], tf.float32)

    def echo(inputs):
        parts = []
        for name in query:
            value = inputs[name]
            if value.dtype != tf.string:
                value = tf.strings.as_string(value)
            if value.shape.rank == 2:
                value = tf.strings.reduce_join(value, axis=1, separator="|")
            parts.append(name + "=" + value)
        return tf.strings.join(parts, ";")

    class Bundle(tf.Module):
        def __init__(self):
            super().__init__()
            self.ids = tf.Variable(tf.constant(CATALOGUE), trainable=False)
            self.scores = tf.Variable(-tf.range(len(CATALOGUE), dtype=tf.float32))
            self.version = tf.Variable(version, dtype=tf.int64, trainable=False)

        def model_version(self, inputs):
            return tf.fill(tf.shape(inputs["user_id"]), self.version)

        def recommend(self, **inputs):
            excluded = tf.reduce_any(self.ids[None, :, None] == inputs["exclude_items"][:, None, :], axis=2)
            minus_infinity = tf.constant(float("-inf"))
            scores, places = tf.math.top_k(tf.where(excluded, minus_infinity, self.scores[None, :]), LIST_SIZE)
            padding = scores == minus_infinity
            ids = tf.where(padding, "", tf.gather(self.ids, places))
            return {
                "item_ids": ids,
                "scores": scores,
                "title": tf.where(padding, "", "Título " + ids),
                "echo": tf.tile(echo(inputs)[:, None], [1, LIST_SIZE]),
                "model_version": self.model_version(inputs),
            }

        def retrieve(self, **inputs):
            size = tf.shape(inputs["user_id"])[0]
            return {
                "item_ids": tf.tile(self.ids[None, :], [size, 1]),
                "scores": tf.tile(self.scores[None, :], [size, 1]),
                "model_version": self.model_version(inputs),
            }

        def rank(self, **inputs):
            length = tf.cast(tf.strings.length(inputs["candidate_items"]), tf.float32)
            return {
                "scores": length,
                "probability_click": tf.sigmoid(length),
                "model_version": self.model_version(inputs),
            }

    def signature(method, added):
        specs = {**query, added: wide}
        named = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()}
        return tf.function(method).get_concrete_function(**named)

    bundle = Bundle()
    recommend = signature(bundle.recommend, "exclude_items")
    tf.saved_model.save(
        bundle,
        str(path / str(version)),
        signatures={
            "serving_default": recommend,
            "recommend": recommend,
            "retrieve": signature(bundle.retrieve, "exclude_items"),
            "rank": signature(bundle.rank, "candidate_items"),
        },
    )
    return path


def save_adder(path: Path, version: int) -> Path:
    """Save a model `y = x + version`, with `version` also as an output; `matrix` needs two rows of three columns."""
    import tensorflow as tf

    class Adder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def add(self, x):
            return {"y": x + float(version), "version": tf.fill(tf.shape(x), tf.constant(version, tf.int64))}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, name="a"),
                tf.TensorSpec([None, 3], tf.float32, name="b"),
            ]
        )
        def matrix(self, a, b):
            return {"product": tf.matmul(a, b, transpose_b=True)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def slow(self, x):
            n = tf.cast(x[0], tf.int32)
            total = tf.while_loop(lambda i, _: i < n, lambda i, t: (i + 1, t + 1.0), (0, 0.0))[1]
            return {"y": total + x}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def types(self, x):
            names = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
            names += ("uint16", "uint32", "uint64", "bfloat16", "complex64", "complex128")
            return {name: tf.cast(x, name) for name in names} | {"string": tf.strings.as_string(x)}

    model = Adder()
    target = path / str(version)
    staging = path / f"staging-{version}"
    tf.saved_model.save(
        model,
        str(staging),
        signatures={"serving_default": model.add, "matrix": model.matrix, "slow": model.slow, "types": model.types},
    )
    staging.rename(target)
    return target


def corrupt(path: Path) -> None:
    """Replace a version's graph by nonsense."""
    (path / "saved_model.pb").write_bytes(b"\xff" * 64)


def copy_version(source: Path, base_path: Path, name: str) -> Path:
    """Publish a version: copied beside its place, then renamed into it."""
    staging = base_path / f"staging-{name}"
    shutil.copytree(source, staging)
    return staging.rename(base_path / name)
