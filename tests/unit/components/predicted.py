"""What a ranking model says of all rows of a dataset."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from crossrec.components.evaluation.ranking_figures import predict
from crossrec.components.features.item_table import Array
from crossrec.components.ranking_trainer.model import RankingModel


def predict_all(model: RankingModel, dataset: tf.data.Dataset) -> tuple[dict[str, Array], Array]:
    """Columns ``{name: [n]}`` of the rows, and their probabilities ``[n, tasks]`` as served."""
    batches = list(predict(model, dataset))
    columns = {name: np.concatenate([batch.columns[name] for batch in batches]) for name in batches[0].columns}
    return columns, np.concatenate([batch.probabilities for batch in batches])
