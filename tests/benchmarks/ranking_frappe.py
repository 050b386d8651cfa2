"""Frappe_x1: AUC and log loss of the ranking model, embedding size 10, chosen on ``valid``, reported on ``test``.

The model is the pipeline's own, trained by its own loop, and scale and level of its logits are fitted on ``valid``.
Three configurations, the mean of some seeds each:

* ``fixed``: the ten published fields, a plain deep network, the rows of ``train`` as they lie in the file. This is
  the published protocol; its DNN has 0.98405 / 0.1584.
* ``auc``, ``log_loss``: the same fields, but every epoch draws the apps of the negatives anew, as the authors of the
  data drew theirs: from those that the user has no positive row with, here in ``train`` alone.
* ``crossed``: the rows as in the file; beside the fields explicit crosses, what ``train`` knows of the user with the
  app, of each of them, and of the app in some contexts. No row sees its own label.

The negatives of ``train`` are re-sampled (see the data's README), which is to stand beside every figure.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from crossrec.components.evaluation.metrics import auc, log_loss
from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.modeling import interactions, runtime
from crossrec.components.modeling.interactions.deep_network import DeepConfig
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.modeling.training import Monitor, fit
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.fusion import fit_calibration
from crossrec.components.ranking_trainer.model import RankingModel
from crossrec.components.ranking_trainer.train import build
from tests.benchmarks import ranking_frappe_data as frappe
from tests.benchmarks.runs import environment, mean_and_sd

NOTE = "train negatives re-sampled"
NETWORK = {"layers": [400, 400, 400], "dropout": 0.2, "batch_normalisation": True}
RECIPE: dict[str, Any] = {
    "retrieval_score": False,
    "position_bias": False,
    "embedding_dimension": 10,
    "table_l2": 0.02,
    "tasks": [{"name": frappe.LABEL}],
    "training": {
        "epochs": 18,
        "batch_size": 4096,
        "learning_rate": 1.5e-3,
        "patience": 4,
        "schedule": {"type": "cosine", "floor": 0.1},
        "averaging": {"decay": 0.99},
    },
}
Interactions = list[dict[str, Any]]


@dataclass(frozen=True)
class Configuration:
    """What one line of the table is trained with.

    Attributes:
        interactions: As in a spec.
        crossed: Whether the explicit crosses stand beside the fields.
        redrawn: Whether each epoch has new negatives.
        changes: To the recipe.
        training: Changes to its training section.
    """

    interactions: Interactions
    crossed: bool = False
    redrawn: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def of_seed(self, seed: int) -> RankingConfig:
        """As the model takes it."""
        return RankingConfig.model_validate(
            {
                **RECIPE,
                "features": frappe.FIELDS,
                "crosses": [cross.name for cross in frappe.CROSSES] if self.crossed else [],
                "interactions": self.interactions,
                **self.changes,
                "training": {**RECIPE["training"], **self.training, "seed": seed},
            }
        )


def deep(*layers: int, dropout: float) -> Interactions:
    """A plain deep network."""
    return [{"type": "mlp", "deep": {"layers": layers, "dropout": dropout, "batch_normalisation": True}}]


FIXED = Configuration(deep(400, 400, 400, dropout=0.2), changes={"table_l2": 0.05}, training={"epochs": 12})
REDRAWN = Configuration(deep(400, 400, dropout=0.1), redrawn=True)
CROSSED = Configuration(deep(256, 256, dropout=0.2), crossed=True, training={"epochs": 5})
# Products of two vectors that both shrink never grow again, and without a network there is little to overfit.
PRODUCTS = ("fm", "fwfm", "fmfm")
OF_PRODUCTS = Configuration([], changes={"table_l2": 0.0}, training={"epochs": 30, "learning_rate": 0.01})
SMALL_ROWS = 30_000
MEASURED = ("auc", "log_loss", "valid_auc")
# What the small run must show; its own figures are 0.92 and 0.96.
SMALL_AUC, SMALL_GAIN = 0.89, 0.01


def logits_of(model: RankingModel) -> Callable[[list[dict[str, tf.Tensor]]], frappe.Array]:
    """The logits of batches, ``[n]``."""
    step = tf.function(
        lambda batch: model.logits(batch, batch[ITEM_ROW])[:, 0, 0], autograph=False, reduce_retracing=True
    )
    return lambda batches: np.concatenate([step(batch).numpy() for batch in batches]).astype(np.float64)


def train(data: frappe.Frappe, configuration: Configuration, seed: int) -> dict[str, float]:
    """Trains one model, keeps the epoch that is best on ``valid``, and measures it on ``test``."""
    config = configuration.of_seed(seed)
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    model = build(data.schema, config, data.table)
    model.compile(optimizer=LazyAdam(config.training.learning_rate))
    logits, valid, labels = logits_of(model), data.batches("valid"), data.labels("valid")
    with tempfile.TemporaryDirectory() as folder:
        history = fit(
            model,
            data.epochs(config.training.batch_size, seed, configuration.redrawn),
            Monitor("AUC", maximise=True, measure=lambda: auc(labels, logits(valid))),
            config.training,
            folder,
        )
    of_valid, of_test = logits(valid), logits(data.batches("test"))
    scale, level = fit_calibration(of_valid, labels)
    of_test = scale * of_test + level
    return {
        "auc": auc(data.labels("test"), of_test),
        "log_loss": log_loss(data.labels("test"), 1.0 / (1.0 + np.exp(-of_test))),
        "valid_auc": auc(labels, of_valid),
        "parameters": float(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        "seconds_per_epoch": float(np.median([entry["seconds"] for entry in history])),
        "epochs": float(len(history)),
    }


def print_row(name: str, figures: dict[str, float]) -> None:
    """One line of the table."""
    print(
        f"{name:24} {figures['auc']:.5f} {figures['log_loss']:.4f} {figures['valid_auc']:.5f} "
        f"{figures['parameters']:>12,.0f} {figures['seconds_per_epoch']:>8.1f} {figures['epochs']:>6.0f}",
        flush=True,
    )


def over_seeds(name: str, data: frappe.Frappe, configuration: Configuration, seeds: range) -> dict[str, float]:
    """Means over the seeds, and standard deviations beside them."""
    figures: dict[str, list[float]] = {metric: [] for metric in MEASURED}
    for seed in seeds:
        measured = train(data, configuration, seed)
        print_row(f"{name}, seed {seed}", measured)
        for metric in MEASURED:
            figures[metric].append(measured[metric])
    return mean_and_sd(figures)


def every_interaction() -> dict[str, Interactions]:
    """Each interaction of the library: its ``deep`` is the DNN, other networks in it have their own layers."""
    out = {}
    for layer in interactions.LAYERS:
        networks = {
            name: NETWORK if name == "deep" else {**NETWORK, "layers": option.default.layers}
            for name, option in layer.CONFIG.model_fields.items()
            if isinstance(option.default, DeepConfig)
        }
        name = layer.CONFIG.model_fields["type"].default
        out[name] = [{"type": name, **networks}]
    return out


def of_the_table(name: str, parts: dict[str, Interactions]) -> Configuration:
    """What a line of the table is trained with: the recipe of the DNN, or that of products alone."""
    return replace(OF_PRODUCTS if name in PRODUCTS else FIXED, interactions=parts[name])


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder that holds frappe_x1/; default: $CROSSREC_DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help=f"one seed, {SMALL_ROWS:,} rows, a small network")
    parser.add_argument("--interaction", help="one interaction in place of the best ones")
    parser.add_argument("--table", action="store_true", help="also every interaction of the library, one seed each")
    options = parser.parse_args()
    parts = every_interaction()
    if options.interaction and options.interaction not in parts:
        parser.error(f"--interaction: {options.interaction!r} is none of {', '.join(parts)}")
    try:
        path = frappe.find_data(options.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    runtime.prepare()
    started = time.perf_counter()
    data = frappe.load(path, SMALL_ROWS if options.small else None)
    chosen, seeds = {"fixed": FIXED, "redrawn": REDRAWN, "crossed": CROSSED}, range(options.seeds)
    if options.interaction:
        chosen = {"fixed": of_the_table(options.interaction, parts)}
    if options.small:
        small = {"interactions": deep(64, 64, dropout=0.0), "training": {"epochs": 3, "batch_size": 512}}
        chosen, seeds = {name: replace(configuration, **small) for name, configuration in chosen.items()}, range(1)
    print(f"{NOTE}\n{'':24} test AUC log loss valid AUC parameters s/epoch epochs")
    result = {}
    for name, configuration in chosen.items():
        prefix = "" if name == "redrawn" else f"{name}_"
        figures = over_seeds(name, data, configuration, seeds)
        result |= {f"{prefix}{metric}": value for metric, value in figures.items()}
    if options.table:
        for name in parts:
            figures = train(data, of_the_table(name, parts), 0)
            print_row(name, figures)
            result |= {f"{name}_{metric}": round(figures[metric], 5) for metric in ("auc", "log_loss")}
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({**result, "note": NOTE, "seeds": len(seeds), "seconds": seconds, **environment()}))
    if options.small and (result["fixed_auc"] < SMALL_AUC or result["crossed_auc"] < result["fixed_auc"] + SMALL_GAIN):
        sys.exit(f"fixed_auc is below {SMALL_AUC}, or crossed_auc is less than {SMALL_GAIN} above it")


if __name__ == "__main__":
    main()
