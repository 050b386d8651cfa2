"""The ``encoder`` of a text feature: which language model makes a vector of a text, and how it is adapted."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen


class SmallEncoderConfig(Frozen):
    """The encoder that is trained from scratch where no pretrained one is given.

    Attributes:
        vocabulary_size: Most word pieces, learnt from the catalogue's texts.
        width: Size of a token's vector, and of each layer.
        layers: Transformer layers; 0 takes the mean of the tokens' vectors.
        heads: Attention heads of a layer; they divide the width.
    """

    vocabulary_size: int = Field(default=8_192, ge=100, le=1_000_000)
    width: int = Field(default=128, ge=4, le=4096)
    layers: int = Field(default=0, ge=0, le=24)
    heads: int = Field(default=4, ge=1, le=64)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> SmallEncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}. Give a divisor of the width")
        return self


class EncoderTrainingConfig(Frozen):
    """How an encoder learns from pairs of texts that belong together: a query and the title that was clicked.

    Attributes:
        weights: ``all`` weights learn, or low-rank ``adapters`` beside the frozen ones (LoRA, Hu et al. 2022).
        rank: Rank of the adapters.
        pairs: Most different pairs that are learnt from, the most frequent ones first.
        epochs: Most passes over them; training ends where held-out pairs do not gain, with the best weights so far.
        batch_size: Pairs of a batch; each pair's negatives are the others of its batch.
        learning_rate: Highest one of the schedule; by default 0.01 for a small encoder, 0.001 for adapters, 0.00005 for
            all weights of a pretrained one.
        temperature: Divides the cosines in the softmax.
        seed: Of the order, of dropout and of new weights.
    """

    weights: Literal["all", "adapters"] = "all"
    rank: int = Field(default=8, ge=1, le=256)
    pairs: int = Field(default=200_000, ge=1)
    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float | None = Field(default=None, gt=0)
    temperature: float = Field(default=0.07, gt=0)
    seed: int = 0


class TextEncoderConfig(Frozen):
    """A language model as a function from a text to a vector.

    Attributes:
        path: Directory of a pretrained encoder in the format of Hugging Face (``config.json``, ``vocab.txt`` and
            ``model.safetensors``); without it ``small`` is trained from scratch on the project's own texts.
        small: The encoder that is trained from scratch.
        dimension: Numbers in a vector. A pretrained encoder's wider output is reduced by principal components of the
            catalogue's texts.
        max_tokens: Word pieces of a text that count, those at its ends included.
        pooling: What becomes the text's vector: the ``mean`` over its tokens, or that of the first one (``cls``);
            ``auto`` does what the directory says, the mean where it says nothing.
        precision: How the exported weights are stored; they are multiplied as float32 numbers.
        training: How it learns from the project's pairs; a pretrained encoder stays as it is without.
        teacher: Directory of a pretrained encoder that the small one learns to agree with (distillation).
    """

    path: str = ""
    small: SmallEncoderConfig = SmallEncoderConfig()
    dimension: int = Field(default=128, ge=2, le=4096)
    max_tokens: int = Field(default=64, ge=3, le=512)
    pooling: Literal["auto", "mean", "cls"] = "auto"
    precision: Literal["float32", "float16", "int8"] = "float32"
    training: EncoderTrainingConfig | None = None
    teacher: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> TextEncoderConfig:
        if self.path and self.teacher:
            raise ValueError(
                f"path {self.path!r} and teacher {self.teacher!r}: a teacher teaches the small encoder. "
                "Leave one of them out"
            )
        if not self.path and self.training is not None and self.training.weights == "adapters":
            raise ValueError("training.weights 'adapters' beside no path: a new encoder trains all. Write 'all'")
        if not self.path and self.pooling == "cls":
            raise ValueError("pooling 'cls' beside no path: a new encoder takes the mean. Leave it out")
        if not self.path and self.dimension > self.small.width:
            raise ValueError(
                f"dimension {self.dimension} is more than small.width {self.small.width}. Write a smaller dimension, "
                "or a greater width"
            )
        return self

    @property
    def key(self) -> str:
        """A short name of this configuration: features with equal encoders share one."""
        return hashlib.sha256(self.model_dump_json().encode("utf-8")).hexdigest()[:12]
