r"""Contrastive training: texts that belong together get vectors that lie together.

For pairs :math:`(q_i, t_i)` of a batch the loss is the mean of :math:`-\log \mathrm{softmax}_j(\cos(q_i, t_j) /
\tau)_i` and of the same with both sides changed over (van den Oord, Li, Vinyals: "Representation Learning with
Contrastive Predictive Coding", 2018; Radford et al.: "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021). Texts of a batch that belong to a row are left out of its negatives.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.progress import progress
from crossrec.components.text.config import EncoderTrainingConfig
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.projection import unit
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.retrieved import Ints, KnownPairs, reciprocal_ranks

NEW_WEIGHTS_RATE, ADAPTERS_RATE, PRETRAINED_RATE = 1e-2, 1e-3, 5e-5
"""Highest learning rates where the configuration names none."""

_HELD_OUT = 10
_MOST_CANDIDATES = 1_000
_FEWEST_HELD_OUT = 20
_WARM_UP = 0.1
_PATIENCE = 2
_CLIP = 1.0
# Of the tokens in each of two views of one text (Gao, Yao, Chen: "SimCSE", EMNLP 2021, drop units of the network).
_DROPPED = 0.3

Batch = tuple[npt.NDArray[np.int32], ...]


@dataclass(frozen=True)
class TextPairs:
    """Texts and which belong together.

    Attributes:
        texts: Different texts.
        left: The one text of each pair, by number, int64 ``[N]``; for queries it is the query.
        right: The other one.
    """

    texts: list[str]
    left: Ints
    right: Ints

    @classmethod
    def of(cls, pairs: list[tuple[str, str]]) -> TextPairs:
        """From the texts of different pairs."""
        texts = sorted({text for pair in pairs for text in pair})
        numbers = {text: number for number, text in enumerate(texts)}
        columns = np.array([[numbers[text] for text in pair] for pair in pairs], np.int64).reshape(-1, 2)
        return cls(texts, columns[:, 0], columns[:, 1])

    @classmethod
    def views(cls, texts: list[str]) -> TextPairs:
        """Each text with itself, where nothing says which others belong to it."""
        return cls.of([(text, text) for text in sorted(set(texts))])

    @property
    def held_out(self) -> npt.NDArray[np.bool_]:
        """Whether a pair is kept out of training, ``[N]``: a tenth by their left text; none where that is too few."""
        last = np.array([zlib.crc32(text.encode("utf-8")) % _HELD_OUT == 0 for text in self.texts])
        held = last[self.left]
        return held if held.sum() >= _FEWEST_HELD_OUT and not held.all() else np.zeros(len(held), bool)


def fit_pairs(network: EncoderNetwork, pairs: TextPairs, config: EncoderTrainingConfig) -> dict[str, float]:
    """Trains an encoder; it ends with its best weights, which may be those that it began with.

    The same network, pairs and configuration give the same weights.

    Args:
        network: The encoder; its trainable weights learn.
        pairs: What belongs together.
        config: How to train.

    Returns:
        Figures: ``pairs``, ``held_out_pairs``, ``epochs``, and of the held-out ones the mean reciprocal rank and the
        recall at 1, ``before`` and after, among ``candidates`` texts.
    """
    tf_keras.utils.set_random_seed(config.seed)
    tokens = Tokens.of(network, pairs.texts)
    held = pairs.held_out
    known = KnownPairs.of(pairs.left, pairs.right, len(pairs.texts))
    views = bool((pairs.left == pairs.right).all())
    evaluate = _evaluation(network, tokens, pairs, held, known, views)

    def loss(ids: Any, mask: Any, other_ids: Any, other_mask: Any, false: Any) -> tf.Tensor:
        left, right = network(ids, mask, training=True), network(other_ids, other_mask, training=True)
        return contrastive_loss(left, right, false, config.temperature)

    batches = _Batches(tokens, pairs.left[~held], pairs.right[~held], known, config, views)
    return {
        "pairs": float((~held).sum()),
        "held_out_pairs": float(held.sum()),
        **optimise(network, batches, batches.steps, loss, config, evaluate),
    }


def contrastive_loss(left: tf.Tensor, right: tf.Tensor, false: tf.Tensor, temperature: float) -> tf.Tensor:
    """The loss of a batch of pairs.

    Args:
        left: Vectors ``[B, width]`` of any length.
        right: Those of the texts that belong to them.
        false: ``[B, B]``, above 0 where a right text is no negative of a left one; 0 in the diagonal.
        temperature: Divides the cosines.
    """
    left, right = tf.math.l2_normalize(left, 1), tf.math.l2_normalize(right, 1)
    scores = tf.where(false > 0, -1e9, tf.matmul(left, right, transpose_b=True) / temperature)
    own = tf.range(tf.shape(scores)[0])
    sides = [tf.nn.sparse_softmax_cross_entropy_with_logits(own, side) for side in (scores, tf.transpose(scores))]
    return tf.reduce_mean(sides[0] + sides[1]) / 2


def optimise(
    network: EncoderNetwork,
    batches: Callable[[int], Iterator[Batch]],
    steps: int,
    loss: Callable[..., tf.Tensor],
    config: EncoderTrainingConfig,
    evaluate: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """Runs the epochs, and leaves the weights of the best one in the network.

    Args:
        network: The encoder.
        batches: Gives the batches of an epoch by its number.
        steps: Batches of an epoch.
        loss: Of a batch's tensors.
        config: Epochs and learning rate: it rises in a straight line over the first tenth of the steps, then falls
            along a cosine.
        evaluate: Figures of the network as it is, the first one to be as great as can be; none where nothing is
            held out.

    Returns:
        The figures before (``…_before``) and of the best epoch, and ``epochs``, those that ran.
    """
    total = steps * config.epochs
    warm_up = max(1, int(_WARM_UP * total))
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warm_up), warmup_target=_rate(network, config), warmup_steps=warm_up
    )
    weights = network.trainable_weights
    optimiser = LazyAdam(schedule, epsilon=1e-8, global_clipnorm=_CLIP)
    optimiser.build(weights)

    def step(*batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(*batch)
        optimiser.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        return value

    step = tf.function(step, autograph=False, reduce_retracing=True)
    before = evaluate()
    best, best_weights, rest, epoch = before, [weight.numpy() for weight in weights], 0, 0
    for epoch in range(1, config.epochs + 1):
        values = [step(*map(tf.constant, batch)) for batch in batches(epoch)]
        figures = evaluate()
        told = "".join(f", {name} {value:.3f}" for name, value in list(figures.items())[:1])
        progress(f"epoch {epoch} of {config.epochs}: loss {float(np.mean(values)):.3f}{told}")
        if not figures or _first(figures) > _first(best):
            best, best_weights, rest = figures, [weight.numpy() for weight in weights], 0
            continue
        rest += 1
        if rest == _PATIENCE:
            break
    for weight, value in zip(weights, best_weights, strict=True):
        weight.assign(value)
    return {"epochs": float(epoch), **{f"{name}_before": value for name, value in before.items()}, **best}


def _first(figures: dict[str, float]) -> float:
    return next(iter(figures.values()))


class _Batches:
    """Pairs in a new order in each epoch, as ids and masks of both sides and what a row must not be told from."""

    def __init__(
        self, tokens: Tokens, left: Ints, right: Ints, known: KnownPairs, config: EncoderTrainingConfig, views: bool
    ):
        self._tokens, self._left, self._right, self._known = tokens, left, right, known
        self._config, self._views = config, views
        self._size = min(config.batch_size, len(left))
        self.steps = len(left) // self._size

    def __call__(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self._config.seed, epoch])
        order = rng.permutation(len(self._left))
        for start in range(0, self.steps * self._size, self._size):
            rows = order[start : start + self._size]
            left, right = self._left[rows], self._right[rows]
            sides = [
                self._tokens.view(side, _DROPPED, rng) if self._views else self._tokens.take(side)
                for side in (left, right)
            ]
            false = self._known.among(left, right)
            np.fill_diagonal(false, False)
            yield (*sides[0], *sides[1], false.astype(np.int32))


def _evaluation(
    network: EncoderNetwork,
    tokens: Tokens,
    pairs: TextPairs,
    held: npt.NDArray[np.bool_],
    known: KnownPairs,
    views: bool,
) -> Callable[[], dict[str, float]]:
    """How often, and how high, a held-out pair's right text is found among those of the others."""
    if not held.any():
        return dict
    candidates = np.unique(pairs.right[held])
    if len(candidates) > _MOST_CANDIDATES:
        candidates = np.sort(np.random.default_rng(0).choice(candidates, _MOST_CANDIDATES, replace=False))
    chosen = held & np.isin(pairs.right, candidates)
    left, columns = pairs.left[chosen][:_MOST_CANDIDATES], np.searchsorted(candidates, pairs.right[chosen])
    columns = columns[:_MOST_CANDIDATES]
    excluded = known.among(left, candidates)
    # Two views: half of a text's tokens find the whole text.
    asked = Tokens(*_halved(tokens, left)) if views else tokens
    rows = np.arange(len(left)) if views else left
    embed = Embedder(network)

    def evaluate() -> dict[str, float]:
        scores = unit(embed(asked, rows)) @ unit(embed(tokens, candidates)).T
        ranks = reciprocal_ranks(scores, columns, excluded)
        return {
            "mean_reciprocal_rank": float(ranks.mean()),
            "recall_at_1": float((ranks == 1.0).mean()),
            "candidates": float(len(candidates)),
        }

    return evaluate


def _halved(tokens: Tokens, rows: Ints) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every second token of texts."""
    return tokens.ids[rows, ::2], (tokens.lengths[rows] + 1) // 2


def _rate(network: EncoderNetwork, config: EncoderTrainingConfig) -> float:
    """The highest learning rate: new weights, and adapters beside frozen ones, have a longer way to go."""
    if config.learning_rate is not None:
        return config.learning_rate
    if isinstance(network, SmallNetwork):
        return NEW_WEIGHTS_RATE
    return ADAPTERS_RATE if config.weights == "adapters" else PRETRAINED_RATE
