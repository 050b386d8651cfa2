"""A pretrained encoder's vectors equal those of BERT in plain numpy, from the same file of weights."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from crossrec.components.errors import DataError
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.hugging_face import load
from crossrec.components.text.projection import unit
from tests.unit.components.text.pretrained import (
    POSITIONS,
    minilm,
    numpy_bert,
    random_weights,
    read_weights,
    write_directory,
)

TEXTS = ["running shoes for a cafe", "", "中文手机 ナイ", "run " * 100, "s"]
FIELD = "features.title.encoder.path"


def load_tiny(path, **options):
    return load(str(path), TextEncoderConfig(path=str(path), **{"max_tokens": 20, **options}), FIELD)


def expected(network, weights, pooling):
    """Text by text, so that there is no padding."""
    rows = []
    for text in TEXTS:
        states = numpy_bert(weights, network.tokenize(tf.constant([text]))[0].numpy()[0])
        rows.append(states[0] if pooling == "cls" else states.mean(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("family", ["bert", "electra", "distilbert"])
def test_vectors_of_each_family(tmp_path, family):
    path = write_directory(tmp_path / family, family, seed=5)
    for pooling in ("mean", "cls"):
        network = load_tiny(path, pooling=pooling)
        assert network.width == 64
        np.testing.assert_allclose(
            network.embed(tf.constant(TEXTS)), expected(network, random_weights(5), pooling), atol=1e-5
        )


def test_tokens_are_cut_and_padded(tiny):
    ids, mask = load_tiny(tiny).tokenize(tf.constant(TEXTS))
    assert ids.shape == (5, 20) and mask.numpy().sum(axis=1).tolist() == [9, 2, 8, 20, 3]
    assert (ids.numpy()[:, 0] == 2).all()
    assert [row[length - 1] for row, length in zip(ids.numpy(), mask.numpy().sum(axis=1), strict=True)] == [3] * 5


def test_a_text_s_vector_does_not_depend_on_its_neighbours(tiny):
    network = load_tiny(tiny)
    together = unit(network.embed(tf.constant(TEXTS)).numpy())
    alone = unit(np.concatenate([network.embed(tf.constant([text])).numpy() for text in TEXTS]))
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_no_texts(tiny):
    assert load_tiny(tiny).embed(tf.constant([], tf.string)).shape == (0, 64)


def test_dropout_is_on_in_training_alone(tiny):
    network = load_tiny(tiny)
    ids, mask = network.tokenize(tf.constant(TEXTS))
    calm = [network(ids, mask, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    assert np.abs(network(ids, mask, training=True).numpy() - calm[0]).max() > 0.01


def test_weights_that_are_missing_are_named(tiny, tmp_path):
    path = shutil.copytree(tiny, tmp_path / "encoder")
    weights = read_weights(path)
    del weights["bert.encoder.layer.1.attention.self.query.bias"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 that its config\.json asks for, .*1.*attention.*query.*bias") as told:
        load_tiny(path)
    assert told.value.field == FIELD


def test_other_fields_of_the_encoder_are_named(tiny, tmp_path):
    with pytest.raises(DataError, match=rf"^features\.title\.encoder\.max_tokens: 41 is more than the {POSITIONS} "):
        load_tiny(tiny, max_tokens=41)
    path = shutil.copytree(tiny, tmp_path / "encoder")
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(DataError, match=r"^features\.title\.encoder\.pooling: 'auto', and "):
        load_tiny(path)
    assert load_tiny(path, pooling="cls").width == 64


def test_a_real_encoder_against_numpy_and_its_own_tokenizer():
    path = minilm()
    texts = ["running shoes", "Café für 中文手机 🙂", "a waterproof jacket, men's; size XL (50% off)", "x " * 90]
    reference = Tokenizer.from_file(str(path / "tokenizer.json"))
    reference.no_padding()
    reference.enable_truncation(64)
    weights = read_weights(path)
    expected = np.stack([numpy_bert(weights, reference.encode(text).ids, heads=12).mean(axis=0) for text in texts])
    network = load(str(path), TextEncoderConfig(path=str(path)))
    vectors = network.embed(tf.constant(texts)).numpy()
    np.testing.assert_allclose(unit(vectors), unit(expected.astype(np.float32)), atol=1e-5)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
