"""Word pieces and the encoder that is trained from scratch."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.export import export, load_encoder
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text.vocabulary import learn_vocabulary, split

WORDS = {"teapot": 40, "teacup": 30, "pot": 9, "cups": 7, "茶": 5, "壶": 4, "noir": 2, "unseenly": 1}
PIECES = ["[PAD]", "[UNK]", "##pot", "##s", "pot", "tea", "茶"]


def config(layers=0, **options):
    small = {"width": 8, "heads": 2, "layers": layers}
    return TextEncoderConfig.model_validate({"small": small, "dimension": 8, "max_tokens": 4, **options})


def test_the_same_words_in_any_order_give_the_same_pieces():
    backwards = dict(reversed(WORDS.items()))
    assert learn_vocabulary(WORDS, 40) == learn_vocabulary(backwards, 40)


def test_every_word_can_be_made_of_the_pieces_and_frequent_ones_are_pieces():
    pieces = learn_vocabulary(WORDS, 100)
    assert pieces[:2] == ["[PAD]", "[UNK]"]
    assert len(pieces) == len(set(pieces))
    for word in WORDS:
        assert "".join(piece.removeprefix("##") for piece in split(word, set(pieces))) == word
    assert {"teapot", "teacup", "茶", "壶"} <= set(pieces)
    # A word that occurs once is worth no piece of its own.
    assert "unseenly" not in pieces


def test_the_size_is_kept_and_goes_to_the_pieces_that_cover_most():
    pieces = learn_vocabulary({"ab": 100, "abc": 1, "cd": 50, "e": 1}, 12)
    assert len(pieces) <= 12
    assert {"ab", "cd"} <= set(pieces)
    tight = learn_vocabulary({"ab": 100, "cd": 50, "ef": 2}, 6)
    assert len(tight) == 6
    assert "ab" in tight and "cd" in tight and "ef" not in tight


def test_a_vector_is_the_mean_of_its_tokens_vectors():
    network = SmallNetwork(PIECES, config(), seed=1)
    vectors = dict(zip(PIECES, network.weights[0].numpy(), strict=True))
    found = network.embed(tf.constant(["Teapots", "茶pot", "xyz", " "])).numpy()
    np.testing.assert_allclose(found[0], (vectors["tea"] + vectors["##pot"] + vectors["##s"]) / 3, rtol=1e-6)
    np.testing.assert_allclose(found[1], (vectors["茶"] + vectors["pot"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found[2], vectors["[UNK]"], rtol=1e-6)
    assert not found[3].any()


@pytest.mark.parametrize("layers", [0, 2])
def test_a_texts_vector_does_not_depend_on_its_neighbours(layers):
    network = SmallNetwork(PIECES, config(layers), seed=1)
    texts = ["pot", "tea pot 茶 pots", "", "tea"]
    together = network.embed(tf.constant(texts)).numpy()
    alone = np.concatenate([network.embed(tf.constant([text])).numpy() for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert not together[2].any()


def test_order_matters_with_layers_only():
    def distance(layers):
        one, other = SmallNetwork(PIECES, config(layers), seed=1).embed(tf.constant(["tea pot", "pot tea"])).numpy()
        return np.abs(one - other).max()

    assert distance(0) < 1e-6
    assert distance(1) > 1e-4


def test_tokens_beyond_the_most_do_not_count():
    network = SmallNetwork(PIECES, config(), seed=1)
    long, cut = network.embed(tf.constant(["tea pot 茶 tea pot pot", "tea pot 茶 tea"])).numpy()
    np.testing.assert_array_equal(long, cut)


@pytest.mark.parametrize("layers", [0, 1])
def test_a_seed_says_the_weights(layers):
    def weights(seed):
        return [weight.numpy() for weight in SmallNetwork(PIECES, config(layers), seed).weights]

    for one, same in zip(weights(3), weights(3), strict=True):
        np.testing.assert_array_equal(one, same)
    assert any(np.abs(one - other).max() > 1e-3 for one, other in zip(weights(3), weights(4), strict=True))


@pytest.mark.parametrize("layers", [0, 1])
def test_the_exported_function_gives_the_networks_unit_vectors(layers, tmp_path):
    network = SmallNetwork(PIECES, config(layers), seed=1)
    export(network, None, config(layers), str(tmp_path))
    texts = tf.constant(["Teapots!", "茶 pot", "\t", "tea " * 50])
    vectors = network.embed(texts).numpy()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    loaded = load_encoder(str(tmp_path))
    np.testing.assert_allclose(loaded.encode(texts).numpy(), wanted, atol=1e-6)
