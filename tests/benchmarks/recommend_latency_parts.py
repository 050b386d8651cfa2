"""The bundle of a release once more, with a signature for each beginning of `recommend`, to see what takes the time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from crossrec.components.serving_bundle.bundle import Bundle
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.export import load_parts
from crossrec.components.warm_start.records import read_records
from crossrec.pipeline.lineage import Lineage
from crossrec.serving.contract import names

STAGES = ("call", "texts", "query", "search", "ranking", "cut")
"""An empty graph; texts to vectors; features of the query, its tower; the index; gather, crosses, ranking; the best,
with texts."""


class Stages:
    """What `recommend` does, up to some stage."""

    def __init__(self, bundle: Bundle):
        """Takes a bundle."""
        self._bundle = bundle

    def call(self, _: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What a call costs that does nothing."""
        return {"out": tf.zeros([])}

    def texts(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What encoders make of the query's texts; nothing where no feature has one."""
        found = self._bundle.texts.columns(inputs)
        total = tf.zeros([])
        for values in found.values():
            total += tf.reduce_sum(tf.cast(values.values, tf.float32))
        return {"out": total}

    def query(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """... and the query's features and embedding."""
        features, embedding = self._bundle._encode(inputs)
        sums = [tf.reduce_sum(tf.cast(values, tf.float32)) for values in features.values()]
        return {"out": tf.reduce_sum(embedding) + tf.add_n(sums)}

    def search(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """... and the candidates."""
        features, embedding = self._bundle._encode(inputs)
        sums = [tf.reduce_sum(tf.cast(values, tf.float32)) for values in features.values()]
        scores, rows = self._bundle._search(embedding, inputs)
        return {"out": tf.add_n(sums), "scores": scores, "rows": rows}

    def ranking(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """... and their scores."""
        features, embedding = self._bundle._encode(inputs)
        scores, rows = self._bundle._search(embedding, inputs)
        ranked = self._bundle._ranking.probabilities(features, rows, scores)
        return {"scores": self._bundle._ranking.score(ranked), "rows": rows}

    def cut(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """All of it."""
        return self._bundle.recommend(inputs)


def load_stages(root: Path, model: str, version: int, config: ServingConfig) -> dict[str, Callable[..., Any]]:
    """Exports the stages of a release, and loads them again.

    Args:
        root: Root of the run.
        model: The model's name.
        version: The release.
        config: As it was exported with.

    Returns:
        The stages by name, each a function of the query inputs.
    """
    record = next(r for r in read_records(str(root / "serving"), model) if r.version == version)
    made = Lineage(str(root / "metadata.sqlite")).user(record.artifacts["ranking_model"], "ServingBundle")
    assert made is not None
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model_version.txt")
        Path(file).write_text("version\t0\n", encoding="utf-8")
        directories = {name: uri for name, uri in made.inputs.items() if name != "interactions"}
        bundle = Bundle(load_parts(directories, file), config)
        stages, specs = Stages(bundle), {**bundle.query_signature(), **bundle.search_signature()}
        signatures = {
            name: tf.function(getattr(stages, name), autograph=False).get_concrete_function(specs) for name in STAGES
        }
        state = tf.Module()
        kinds = (tf.Variable, tf.saved_model.experimental.TrackableResource, tf.saved_model.Asset)
        state.parts = [part for part in tf.train.TrackableView(bundle).descendants() if isinstance(part, kinds)]
        tf.saved_model.save(state, f"{folder}/stages", signatures=signatures)
        del bundle, stages, state
        loaded = tf.saved_model.load(f"{folder}/stages")
    keep = [loaded]  # The functions alone do not keep the variables.
    functions = dict(loaded.signatures)

    def stage(name: str) -> Callable[..., Any]:
        # A signature asks for the inputs that its graph reads, no more.
        wanted = set(functions[name].structured_input_signature[1])

        def call(inputs: dict[str, tf.Tensor]) -> Any:
            assert keep
            given = {key: value for key, value in inputs.items() if key in wanted}
            return {key: value.numpy() for key, value in functions[name](**given).items()}

        return call

    return {name: stage(name) for name in STAGES}


def exclude_nothing(inputs: dict[str, Any], rows: int = 1) -> dict[str, Any]:
    """The inputs with an empty list of excluded items."""
    import numpy as np

    return {**inputs, names.EXCLUDE_ITEMS: np.zeros((rows, 0), object)}
