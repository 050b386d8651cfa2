"""A transform graph reads its vocabularies from its own assets, wherever it lies: another machine has no others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.unit.components.transformed import ITEMS

READ = """
import json, sys
import crossrec
import tensorflow as tf
import tensorflow_transform as tft
from crossrec.components.features.preprocessing import raw_feature_spec
from tests.unit.components.transformed import CONFIG
transform = tft.TFTransformOutput(sys.argv[1]).transform_features_layer()
spec = raw_feature_spec(CONFIG.features, "query")
example = tf.train.Example()
example.features.feature["recent_items"].bytes_list.value.extend(item.encode() for item in json.loads(sys.argv[2]))
found = transform(tf.io.parse_example([example.SerializeToString()], spec))
print(json.dumps(found["recent_items"].numpy().tolist()))
"""


@pytest.mark.parametrize("side", ["query", "item"])
def test_no_constant_of_a_graph_is_a_path(transformed, side):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(Path(transformed.paths.graphs, side, "transform_fn", "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    texts = [text for node in nodes if node.op == "Const" for text in node.attr["value"].tensor.string_val]
    assert nodes and not [text for text in texts if transformed.paths.graphs.encode() in text]


def test_a_graph_that_was_moved_knows_the_items(transformed, tmp_path):
    moved = tmp_path / "query"
    shutil.copytree(f"{transformed.paths.graphs}/query", moved)
    # The file beside the graphs, of which the graph has a copy among its assets, is not there for another process.
    vocabulary, hidden = transformed.paths.vocabulary, f"{transformed.paths.vocabulary}.hidden"
    items = [ITEMS[1]["item_id"], "an unknown one", ITEMS[0]["item_id"]]
    shutil.move(vocabulary, hidden)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, str(moved), json.dumps(items)], capture_output=True, text=True, check=True
        )
    finally:
        shutil.move(hidden, vocabulary)
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert row[:3] == [1, -1, 0]
