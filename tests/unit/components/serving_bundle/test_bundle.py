"""A bundle of untrained models over the small marketplace, exported and loaded again."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.filters import Filters
from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.features.config import raw_columns
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling import runtime
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.serving_bundle.bundle import BundleParts
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.export import export
from crossrec.components.serving_bundle.requests import concatenate, raw_batches, sample_rows
from crossrec.serving.contract import names, prediction_logs, tensors
from tests.unit.components.small_models import randomise
from tests.unit.components.transformed import CONFIG, ITEMS, make_schema

KINDS = raw_columns(CONFIG.features, "query")
IDS = [item["item_id"].encode() for item in ITEMS]
NUMBERS = ["device", "likes", "words", "plain", "recent_items"]


@pytest.fixture(scope="module")
def made(transformed, tmp_path_factory):
    runtime.prepare()
    root = tmp_path_factory.mktemp("bundle")
    schema = make_schema(transformed)
    assert isinstance(schema, FeatureSchema)
    towers = retrieval.build(
        schema,
        RetrievalConfig(query={"features": NUMBERS[:3]}, item={"features": ["item_id", "tags"]}, dimension=6),
        transformed.table,
    )
    ranker = ranking.build(
        schema,
        RankingConfig(
            features=["device", "band", "hour", "brand", "price"], tasks=[{"name": "click", "label": "clicked"}]
        ),
        transformed.table,
    )
    randomise(towers, 1)
    randomise(ranker, 2)
    ranker.set_fusion(np.array([[1.0, 0.3, -0.1]], np.float32))
    (root / "model_version.txt").write_text("version\t0\n")
    parts = BundleParts(
        schema=schema,
        graphs=transformed.paths.graphs,
        table=transformed.table,
        retrieval=towers,
        index=ExactIndex(towers.embed_catalogue()),
        ranking=ranker,
        version_file=str(root / "model_version.txt"),
    )
    config = ServingConfig(list_size=4, candidates=6, display=("title",), golden_requests=5)
    directory = str(root / "saved")
    export(directory, parts, config, sample_rows(transformed.raw["test"], KINDS, 5))
    queries = concatenate(list(raw_batches(transformed.raw["test"], KINDS, 64)))
    return tf.saved_model.load(directory), parts, queries, directory


def ask(bundle, signature, queries, **lists):
    inputs = {name: tf.constant(values) for name, values in queries.items()}
    inputs |= {name: tf.constant(np.array(values, object), tf.string) for name, values in lists.items()}
    return {name: values.numpy() for name, values in bundle.signatures[signature](**inputs).items()}


def cut(queries, start, stop):
    return {name: values[start:stop] for name, values in queries.items()}


def nothing(rows):
    return np.zeros((rows, 0), object)


def test_signatures_have_the_names_types_and_ranks_of_the_contract(made):
    bundle, *_ = made
    assert set(bundle.signatures) == {*names.SIGNATURES, names.DEFAULT_SIGNATURE}
    for signature, extra in (
        ("recommend", "exclude_items"),
        ("retrieve", "exclude_items"),
        ("rank", "candidate_items"),
    ):
        specs = bundle.signatures[signature].structured_input_signature[1]
        assert set(specs) == {*KINDS, extra}
        assert all(
            spec.shape.rank == (2 if name in (extra, "likes", "recent_items") else 1) for name, spec in specs.items()
        )
        assert all(dimension is None for spec in specs.values() for dimension in spec.shape)
    outputs = bundle.signatures["recommend"].structured_outputs
    assert set(outputs) == {"item_ids", "scores", "model_version", "title"}
    assert set(bundle.signatures["rank"].structured_outputs) == {"scores", "model_version", "probability_click"}


def test_a_list_is_the_best_of_the_candidates_without_repetition(made):
    bundle, _, queries, _ = made
    rows = len(queries["device"])
    best = ask(bundle, "recommend", queries, exclude_items=nothing(rows))
    candidates = ask(bundle, "retrieve", queries, exclude_items=nothing(rows))
    assert best["item_ids"].shape == (rows, 4) and candidates["item_ids"].shape == (rows, 6)
    assert (np.diff(best["scores"], axis=1) <= 0).all() and (np.diff(candidates["scores"], axis=1) <= 0).all()
    ranked = ask(bundle, "rank", queries, candidate_items=candidates["item_ids"])["scores"]
    for row in range(rows):
        order = np.argsort(-ranked[row], kind="stable")[:4]
        assert best["item_ids"][row].tolist() == candidates["item_ids"][row][order].tolist()
        assert len(set(candidates["item_ids"][row])) == 6
        np.testing.assert_allclose(best["scores"][row], ranked[row][order], rtol=1e-5)
    titles = {item["item_id"].encode(): (item["title"] or "").encode() for item in ITEMS}
    assert best["title"].tolist() == [[titles[i] for i in line] for line in best["item_ids"]]
    assert len({tuple(line) for line in best["item_ids"]}) > 1, "queries differ"


def test_excluded_items_are_not_shown_and_short_lists_are_padded(made):
    bundle, _, queries, _ = made
    query = cut(queries, 0, 3)
    exclude = [[*IDS[:7], b"", b"no such item"], [b""] * 9, [IDS[0], *IDS[:8]]]
    for signature, width in (("recommend", 4), ("retrieve", 6)):
        answer = ask(bundle, signature, query, exclude_items=exclude)
        left = [[i for i in line if i] for line in answer["item_ids"].tolist()]
        assert [len(line) for line in left] == [3, width, 2]
        assert all(set(line).isdisjoint(gone) for line, gone in zip(left, exclude))
        for line, found in zip(answer["item_ids"].tolist(), left):
            assert line == found + [b""] * (width - len(found)), "padding stands at the end"
        assert np.isneginf(answer["scores"][0, 3:]).all() and np.isfinite(answer["scores"][0, :3]).all()
    everything = ask(bundle, "recommend", query, exclude_items=[IDS] * 3)
    assert (everything["item_ids"] == b"").all() and (everything["title"] == b"").all()
    assert np.isneginf(everything["scores"]).all()


def test_an_answer_does_not_depend_on_the_other_requests_of_its_batch(made):
    bundle, _, queries, _ = made
    exclude = np.array([[IDS[n % len(IDS)]] for n in range(40)], object)
    whole = ask(bundle, "recommend", cut(queries, 0, 40), exclude_items=exclude)
    for row in range(0, 40, 7):
        one = ask(bundle, "recommend", cut(queries, row, row + 1), exclude_items=exclude[row : row + 1])
        assert one["item_ids"][0].tolist() == whole["item_ids"][row].tolist()
        np.testing.assert_allclose(one["scores"][0], whole["scores"][row], rtol=1e-4)


def test_rank_keeps_the_order_of_its_candidates_and_knows_unknown_items(made):
    bundle, parts, queries, _ = made
    query = cut(queries, 0, 2)
    given = [[IDS[3], b"no such item", IDS[0], b"", IDS[3]], IDS[:5]]
    answer = ask(bundle, "rank", query, candidate_items=given)
    assert answer["scores"].shape == (2, 5) and np.isfinite(answer["scores"]).all()
    assert answer["scores"][0, 0] == answer["scores"][0, 4] and answer["scores"][0, 1] == answer["scores"][0, 3]
    np.testing.assert_allclose(answer["scores"], answer["probability_click"], rtol=1e-6)
    swapped = ask(bundle, "rank", query, candidate_items=[line[::-1] for line in given])
    np.testing.assert_allclose(swapped["scores"], answer["scores"][:, ::-1], rtol=1e-5)
    assert ask(bundle, "rank", query, candidate_items=nothing(2))["scores"].shape == (2, 0)


def test_empty_batches_and_requests_of_which_everything_is_missing(made):
    bundle, _, queries, _ = made
    assert ask(bundle, "recommend", cut(queries, 0, 0), exclude_items=nothing(0))["item_ids"].shape == (0, 4)
    missing = {"string": b"", "float": np.float32(math.nan), "int": np.int64(0)}
    empty = {
        name: nothing(1) if kind == "strings" else np.array([missing[kind]], object if kind == "string" else None)
        for name, kind in KINDS.items()
    }
    inputs = {n: tf.constant(v, tf.string) if v.dtype == object else tf.constant(v) for n, v in empty.items()}
    answer = bundle.signatures["recommend"](**inputs, exclude_items=tf.zeros([1, 0], tf.string))
    assert np.isfinite(answer["scores"].numpy()).all() and (answer["item_ids"].numpy() != b"").all()


def test_golden_requests_are_answered_again_as_they_were(made):
    bundle, _, _, directory = made
    logs = prediction_logs.read_prediction_logs(f"{directory}/{names.EXTRA_ASSETS_DIRECTORY}/{names.GOLDEN_FILE}")
    kinds = [log.predict_log.request.model_spec.signature_name for log in logs]
    assert kinds.count("recommend") == 5 and set(kinds) == set(bundle.signatures)
    for log in logs:
        request = log.predict_log.request
        inputs = {name: tf.constant(tensors.to_array(proto)) for name, proto in request.inputs.items()}
        answer = bundle.signatures[request.model_spec.signature_name](**inputs)
        for name, proto in log.predict_log.response.outputs.items():
            expected = tensors.to_array(proto)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(answer[name].numpy(), expected, rtol=1e-5)
            else:
                assert answer[name].numpy().tolist() == expected.tolist()


def test_there_is_a_warm_up_record_for_every_signature(made):
    *_, directory = made
    logs = prediction_logs.read_prediction_logs(f"{directory}/{names.EXTRA_ASSETS_DIRECTORY}/{names.WARMUP_FILE}")
    assert {log.predict_log.request.model_spec.signature_name for log in logs} == {
        *names.SIGNATURES,
        names.DEFAULT_SIGNATURE,
    }
    assert not any(log.predict_log.HasField("response") for log in logs)


@pytest.fixture(scope="module")
def filtering(made, tmp_path_factory):
    """The same bundle whose spec has a filter and further inputs of a search, exported and loaded again."""
    _, parts, queries, _ = made
    brands = np.array([item["brand"] or "" for item in ITEMS], object)
    index = ExactIndex(parts.retrieval.embed_catalogue(), Filters({"brand": brands}))
    root = str(tmp_path_factory.mktemp("filtering"))
    few = {name: values[:2] for name, values in queries.items()}
    config = ServingConfig(list_size=4, candidates=6, golden_requests=2)
    export(root, dataclasses.replace(parts, index=index, search_inputs=("k", "probes")), config, few)
    return tf.saved_model.load(root), root


def test_inputs_of_a_search_are_those_that_the_spec_has(filtering):
    bundle, root = filtering
    for signature in ("recommend", "retrieve", names.DEFAULT_SIGNATURE):
        specs = bundle.signatures[signature].structured_input_signature[1]
        found = {name: (spec.dtype, spec.shape.rank) for name, spec in specs.items() if name not in KINDS}
        assert found == {
            "exclude_items": (tf.string, 2),
            "filter_brand": (tf.string, 2),
            "k": (tf.int64, 1),
            "probes": (tf.int64, 1),
        }
    assert "k" not in bundle.signatures["rank"].structured_input_signature[1]
    logs = prediction_logs.read_prediction_logs(f"{root}/{names.EXTRA_ASSETS_DIRECTORY}/{names.GOLDEN_FILE}")
    listed = [log for log in logs if log.predict_log.request.model_spec.signature_name != names.RANK]
    assert all({"filter_brand", "k", "probes"} <= set(log.predict_log.request.inputs) for log in listed)


def test_filters_and_k_of_each_request(made, filtering):
    plain, _, queries, _ = made
    bundle, _ = filtering
    query = cut(queries, 0, 4)
    numbers = {"k": tf.constant([0, 2, 0, 1], tf.int64), "probes": tf.zeros([4], tf.int64)}
    brands = tf.constant([["", ""], ["", ""], ["brand 1", "brand 2"], ["brand 0", ""]])
    exclude = tf.constant([[IDS[0].decode()]] * 4)
    inputs = {name: tf.constant(values) for name, values in query.items()}
    whole = ask(plain, "retrieve", query, exclude_items=[[IDS[0]]] * 4)
    brand = {item["item_id"].encode(): item["brand"] for item in ITEMS}
    for signature, width in (("retrieve", 6), ("recommend", 4)):
        answer = bundle.signatures[signature](**inputs, **numbers, filter_brand=brands, exclude_items=exclude)
        lists = [[item for item in line if item] for line in answer["item_ids"].numpy().tolist()]
        assert answer["item_ids"].shape == (4, width)
        assert [len(line) for line in lists][:2] == [width, 2] and len(lists[3]) == 1
        assert {brand[item] for item in lists[2]} == {"brand 1", "brand 2"} and brand[lists[3][0]] == "brand 0"
        wanted = {item for item in IDS[1:] if brand[item] in ("brand 1", "brand 2")}
        assert len(lists[2]) == min(width, len(wanted)) and IDS[0] not in sum(lists, [])
        assert np.isneginf(answer["scores"].numpy()[1, 2:]).all()
    answer = bundle.signatures["retrieve"](**inputs, **numbers, filter_brand=brands, exclude_items=exclude)
    assert answer["item_ids"].numpy()[0].tolist() == whole["item_ids"][0].tolist()
    assert answer["item_ids"].numpy()[1, :2].tolist() == whole["item_ids"][1, :2].tolist()
