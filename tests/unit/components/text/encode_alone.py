"""A SavedModel that holds an encoder, in a process that knows nothing but TensorFlow and its Text: run as a script.

Usage: encode_alone.py SAVED_MODEL INPUTS.json OUTPUTS.npz. Runs the signature `embed` in a session, as the stock server
does, and through Python's functions, twice each; prints as JSON what was imported and which operations are held.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry


def operations(path):
    with open(f"{path}/saved_model.pb", "rb") as file:
        model = saved_model_pb2.SavedModel.FromString(file.read())
    graphs = [meta.graph_def for meta in model.meta_graphs]
    functions = {function.signature.name for graph in graphs for function in graph.library.function}
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return sorted({node.op for node in nodes} - functions)


def main(path, inputs, outputs):
    used = operations(path)
    beyond_core = [name for name in used if op_def_registry.get(name) is None]
    import tensorflow_text  # noqa: F401  # the stock server has its operations

    unknown = [name for name in used if op_def_registry.get(name) is None]
    with open(inputs, encoding="utf-8") as file:
        texts = np.array([text.encode() for text in json.load(file)], object)
    answers = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def["embed"]
        fetch = {name: info.name for name, info in signature.outputs.items()}
        for way in ("session", "session_again"):
            found = session.run(fetch, {signature.inputs["texts"].name: texts})
            answers |= {f"{way}/{name}": vectors for name, vectors in found.items()}
    models = [tf.saved_model.load(path) for _ in range(2)]
    for way in ("python", "python_again"):
        found = models[-1].signatures["embed"](texts=tf.constant(texts))
        answers |= {f"{way}/{name}": vectors.numpy() for name, vectors in found.items()}
        # Both models share the widened weights: one that goes must leave the other's.
        del models[:-1]
    np.savez(outputs, **answers)
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"modules": modules, "beyond_core": beyond_core, "unknown": unknown}))


if __name__ == "__main__":
    main(*sys.argv[1:])
