"""A bundle in a process that knows nothing but TensorFlow and its Text operations: run as a script.

Usage: serve_alone.py BUNDLE INPUTS.npz OUTPUTS.npz. Asks `rank` with the arrays of INPUTS, writes its answers to
OUTPUTS, and prints as JSON what was imported and which operations the bundle holds.
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # its operations are part of the stock server
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry


def operations(bundle):
    with open(f"{bundle}/saved_model.pb", "rb") as file:
        model = saved_model_pb2.SavedModel.FromString(file.read())
    used, functions = set(), set()
    for graph in (meta.graph_def for meta in model.meta_graphs):
        functions |= {function.signature.name for function in graph.library.function}
        used |= {node.op for node in graph.node}
        used |= {node.op for function in graph.library.function for node in function.node_def}
    return sorted(used - functions), len(functions)


def main(bundle, inputs, outputs):
    used, functions = operations(bundle)
    unknown = [name for name in used if op_def_registry.get(name) is None]
    with np.load(inputs) as arrays:
        feed = {name: tf.constant(_text(arrays[name])) for name in arrays.files}
    rank = tf.saved_model.load(bundle).signatures["rank"]
    np.savez(outputs, **{name: values.numpy() for name, values in rank(**feed).items()})
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"modules": modules, "operations": used, "unknown": unknown, "functions": functions}))


def _text(array):
    # Text comes as fixed-width bytes, so that no pickle is needed.
    return array.astype(object) if array.dtype.kind == "S" else array


if __name__ == "__main__":
    main(*sys.argv[1:])
