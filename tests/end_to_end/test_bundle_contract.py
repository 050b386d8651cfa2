"""The published bundle keeps its contract, asked over gRPC as any client would."""

import grpc
import numpy as np
import pandas as pd
import pytest

from crossrec.serving.client import RecommenderClient
from crossrec.serving.contract import messages as wire
from crossrec.serving.contract import names
from crossrec.serving.contract.prediction_logs import read_prediction_logs
from crossrec.serving.contract.tensors import to_array
from tests.end_to_end.marketplace import spec_content
from tests.end_to_end.raw_rows import as_request, read_rows

LISTS = ("recommend", "retrieve")
QUERY_INPUTS = {
    "user_id": ("string", 1),
    "user_segment": ("string", 1),
    "user_country": ("string", 1),
    "interests": ("string", 2),
    "query": ("string", 1),
    "device": ("string", 1),
    "price_max": ("float32", 1),
    "timestamp": ("int64", 1),
    "recent_items": ("string", 2),
}


@pytest.fixture(scope="module")
def rows(marketplace_run):
    return read_rows(marketplace_run.uris["InteractionsExampleGen"]["examples"], "test", 64)


@pytest.fixture(scope="module")
def catalogue(marketplace_run):
    return pd.read_parquet(marketplace_run.data / "items.parquet").set_index("item_id")


@pytest.fixture(scope="module")
def ask(served, trained):
    """Asks a list signature: request arrays of rows, with exclusions `[B, E]`."""

    def call(rows, signature="recommend", exclude=None, **inputs):
        nothing = np.zeros((len(rows), 0), object)
        feed = as_request(rows, trained.schema) | inputs
        return served.outputs({**feed, "exclude_items": nothing if exclude is None else exclude}, signature)

    return call


def texts(array):
    return [[cell.decode("utf-8") for cell in row] for row in array]


def test_signatures_inputs_types_and_ranks(served):
    with RecommenderClient(served.target) as client:
        signatures = client.metadata(deadline_seconds=60).signatures
    assert {"serving_default", "recommend", "retrieve", "rank"} <= set(signatures)
    for signature in ("serving_default", "recommend", "retrieve", "rank"):
        last = "candidate_items" if signature == "rank" else "exclude_items"
        found = {
            name: (spec.dtype, 2 if spec.multi_valued else 1) for name, spec in signatures[signature].inputs.items()
        }
        assert found == {**QUERY_INPUTS, last: ("string", 2)}


def test_every_input_and_output_is_batched_and_free_in_size(marketplace_run):
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((marketplace_run.version / "saved_model.pb").read_bytes())
    (meta,) = model.meta_graphs
    for key in ("serving_default", "recommend", "retrieve", "rank"):
        for tensor in meta.signature_def[key].inputs.values():
            assert {dim.size for dim in tensor.tensor_shape.dim} == {-1}, (key, tensor.name)
        for name, tensor in meta.signature_def[key].outputs.items():
            assert tensor.tensor_shape.unknown_rank or tensor.tensor_shape.dim[0].size == -1, (key, name)


def test_outputs_and_their_shapes(ask, served, trained, rows):
    spec = spec_content()["serving"]
    recommended, retrieved = ask(rows), ask(rows, "retrieve")
    count = min(spec["candidates"], trained.table.items)
    assert {name: a.shape for name, a in recommended.items()} == {
        "item_ids": (64, spec["list_size"]),
        "scores": (64, spec["list_size"]),
        "title": (64, spec["list_size"]),
        "model_version": (64,),
    }
    assert {name: a.shape for name, a in retrieved.items()} == {
        "item_ids": (64, count),
        "scores": (64, count),
        "model_version": (64,),
    }
    feed = {**as_request(rows, trained.schema), "candidate_items": np.tile(trained.table.ids[:3], (64, 1))}
    ranked = served.outputs(feed, "rank")
    tasks = [f"probability_{task['name']}" for task in spec_content()["ranking"]["tasks"]]
    assert {name: a.shape for name, a in ranked.items()} == {
        "scores": (64, 3),
        "model_version": (64,),
        **dict.fromkeys(tasks, (64, 3)),
    }
    assert recommended["scores"].dtype == np.float32 and recommended["model_version"].dtype == np.int64
    for task in tasks:
        assert ((ranked[task] > 0) & (ranked[task] < 1)).all()


def test_the_default_signature_is_recommend(ask, rows):
    default, named = ask(rows, ""), ask(rows)
    for name, values in named.items():
        np.testing.assert_array_equal(default[name], values)


@pytest.mark.parametrize("signature", LISTS)
def test_lists_fall_never_repeat_and_come_from_the_catalogue(ask, rows, catalogue, signature):
    answer = ask(rows, signature)
    assert (np.diff(answer["scores"], axis=1) <= 0).all()
    assert np.isfinite(answer["scores"]).all()
    for row in texts(answer["item_ids"]):
        assert len(set(row)) == len(row)
        assert set(row) <= set(catalogue.index)
    # Different people get different lists.
    assert len({tuple(row) for row in texts(answer["item_ids"])}) > 3


def test_recommended_items_are_retrieved_ones_ordered_by_rank(ask, served, trained, rows):
    recommended, retrieved = ask(rows), ask(rows, "retrieve")
    for best, candidates in zip(texts(recommended["item_ids"]), texts(retrieved["item_ids"])):
        assert set(best) <= set(candidates)
    feed = {**as_request(rows, trained.schema), "candidate_items": retrieved["item_ids"]}
    scores = served.outputs(feed, "rank")["scores"]
    best = -np.sort(-scores, axis=1)[:, : recommended["scores"].shape[1]]
    np.testing.assert_allclose(recommended["scores"], best, atol=1e-5)


def test_titles_are_those_of_the_items_file(ask, rows, catalogue):
    answer = ask(rows)
    ids, titles = np.array(texts(answer["item_ids"])).ravel(), np.array(texts(answer["title"])).ravel()
    assert titles.tolist() == catalogue.title.loc[ids].tolist()


@pytest.mark.parametrize("signature", LISTS)
def test_a_batch_of_one_equals_its_row_of_a_batch(ask, rows, signature):
    whole = ask(rows, signature)
    for place in range(0, 64, 7):
        alone = ask([rows[place]], signature)
        np.testing.assert_allclose(alone["scores"][0], whole["scores"][place], atol=1e-5)
        # Scores that are equal to the last digits may change places.
        apart = np.abs(np.diff(whole["scores"][place])).min() > 1e-6
        assert not apart or alone["item_ids"][0].tolist() == whole["item_ids"][place].tolist()


def test_rows_of_a_batch_do_not_see_each_other(ask, rows):
    """Full rows beside empty and unknown ones, in another order, with other padding."""
    mixed = [rows[0], {}, {"user_id": [b"nobody"]}, rows[1], {"interests": [b"tents"] * 30}, rows[2]]
    forward, backward = ask(mixed), ask(mixed[::-1])
    np.testing.assert_allclose(forward["scores"], backward["scores"][::-1], atol=1e-5)
    np.testing.assert_allclose(forward["scores"][[0, 3, 5]], ask(rows[:3])["scores"], atol=1e-5)


@pytest.mark.parametrize("signature", LISTS)
def test_excluded_items_never_appear_and_others_move_up(ask, rows, signature):
    before = texts(ask(rows, signature)["item_ids"])
    exclude = np.array([row[:5] for row in before], object)
    exclude[1::2, 3:] = ""  # padding
    after = texts(ask(rows, signature, exclude)["item_ids"])
    for place, (old, new, gone) in enumerate(zip(before, after, exclude)):
        gone = {item for item in gone if item}
        assert len(gone) == (3 if place % 2 else 5)
        assert gone.isdisjoint(new) and len(set(new)) == len(new) == len(old)
    assert texts(ask(rows, signature, np.full((64, 4), "", object))["item_ids"]) == before
    assert texts(ask(rows, signature, np.full((64, 1), "no such item", object))["item_ids"]) == before


@pytest.mark.parametrize(("left", "shown"), [(0, 0), (3, 3)])
def test_a_list_of_what_is_left_is_padded_at_its_end(ask, rows, trained, left, shown):
    exclude = np.tile(trained.table.ids[: trained.table.items - left], (2, 1))
    for signature in LISTS:
        answer = ask(rows[:2], signature, exclude)
        for ids, scores in zip(texts(answer["item_ids"]), answer["scores"]):
            assert set(ids[:shown]) == set(trained.table.ids[trained.table.items - left :])
            assert set(ids[shown:]) == {names.PADDING_ITEM}
            assert np.isfinite(scores[:shown]).all() and np.isneginf(scores[shown:]).all()
        if signature == "recommend":
            assert {cell for row in texts(answer["title"]) for cell in row[shown:]} == {""}


def test_an_empty_batch_gives_empty_answers(ask, served, trained):
    assert {name: values.shape[0] for name, values in ask([]).items()} == dict.fromkeys(
        ("item_ids", "scores", "title", "model_version"), 0
    )
    assert {values.shape[0] for values in ask([], "retrieve").values()} == {0}
    feed = {**as_request([], trained.schema), "candidate_items": np.zeros((0, 0), object)}
    assert {values.shape[0] for values in served.outputs(feed, "rank").values()} == {0}


def test_no_candidates_give_no_scores(served, trained, rows):
    feed = {**as_request(rows, trained.schema), "candidate_items": np.zeros((64, 0), object)}
    assert served.outputs(feed, "rank")["scores"].shape == (64, 0)


@pytest.mark.parametrize(
    "query",
    [
        "Größe 42 für Kinder, żółć",
        "中文手机壳",
        "🙂🙃 👩‍👩‍👧‍👦",
        "ﷺ\u202eright to left\u0000zero",
        "lamp " * 20_000,
        "灯" * 33_334,
        "x" * 100_000,
        " \t\r\n",
    ],
)
def test_any_text_is_answered(ask, rows, query):
    assert len(query.encode("utf-8")) >= 4
    answer = ask(rows[:2], query=np.array([query, "lamp"], object))
    assert np.isfinite(answer["scores"]).all()
    # It does not touch its neighbour.
    lamp = ask(rows[1:2], query=np.array(["lamp"], object))
    np.testing.assert_allclose(answer["scores"][1:], lamp["scores"], atol=1e-5)


def test_chinese_characters_are_words_of_their_own(ask, rows):
    """So the order of distant parts does not matter for which words there are, and other characters do."""
    queries = np.array(["手机壳", "手 机 壳", "台灯"], object)
    scores = ask([rows[0]] * 3, query=queries)["scores"]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 1e-6


@pytest.mark.parametrize("name", [name for name, (dtype, rank) in QUERY_INPUTS.items() if dtype == "string"])
def test_bytes_that_are_no_utf8_are_an_unknown_value(ask, rows, name):
    bad = np.array([[b"\xff\xfe\x80 \xc3"]] if QUERY_INPUTS[name][1] == 2 else [b"\xff\xfe\x80 \xc3"], object)
    answer = ask(rows[:1], **{name: bad})
    assert np.isfinite(answer["scores"]).all()
    assert (np.diff(answer["scores"], axis=1) <= 0).all()


def test_bad_bytes_among_exclusions_and_candidates(ask, served, trained, rows):
    bad = np.array([[b"\xff\xfe"]], object)
    np.testing.assert_array_equal(ask(rows[:1], exclude=bad)["item_ids"], ask(rows[:1])["item_ids"])
    feed = {**as_request(rows[:1], trained.schema), "candidate_items": bad}
    unknown = {**feed, "candidate_items": np.array([["no such item"]], object)}
    np.testing.assert_array_equal(served.outputs(feed, "rank")["scores"], served.outputs(unknown, "rank")["scores"])


def test_an_unknown_user_gets_a_list_of_their_own_context(ask, rows):
    """Unknown users are one user to the model; what else they send still counts."""
    nobody = [{**row, "user_id": [name]} for row in rows[:1] for name in (b"nobody", b"nobody else")]
    answer = ask(nobody)
    np.testing.assert_array_equal(answer["scores"][0], answer["scores"][1])
    searching = ask(nobody[:1], query=np.array(["zzz lamp"], object))
    assert np.abs(searching["scores"] - answer["scores"][:1]).max() > 1e-6


def test_the_answer_names_the_version_of_its_directory(served, marketplace_run, trained, rows):
    version = int(marketplace_run.version.name)
    feed = as_request(rows[:3], trained.schema)
    for signature, last in (("recommend", "exclude_items"), ("retrieve", "exclude_items"), ("rank", "candidate_items")):
        items = np.full((3, 1), trained.table.ids[0], object)
        response = served.predict({**feed, last: items}, signature)
        assert response.model_spec.version.value == version
        assert to_array(response.outputs["model_version"]).tolist() == [version] * 3


def test_golden_requests_get_their_answers(served, marketplace_run):
    logs = read_prediction_logs(marketplace_run.version / names.EXTRA_ASSETS_DIRECTORY / names.GOLDEN_FILE)
    signatures = [log.predict_log.request.model_spec.signature_name for log in logs]
    assert {"serving_default", "recommend", "retrieve", "rank"} == set(signatures)
    assert len(logs) >= 16
    for log in logs:
        request = log.predict_log.request
        response = served.call(wire.PREDICT_METHOD, request, wire.PredictResponse)
        expected = {name: to_array(proto) for name, proto in log.predict_log.response.outputs.items()}
        assert set(expected) == set(response.outputs)
        for name, values in expected.items():
            if name == "model_version":
                continue  # Recorded before the bundle had a number.
            given = to_array(response.outputs[name])
            if values.dtype == np.float32:
                np.testing.assert_allclose(given, values, rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(given, values)


def test_warm_up_covers_every_signature_and_replays(served, marketplace_run):
    logs = read_prediction_logs(marketplace_run.version / names.EXTRA_ASSETS_DIRECTORY / names.WARMUP_FILE)
    requests = [log.predict_log.request for log in logs]
    assert {"recommend", "retrieve", "rank"} <= {request.model_spec.signature_name for request in requests}
    for request in requests:
        assert served.call(wire.PREDICT_METHOD, request, wire.PredictResponse).outputs


def test_wrong_inputs_are_refused_in_words(ask, rows):
    with pytest.raises(grpc.RpcError) as refused:
        ask(rows[:2], user_id=np.zeros(2, np.float32))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "string but float" in refused.value.details()
    with pytest.raises(grpc.RpcError) as refused:
        ask(rows[:2], price_max=np.zeros(3, np.float32))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
