"""Gated recurrent unit over the recent items.

Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio: "Learning Phrase Representations using RNN
Encoder-Decoder for Statistical Machine Translation", EMNLP 2014; over sessions of items: Hidasi, Karatzoglou,
Baltrunas, Tikk: "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016.
"""

from __future__ import annotations

from typing import Literal

import tf_keras

from crossrec.components.modeling.interest.recurrent import Recurrent, RecurrentConfig


class GRUConfig(RecurrentConfig):
    """Gated recurrent unit.

    Attributes:
        type: Names this layer in the spec.
    """

    type: Literal["gru"] = "gru"


class GRU(Recurrent):
    """Gated recurrent unit; see Recurrent."""

    CONFIG = GRUConfig
    CELL = tf_keras.layers.GRUCell
