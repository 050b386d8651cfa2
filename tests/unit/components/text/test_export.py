"""The exported function: what it computes, in each precision, within other models and in other processes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.text.compression import compress
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.export import export, load_encoder
from crossrec.components.text.hugging_face import load
from crossrec.components.text.projection import fit_projection, unit
from crossrec.components.text.report import EncoderReport
from tests.unit.components.text.pretrained import VOCABULARY, minilm

TEXTS = ["running shoes", "", "Café 中文手机 ナイキ 🙂", " \t\u3000\n", "run " * 300, "\u200b\ufeff", "s", "[SEP]"]
BLANK = [1, 3, 5]
SCRIPT = Path(__file__).with_name("encode_alone.py")
PRECISIONS = ("float32", "float16", "int8")


def config_of(path, **options):
    return TextEncoderConfig(path=str(path), **{"max_tokens": 20, "dimension": 64, **options})


@pytest.fixture(scope="module")
def network(tiny):
    return load(str(tiny), config_of(tiny))


@pytest.fixture(scope="module")
def own(network):
    """The network's unit vectors."""
    return unit(network.embed(tf.constant(TEXTS)).numpy())


@pytest.fixture(scope="module")
def exported(network, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    reports = {
        precision: export(network, None, config_of(tiny, precision=precision), str(folder / precision))
        for precision in PRECISIONS
    }
    return folder, reports


def encode(folder, texts=TEXTS):
    encoder = load_encoder(str(folder))
    return encoder.encode(tf.constant(texts, tf.string)).numpy()


def test_unit_vectors_and_zeros(exported, own):
    vectors = encode(exported[0] / "float32")
    seen = [place for place in range(len(TEXTS)) if place not in BLANK]
    assert not vectors[BLANK].any()
    np.testing.assert_allclose(vectors[seen], own[seen], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors[seen], axis=1), 1, atol=1e-6)


def test_neighbours_and_empty_batches(exported):
    encoder = load_encoder(str(exported[0] / "float32"))
    together = encoder.encode(tf.constant(TEXTS)).numpy()
    alone = np.concatenate([encoder.encode(tf.constant([text])).numpy() for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert encoder.encode(tf.constant([], tf.string)).shape == (0, 64)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_precisions_compute_with_the_rounded_weights(exported, tiny, precision):
    rounded = load(str(tiny), config_of(tiny))
    for weight in rounded.weights:
        first, *scales = compress(weight.numpy(), precision, rows="embeddings" in weight.name)
        weight.assign(first.astype(np.float32) * (scales[0] if scales else 1))
    expected = unit(rounded.embed(tf.constant(TEXTS)).numpy())
    expected[BLANK] = 0
    vectors = encode(exported[0] / precision)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert np.abs(vectors - encode(exported[0] / "float32")).max() > 1e-5


def test_stored_bytes(exported):
    reports = exported[1]
    # Large matrices: the 300 x 64 table and two of 64 x 256 in each of two layers.
    large = 300 * 64 + 4 * 64 * 256
    assert reports["float32"].weight_bytes - reports["float16"].weight_bytes == 2 * large
    # One float32 scale for each piece, each column of the wide and each of the narrow matrices.
    assert reports["float32"].weight_bytes - reports["int8"].weight_bytes == 3 * large - 4 * (300 + 2 * 256 + 2 * 64)
    assert len(VOCABULARY) == 300


def test_the_report_and_its_digest(exported, tiny, network, tmp_path):
    folder, reports = exported
    config = config_of(tiny)
    again = export(load(str(tiny), config), None, config, str(tmp_path / "again"), {"loss": 0.5})
    assert again.digest == reports["float32"].digest
    assert again == EncoderReport.read(str(tmp_path / "again"))
    assert (again.key, again.dimension, again.kind, again.training) == (config.key, 64, "pretrained", {"loss": 0.5})
    shorter = load(str(tiny), config_of(tiny, max_tokens=19))
    first = load(str(tiny), config_of(tiny, pooling="cls"))
    moved = load(str(tiny), config)
    moved.weights[0].assign_add(tf.one_hot(0, 300)[:, None] * 1e-3 * tf.ones([1, 64]))
    others = [export(other, None, config, str(tmp_path / "other")).digest for other in (shorter, first, moved)]
    digests = [*others, *(report.digest for report in reports.values())]
    assert len(set(digests)) == len(digests)


def test_a_projection(network, own, tiny, tmp_path):
    projection = fit_projection(own, 3)
    export(network, projection, config_of(tiny, dimension=3), str(tmp_path))
    expected = unit((own - projection.mean) @ projection.matrix)
    expected[BLANK] = 0
    np.testing.assert_allclose(encode(tmp_path), expected, atol=1e-5)
    with pytest.raises(ValueError, match="dimension 64: the encoder's vectors have 3 numbers"):
        export(network, projection, config_of(tiny), str(tmp_path))


def test_within_another_model_without_its_directory_in_a_fresh_process(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "encoders")
    outer = tf.Module()
    outer.encoders = {name: load_encoder(str(tmp_path / "encoders" / name)) for name in PRECISIONS}
    spec = tf.TensorSpec([None], tf.string, name="texts")
    embed = tf.function(lambda texts: {name: outer.encoders[name].encode(texts) for name in PRECISIONS}, [spec])
    tf.saved_model.save(outer, str(tmp_path / "outer"), signatures={"embed": embed})
    shutil.rmtree(tmp_path / "encoders")
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    arguments = [SCRIPT, tmp_path / "outer", tmp_path / "texts.json", tmp_path / "answers.npz"]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert {"crossrec", "transformers", "tokenizers", "safetensors"}.isdisjoint(told["modules"])
    assert told["unknown"] == [] and told["beyond_core"] == ["FastWordpieceTokenizeWithOffsets", "NormalizeUTF8"]
    with np.load(tmp_path / "answers.npz") as answers:
        for precision in PRECISIONS:
            expected = encode(exported[0] / precision)
            for way in ("session", "session_again", "python", "python_again"):
                np.testing.assert_allclose(answers[f"{way}/{precision}"], expected, atol=1e-6)


def test_a_real_encoder_in_eight_bits(tmp_path):
    path = minilm()
    texts = ["waterproof hiking boots", "usb-c charger 65W", "red summer dress", "中文手机壳", "coffee grinder, manual"]
    config = TextEncoderConfig(path=str(path), dimension=384, precision="int8")
    network = load(str(path), config)
    plain = unit(network.embed(tf.constant(texts)).numpy())
    export(network, None, config, str(tmp_path))
    assert (encode(tmp_path, texts) * plain).sum(axis=1).min() > 0.999
