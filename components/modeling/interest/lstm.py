"""Long short-term memory over the recent items, the same for every candidate.

Hochreiter, Schmidhuber: "Long Short-Term Memory", Neural Computation 9, 1997; over sessions of items: Hidasi,
Karatzoglou, Baltrunas, Tikk: "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016.
"""

from __future__ import annotations

from typing import Literal

import tf_keras

from crossrec.components.modeling.interest.recurrent import Recurrent, RecurrentConfig


class LSTMConfig(RecurrentConfig):
    """Long short-term memory.

    Attributes:
        type: Names this layer in the spec.
    """

    type: Literal["lstm"] = "lstm"


class LSTM(Recurrent):
    """Long short-term memory; see Recurrent."""

    CONFIG = LSTMConfig
    CELL = tf_keras.layers.LSTMCell
