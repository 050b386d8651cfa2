"""BERT's tokens in the graph: the normalisation and the word pieces of Hugging Face's ``BertTokenizer``.

TensorFlow Text's own BertTokenizer folds compatibility characters and case ("ß" to "ss", "½" to "1/2"), which
pretrained vocabularies have not seen; here the steps are those of ``tokenizers``' BertNormalizer and BertPreTokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text

_REMOVED = r"[\x{FFFD}\p{Cf}\p{Co}\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]"
_WHITE_SPACE = r"[\s\p{Z}]+"
_CHINESE = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
_PUNCTUATION = r"[\p{P}!-/:-@\[-`{-~]"
_UNKNOWN_WORD = "\ufffd"


class WordPieceOptions(NamedTuple):
    """How a text becomes words, named as in ``tokenizer_config.json``.

    Attributes:
        do_lower_case: Whether letters become small ones.
        strip_accents: Whether marks are taken off letters.
        tokenize_chinese_chars: Whether each Chinese character is a word.
        max_input_chars_per_word: A longer word is unknown.
    """

    do_lower_case: bool = True
    strip_accents: bool = True
    tokenize_chinese_chars: bool = True
    max_input_chars_per_word: int = 100


class WordPieceTokenizer:
    """Texts to ids of word pieces, greedily the longest first (Song et al. 2021, Fast WordPiece Tokenization).

    The vocabulary lies in the graph as a constant: a SavedModel has no asset of it.
    """

    def __init__(self, vocabulary: Sequence[str], unknown: str = "[UNK]", options: WordPieceOptions | None = None):
        """Constructs the tokenizer.

        Args:
            vocabulary: Pieces in the order of their ids; those inside a word begin with ``##``.
            unknown: The piece of a word that cannot be made of pieces.
            options: How a text becomes words.
        """
        self._options = options or WordPieceOptions()
        self._pieces = tensorflow_text.FastWordpieceTokenizer(
            vocab=list(vocabulary),
            unknown_token=unknown,
            token_out_type=tf.int32,
            no_pretokenization=True,
            # In bytes, of which a character has at most four; characters are counted beforehand.
            max_bytes_per_word=4 * self._options.max_input_chars_per_word,
        )

    def normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Makes texts whose words are separated by single spaces.

        Args:
            texts: Strings ``[N]``; bytes that are no UTF-8 are left out.

        Returns:
            UTF-8 strings ``[N]``.
        """
        options = self._options
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        texts = tf.strings.regex_replace(texts, _REMOVED, "")
        if options.tokenize_chinese_chars:
            texts = tf.strings.regex_replace(texts, _CHINESE, r" \0 ")
        if options.strip_accents:
            texts = tensorflow_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
        if options.do_lower_case:
            # One by one: in a whole word the last sigma would become another letter.
            texts = tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), encoding="utf-8")
        texts = tf.strings.regex_replace(texts, _PUNCTUATION, r" \0 ")
        texts = tf.strings.regex_replace(texts, _WHITE_SPACE, " ")
        too_long = rf"[^ ]{{{options.max_input_chars_per_word + 1},}}"
        return tf.strings.strip(tf.strings.regex_replace(texts, too_long, _UNKNOWN_WORD))

    def __call__(self, texts: tf.Tensor, most: int | None = None) -> tf.RaggedTensor:
        """Makes ids of texts.

        Args:
            texts: UTF-8 strings ``[N]``.
            most: Words that count; each has at least one piece.

        Returns:
            int32 ``[N, (pieces)]``.
        """
        words = tf.strings.split(self.normalize(texts), " ")
        return self._pieces.tokenize(words if most is None else words[:, :most]).merge_dims(1, 2)
