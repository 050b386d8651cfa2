"""Pretrained encoders in the format of Hugging Face, run by transformers' TensorFlow classes."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError
from crossrec.components.text import adapters
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.directory import PretrainedDirectory, automatic_pooling, read_directory
from crossrec.components.text.network import EncoderNetwork, padded, pooled
from crossrec.components.text.wordpiece import WordPieceTokenizer


def load(path: str, config: TextEncoderConfig, field: str = "encoder.path") -> HuggingFaceNetwork:
    """Loads a directory; nothing is downloaded.

    Args:
        path: Directory with ``config.json``, ``vocab.txt`` (or ``tokenizer.json``) and ``model.safetensors``.
        config: Its ``max_tokens`` and ``pooling`` are used.
        field: Name of the configuration's field that holds the path, for errors.

    Returns:
        The encoder with its pretrained weights.

    Raises:
        DataError: If the directory is missing or holds no encoder that works here.
    """
    import transformers  # takes seconds, and who has no pretrained encoder needs none of it

    directory = read_directory(path, field)
    owner = field.rpartition(".")[0]
    if config.max_tokens > directory.positions:
        raise DataError(
            f"{owner}.max_tokens",
            f"{config.max_tokens} is more than the {directory.positions} that {path!r} can take",
            "Give a smaller number.",
        )
    pooling = automatic_pooling(path, f"{owner}.pooling") if config.pooling == "auto" else config.pooling
    options = {"add_pooling_layer": False} if directory.family == "bert" else {}
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what is missing is an error below, what is left over is no news
    try:
        backbone, loaded = transformers.TFAutoModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    finally:
        transformers.logging.set_verbosity(verbosity)
    if loaded["missing_keys"] or loaded["mismatched_keys"]:
        wrong = [str(key) for key in (*loaded["missing_keys"], *loaded["mismatched_keys"])]
        raise DataError(
            field,
            f"the weights of {path!r} lack {len(wrong)} that its config.json asks for, the first one {wrong[0]!r}",
            "Give a directory whose files belong together.",
        )
    return HuggingFaceNetwork(backbone, directory, pooling, config.max_tokens)


class HuggingFaceNetwork(EncoderNetwork):
    """A pretrained encoder; all of its weights learn, or only its adapters once it has some."""

    def __init__(self, backbone: tf_keras.Model, directory: PretrainedDirectory, pooling: str, max_tokens: int):
        """Constructs the network.

        Args:
            backbone: A transformers model that gives ``last_hidden_state``.
            directory: Its tokens.
            pooling: ``mean`` or ``cls``.
            max_tokens: Most tokens of a text, its ends included.
        """
        super().__init__()
        self._backbone = backbone
        self._pooling, self._max_tokens = pooling, max_tokens
        self._first, self._last = directory.first, directory.last
        self._pieces = WordPieceTokenizer(directory.vocabulary, directory.unknown, directory.options)
        self._adapters: list[adapters.AdaptedDense] = []

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self._backbone.config.hidden_size)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """Those of the adapters if there are some, all otherwise."""
        return [
            weight for adapter in self._adapters for weight in (adapter.down, adapter.up)
        ] or super().trainable_weights

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """The weights that the adapters keep frozen."""
        learnt = {weight.ref() for weight in self.trainable_weights}
        weights = (*super().trainable_weights, *super().non_trainable_weights)
        return [weight for weight in weights if weight.ref() not in learnt]

    def tokenize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes ids and mask int32 ``[N, T]`` of texts ``[N]``, as Hugging Face's tokenizer does."""
        return padded(self._pieces(texts, self._max_tokens), self._max_tokens, self._first, self._last)

    def call(self, ids: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Makes vectors float32 ``[N, width]`` of ids and mask ``[N, T]``."""
        states = self._backbone(input_ids=ids, attention_mask=mask, training=training).last_hidden_state
        return pooled(states, mask, self._pooling)

    def add_adapters(self, rank: int, seed: int) -> None:
        """Freezes all weights, and puts a low-rank adapter on each query and value projection.

        The output stays as it was until the adapters learn.

        Args:
            rank: Of each adapter.
            seed: Of their first weights.
        """
        self._adapters = adapters.adapt(self._backbone, rank, seed)

    def merge_adapters(self) -> None:
        """Adds what the adapters have learnt to the frozen weights, and takes the adapters away."""
        adapters.merge(self._backbone)
        self._adapters = []
