"""Writing a bundle: the SavedModel, warm-up records, golden requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer.build import load_index
from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling import saving
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.serving_bundle.bundle import Bundle, BundleParts
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.text.export import load_encoder
from crossrec.components.text_embedder.clusters import centres_path, read_centres
from crossrec.serving.contract import names, prediction_logs

_GOLDEN_CANDIDATES = 8


def load_parts(directories: Mapping[str, str], version_file: str) -> BundleParts:
    """Loads what the trainers and the indexer left.

    Args:
        directories: ``transform_graphs``, ``cross_set``, ``item_table``, ``retrieval_model``,
            ``candidate_index``, ``ranking_model``; where the query has texts that an encoder reads, ``text_encoders``
            and ``text_embeddings`` too.
        version_file: See BundleParts.
    """
    schema = FeatureSchema.read(directories["cross_set"])
    table = ItemTable.read(directories["item_table"])
    with ThreadPoolExecutor(2) as beside:
        index = beside.submit(load_index, directories["candidate_index"], table.display, table.removed)
        towers = beside.submit(retrieval.load, directories["retrieval_model"], schema, table, served=True)
        ranker = ranking.build(schema, saving.read_config(directories["ranking_model"], RankingConfig), table)
        saving.restore(directories["ranking_model"], ranker)
    encodings = [encoding for encoding in schema.encodings if encoding.side == "query"]
    return BundleParts(
        schema=schema,
        graphs=directories["transform_graphs"],
        table=table,
        retrieval=towers.result(),
        index=index.result(),
        ranking=ranker,
        version_file=version_file,
        search_inputs=IndexReport.read(directories["candidate_index"]).inputs,
        encoders={
            key: load_encoder(f"{directories['text_encoders']}/{key}")
            for key in {encoding.encoder for encoding in encodings}
        },
        centres={
            encoding.encoded_column: read_centres(
                centres_path(directories["text_embeddings"], encoding.encoder, encoding.clusters)
            )
            for encoding in encodings
            if encoding.clusters is not None
        },
    )


def export(directory: str, parts: BundleParts, config: ServingConfig, requests: Mapping[str, Array]) -> None:
    """Writes a whole bundle.

    Args:
        directory: Where to.
        parts: What it is made of.
        config: Sizes and names.
        requests: Real query inputs ``{column: [n]}`` or ``[n, K]``, for warm-up and golden requests.
    """
    bundle = Bundle(parts, config)
    signatures = bundle.signatures()
    search = {
        name: np.zeros(
            [1] + [0] * (spec.shape.rank - 1), object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
        )
        for name, spec in bundle.search_signature().items()
    }
    calls = _calls(parts.table, requests, search, min(config.golden_requests, len(next(iter(requests.values())))))
    with ThreadPoolExecutor(1) as beside:
        # By the graph in memory, beside the writing: that the file gives the same is for the check on a server to show.
        golden = beside.submit(_answered, calls, signatures, config.model_name)
        tf.saved_model.save(_state(bundle, signatures), directory, signatures=signatures)
    extra = Path(directory) / names.EXTRA_ASSETS_DIRECTORY
    prediction_logs.write_prediction_logs(extra / names.GOLDEN_FILE, golden.result())
    warm = {signature: inputs for signature, inputs in reversed(calls)}
    prediction_logs.write_prediction_logs(
        extra / names.WARMUP_FILE,
        [
            prediction_logs.prediction_log(prediction_logs.predict_request(inputs, config.model_name, signature))
            for signature, inputs in warm.items()
        ],
    )


def _answered(
    calls: Sequence[tuple[str, Mapping[str, Any]]], signatures: Mapping[str, Any], model_name: str
) -> list[Any]:
    """Requests with their answers, as PredictionLog messages."""
    golden = []
    for signature, inputs in calls:
        request = prediction_logs.predict_request(inputs, model_name, signature)
        answer = signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})
        golden.append(prediction_logs.prediction_log(request, {name: out.numpy() for name, out in answer.items()}))
    return golden


def _state(bundle: Bundle, signatures: Mapping[str, Any]) -> tf.Module:
    """What the signatures read, and nothing of the models around it.

    Saved whole, each Keras layer would be traced again, for calls that no server makes: three times the time to
    save, and a larger graph to load. Variables that only the candidate tower reads have done their work in the index.
    What the encoders hold stays whole: weights in few bits are read by what initialises them, not by a signature.
    """
    read = {variable.ref() for function in signatures.values() for variable in function.variables}
    encoders = tf.train.TrackableView(bundle.texts).descendants()
    read |= {part.ref() for part in encoders if isinstance(part, tf.Variable)}
    state = tf.Module(name="bundle")
    kinds = (tf.saved_model.experimental.TrackableResource, tf.saved_model.Asset)
    state.parts = [
        part
        for part in tf.train.TrackableView(bundle).descendants()
        if isinstance(part, kinds) or (isinstance(part, tf.Variable) and part.ref() in read)
    ]
    return state


def _calls(
    table: ItemTable, requests: Mapping[str, Array], search: Mapping[str, Array], count: int
) -> list[tuple[str, dict[str, Any]]]:
    """One request at a time for ``recommend``, one for ``retrieve``, and one of an unknown item for ``rank``."""
    present = table.present
    popular = table.ids[present[np.argsort(-table.frequencies[present], kind="stable")[:_GOLDEN_CANDIDATES]]]
    candidates = np.array([[*popular, "an item that no catalogue has"]], object)
    calls = []
    for row in range(count):
        query = {name: values[row : row + 1] for name, values in requests.items()}
        exclude = {names.EXCLUDE_ITEMS: np.array([[popular[0]]], object)} if row % 2 else {}
        whole = {**query, **search, **exclude}
        calls.append((names.RECOMMEND, whole))
        if row == 0:
            calls.append((names.DEFAULT_SIGNATURE, whole))
            calls.append((names.RETRIEVE, whole))
            calls.append((names.RANK, {**query, names.CANDIDATE_ITEMS: candidates}))
    return calls
