"""Contrastive training: its loss, what it learns, and what it must not see."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.text.config import EncoderTrainingConfig
from crossrec.components.text.projection import unit
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.retrieved import KnownPairs, reciprocal_ranks
from crossrec.components.text_encoder.train import TextPairs, contrastive_loss, fit_pairs, optimise
from tests.unit.components.text_encoder.market import COLOURS, THINGS, TITLES, query_of, use

WORDS = sorted({word for words in (COLOURS, THINGS) for pair in words.items() for word in pair})
PIECES = ["[PAD]", "[UNK]", "0", "1", *WORDS]
PAIRS = [(query_of(title), title) for title in TITLES]
PAIRS += [(query_of(title).split(" ")[place], title) for title in TITLES for place in range(2)]


def make_network(seed=0, **small):
    encoder = use().encoder
    return SmallNetwork(PIECES, encoder.model_copy(update={"small": encoder.small.model_copy(update=small)}), seed)


def test_the_loss_is_that_of_both_sides_without_known_pairs():
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
    false = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    cosines = unit(left) @ unit(right).T / 0.1
    total = 0.0
    for own in range(3):
        allowed = [other for other in range(3) if not false[own, other]]
        total -= cosines[own, own] - np.log(np.exp(cosines[own, allowed]).sum())
        allowed = [other for other in range(3) if not false[other, own]]
        total -= cosines[own, own] - np.log(np.exp(cosines[allowed, own]).sum())
    found = contrastive_loss(tf.constant(left), tf.constant(right), tf.constant(false), 0.1)
    assert float(found) == pytest.approx(total / 6, rel=1e-5)


def test_known_pairs_are_found_in_both_orders_and_a_text_belongs_to_itself():
    known = KnownPairs.of(np.array([0, 2]), np.array([1, 0]), 4)
    found = known.among(np.array([0, 1, 3]), np.array([0, 1, 2, 3]))
    assert found.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]


def test_reciprocal_ranks_by_hand():
    scores = np.array([[0.9, 0.5, 0.7], [0.2, 0.2, 0.2], [0.1, 0.2, 0.3]], np.float32)
    known = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    # Row 0: the better text belongs to it too. Row 1: two ties count half each.
    np.testing.assert_allclose(reciprocal_ranks(scores, np.array([1, 1, 0]), known), [1 / 2, 1 / 2, 1 / 2])


def test_it_learns_what_words_of_another_language_mean():
    network = make_network()
    pairs = TextPairs.of(PAIRS)
    figures = fit_pairs(network, pairs, EncoderTrainingConfig(batch_size=32, epochs=10))
    embed, one, other = Embedder(network), Tokens.of(network, WORDS), list(COLOURS.items()) + list(THINGS.items())
    vectors = dict(zip(WORDS, unit(embed(one)), strict=True))
    for word, foreign in other:
        cosines = {candidate: vectors[word] @ vectors[candidate] for _, candidate in other}
        assert max(cosines, key=cosines.get) == foreign
    assert figures["mean_reciprocal_rank"] > 2 * figures["mean_reciprocal_rank_before"]
    assert figures["pairs"] + figures["held_out_pairs"] == len(pairs.left)


@pytest.mark.parametrize("layers", [0, 1])
def test_the_same_input_gives_the_same_weights(layers):
    def fitted(seed):
        network = make_network(layers=layers)
        fit_pairs(network, TextPairs.of(PAIRS), EncoderTrainingConfig(batch_size=64, epochs=1, seed=seed))
        return [weight.numpy() for weight in network.weights]

    one, same, other = fitted(1), fitted(1), fitted(2)
    assert all(np.array_equal(first, second) for first, second in zip(one, same, strict=True))
    assert not all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_what_stands_in_held_out_pairs_only_is_not_learnt():
    marks = [f"w{n}" for n in range(400)]
    network = SmallNetwork(["[PAD]", "[UNK]", *marks, *WORDS], use().encoder, 0)
    means = list(itertools.islice(itertools.cycle([*COLOURS.items(), *THINGS.items()]), len(marks)))
    pairs = TextPairs.of([(f"{mark} {word}", foreign) for mark, (word, foreign) in zip(marks, means, strict=True)])
    before = network.weights[0].numpy()
    fit_pairs(network, pairs, EncoderTrainingConfig(batch_size=32))
    changed = (network.weights[0].numpy() != before).any(1)[2:-24]
    held = {pairs.texts[number].split(" ")[0] for number in pairs.left[pairs.held_out]}
    assert 20 < len(held) < 80
    assert {mark for mark, learnt in zip(marks, changed, strict=True) if learnt} == {*marks} - held


@pytest.mark.parametrize(("figures", "epochs", "best"), [((0.9, 0.5, 0.9), 2, 0), ((0.1, 0.5, 0.4, 0.3), 3, 1)])
def test_the_best_weights_stay_and_training_ends_two_epochs_behind_them(figures, epochs, best):
    network = make_network()
    seen, weights = iter(figures), []

    def evaluate():
        weights.append(network.weights[0].numpy())
        return {"quality": next(seen), "other": float(len(weights))}

    ids = tf.constant([[2, 3]])
    told = optimise(
        network,
        lambda epoch: iter([(ids, tf.ones_like(ids))]),
        1,
        lambda ids, mask: tf.reduce_sum(network(ids, mask)),
        EncoderTrainingConfig(epochs=9),
        evaluate,
    )
    np.testing.assert_array_equal(network.weights[0].numpy(), weights[best])
    assert (weights[best] != weights[epochs]).any()
    assert told == {
        "epochs": epochs,
        "quality_before": figures[0],
        "other_before": 1.0,
        "quality": figures[best],
        "other": best + 1.0,
    }


def test_without_pairs_texts_learn_which_of_their_words_tell_them_apart():
    network = make_network(seed=5)
    texts = [f"{one} {other} 0 {third}" for one, other, third in itertools.combinations(WORDS[:14], 3)]
    pairs = TextPairs.views(texts)
    assert (pairs.left == pairs.right).all() and len(pairs.left) == 364
    figures = fit_pairs(network, pairs, EncoderTrainingConfig(batch_size=32, epochs=5))
    assert figures["mean_reciprocal_rank"] > figures["mean_reciprocal_rank_before"]
    lengths = dict(zip(PIECES, np.linalg.norm(network.weights[0].numpy(), axis=1), strict=True))
    # The word that stands in every text weighs less than any other.
    assert lengths["0"] < min(lengths[word] for word in WORDS[:14])


def test_a_view_drops_tokens_but_never_all_and_pads_nothing_back():
    network = make_network()
    tokens = Tokens.of(network, ["red table", "cup", "", "grey hat rouge bureau"])
    whole_ids, whole = tokens.take(np.arange(4))
    kept = np.zeros(whole.shape)
    for seed in range(400):
        ids, mask = tokens.view(np.arange(4), 0.3, np.random.default_rng(seed))
        np.testing.assert_array_equal(ids, whole_ids)
        assert (mask <= whole).all()
        assert mask.sum(1).tolist()[2] == 0 and (mask.sum(1)[[0, 1, 3]] > 0).all()
        kept += mask
    assert kept[1, 0] == 400
    np.testing.assert_allclose(kept[3] / 400, 0.7 + 0.3**4 / 4, atol=0.08)
