"""Token ids equal those of Hugging Face's own tokenizer, character by character and over whole texts."""

import unicodedata

import pytest
import tensorflow as tf
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from crossrec.components.text.directory import read_directory
from crossrec.components.text.wordpiece import WordPieceOptions, WordPieceTokenizer
from tests.unit.components.text.pretrained import VOCABULARY, minilm

TEXTS = [
    "Running shoes for RUNNING",
    "Café naïve Größe ÀÉÎ e\u0301 ſt",
    "中文手机 壳 iPhone15 𠀀𪚥 㐀 豈",
    "スニーカー ナイキ がぎぐ カ゛ ﾊﾛｰ",
    "🙂 emoji 👨‍👩‍👧 ok❤️ 🇩🇪",
    "a\x00b\x01c\td\ne\r\u200bf\u00ad\ufeffg\x7f\x0bh\ue000\ufffdi",
    "Привет мир, Ελλάδα ΣΊΣΥΦΟΣ İstanbul ß ẞ",
    "한국어 운동화 नमस्ते ไทย שָׁלוֹם مرحبا",
    "",
    "  \t\u3000 ",
    "don't $5.00 (50%) #1 a_b-c/d «x» “y” …—–‐ ¿¡ §¶ ^`~+<=>| €£ ©™ ﬁ ½ ① Å K ≠ \u037e",
    "e\u0301 \u00a0nbsp\u3000wide\u2028line\u2003em\u1680",
    " ".join(["x" * 99, "y" * 100, "z" * 101, "é" * 60, "中" * 150, "🙂" * 100, "🙂" * 101, "-" * 120]),
    "word " * 3000 + "ß" * 5000,
    "ab" * 20000,
]
# Python counts in a newer version of Unicode than either tokenizer: what was there in 3.2 is known to both.
KNOWN = [chr(code) for code in range(0x30000) if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cs", "Cn")]


def ids(tokenizer, texts):
    return tokenizer(tf.constant(texts)).to_list()


def theirs(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.fixture(scope="module")
def both():
    directory = minilm()
    read = read_directory(str(directory), "encoder.path")
    reference = Tokenizer.from_file(str(directory / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    return WordPieceTokenizer(read.vocabulary, read.unknown, read.options), reference


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [True, False])
@pytest.mark.parametrize("chinese", [True, False])
def test_texts_and_options(lower, accents, chinese):
    places = {piece: place for place, piece in enumerate(VOCABULARY)}
    reference = BertWordPieceTokenizer(
        places, lowercase=lower, strip_accents=accents, handle_chinese_chars=chinese, clean_text=True
    )
    own = WordPieceTokenizer(VOCABULARY, options=WordPieceOptions(lower, accents, chinese))
    assert ids(own, TEXTS) == theirs(reference, TEXTS)


def test_texts_with_a_real_vocabulary(both):
    assert ids(both[0], TEXTS) == theirs(both[1], TEXTS)


def test_every_character_within_a_word_and_alone(both):
    texts = [f"a{character}b {character}" for character in KNOWN]
    own, reference = ids(both[0], texts), theirs(both[1], texts)
    different = [f"U+{ord(KNOWN[place]):04X}" for place in range(len(texts)) if own[place] != reference[place]]
    # Those whose category Unicode has changed since: punctuation that became a symbol, letters that became marks.
    assert different == ["U+166D", "U+1734", "U+1885", "U+1886"]


def test_bytes_that_are_no_utf_8_are_left_out():
    own = WordPieceTokenizer(VOCABULARY)
    assert ids(own, [b"run\xff\xfening \xe4\xb8", b"running"])[0] == ids(own, ["running"])[0]


def test_names_of_special_pieces_in_a_text_are_text():
    own = WordPieceTokenizer(VOCABULARY)
    assert ids(own, ["[SEP]"]) == [[VOCABULARY.index(piece) for piece in ("[", "s", "##e", "##p", "]")]]


def test_words_beyond_those_that_count_change_nothing():
    own = WordPieceTokenizer(VOCABULARY)
    whole = ids(own, ["running for shoes"])[0]
    assert own(tf.constant(["running for shoes"]), most=2).to_list()[0] == whole[:3]
