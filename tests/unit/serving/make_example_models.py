"""A SavedModel of tf.Examples: classifies, regresses, and has signatures that do neither well."""

from pathlib import Path


def save_example_model(path: Path, version: int = 1) -> Path:
    """Save a model over the feature `age`; the score is age / 100 + version."""
    import tensorflow as tf

    class Model(tf.Module):
        def ages(self, inputs):
            parsed = tf.io.parse_example(inputs, {"age": tf.io.FixedLenFeature([], tf.float32)})
            return parsed["age"] / 100.0 + float(version)

    model = Model()
    examples = tf.TensorSpec([None], tf.string, name="inputs")

    def signature(function, spec=examples):
        return tf.function(function, input_signature=[spec])

    def classes(inputs):
        rows = tf.shape(inputs)[0]
        return tf.tile(tf.constant([["young", "old"]]), [rows, 1])

    def scores(inputs):
        score = model.ages(inputs)
        return tf.stack([1.0 - score, score], axis=1)

    numbers = tf.TensorSpec([None], tf.float32, name="x")
    functions = {
        "serving_default": lambda inputs: {"classes": classes(inputs), "scores": scores(inputs)},
        "classes_only": lambda inputs: {"classes": classes(inputs)},
        "scores_only": lambda inputs: {"scores": scores(inputs)},
        "regress": lambda inputs: {"outputs": model.ages(inputs)},
        "regress_column": lambda inputs: {"outputs": model.ages(inputs)[:, None]},
        "flat_scores": lambda inputs: {"scores": model.ages(inputs)},
        "wide_scores": lambda inputs: {"scores": tf.cast(scores(inputs), tf.float64)},
        "one_row": lambda inputs: {"scores": scores(inputs)[:1]},
        "uneven": lambda inputs: {"classes": classes(inputs)[:, :1], "scores": scores(inputs)},
        "other_outputs": lambda inputs: {"a": model.ages(inputs)},
        "three_outputs": lambda inputs: {name: scores(inputs) for name in ("a", "b", "scores")},
        "regress_matrix": lambda inputs: {"outputs": scores(inputs)},
        "regress_one_row": lambda inputs: {"outputs": model.ages(inputs)[:1]},
        "regress_wide": lambda inputs: {"outputs": tf.cast(model.ages(inputs), tf.float64)},
    }
    made = {name: signature(function) for name, function in functions.items()}
    made["other_input"] = signature(lambda x: {"scores": x[:, None]}, numbers)
    # Kept alive through the module while the SavedModel is written.
    model.made = list(made.values())
    tf.saved_model.save(model, str(path / str(version)), signatures=made)
    return path


def save_shared_input_model(path: Path, version: int = 1) -> Path:
    """Save a model as TensorFlow 1 did: one placeholder feeds every signature, method names are set.

    The classification's score is age / 100, the regression is age.
    """
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        examples = tf.placeholder(tf.string, [None], name="examples")
        age = tf.io.parse_example(examples, {"age": tf.io.FixedLenFeature([], tf.float32)})["age"]
        score = age / 100.0
        scores = tf.stack([1.0 - score, score], axis=1)
        info = tf.saved_model.utils.build_tensor_info

        def signature(method, **outputs):
            return tf.saved_model.signature_def_utils.build_signature_def(
                {"inputs": info(examples)}, {name: info(value) for name, value in outputs.items()}, method
            )

        builder = tf.saved_model.Builder(str(path / str(version)))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.tag_constants.SERVING],
            {
                "serving_default": signature("tensorflow/serving/classify", scores=scores),
                "regress": signature("tensorflow/serving/regress", outputs=age),
                "predict": signature("tensorflow/serving/predict", age=age),
            },
        )
        builder.save()
    return path
