"""A directory's files: what is read of them, and what a wrong one is told."""

import json
import shutil

import pytest

from crossrec.components.errors import DataError
from crossrec.components.text.directory import automatic_pooling, read_directory
from crossrec.components.text.wordpiece import WordPieceOptions
from tests.unit.components.text.pretrained import POSITIONS, VOCABULARY

FIELD = "features.title.encoder.path"


@pytest.fixture
def copy(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "encoder")


def put(path, name, content):
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(json.dumps(content), "utf-8")


def test_a_directory_as_it_is(tiny):
    read = read_directory(str(tiny), FIELD)
    assert (read.family, read.positions, read.vocabulary) == ("bert", POSITIONS, tuple(VOCABULARY))
    assert (read.first, read.last, read.unknown) == (2, 3, "[UNK]")
    assert read.options == WordPieceOptions(True, True, True, 100)


def test_a_vocabulary_s_lines_end_at_line_feeds_alone(copy):
    odd = [*VOCABULARY, "\u2028", "\x85", "a\x0bb", ""]
    (copy / "vocab.txt").write_bytes("".join(f"{piece}\n" for piece in odd).encode())
    assert read_directory(str(copy), FIELD).vocabulary == tuple(odd)
    (copy / "vocab.txt").write_bytes("\r\n".join(VOCABULARY).encode())
    assert read_directory(str(copy), FIELD).vocabulary == tuple(VOCABULARY)


def test_a_piece_that_is_there_twice_has_the_later_id(copy):
    (copy / "vocab.txt").write_text("a\n[UNK]\n[CLS]\n[SEP]\na\n")
    assert read_directory(str(copy), FIELD).vocabulary == ("a 0", "[UNK]", "[CLS]", "[SEP]", "a")


def test_the_vocabulary_of_tokenizer_json(copy):
    (copy / "vocab.txt").unlink()
    backwards = {piece: place for place, piece in reversed(list(enumerate(VOCABULARY)))}
    normalizer = {"lowercase": False, "strip_accents": None, "handle_chinese_chars": False}
    model = {"type": "WordPiece", "vocab": backwards, "max_input_chars_per_word": 7}
    put(copy, "tokenizer.json", {"model": model, "normalizer": normalizer})
    read = read_directory(str(copy), FIELD)
    assert read.vocabulary == tuple(VOCABULARY)
    assert read.options == WordPieceOptions(False, False, False, 7)
    put(copy, "tokenizer.json", {"model": {"type": "BPE", "vocab": backwards}})
    with pytest.raises(DataError, match=r"^features\.title\.encoder\.path: tokenizer\.json .* has no word pieces"):
        read_directory(str(copy), FIELD)


@pytest.mark.parametrize(
    ("settings", "lower", "accents"),
    [({"do_lower_case": False}, False, False), ({"do_lower_case": False, "strip_accents": True}, False, True)],
)
def test_settings_of_the_tokenizer(copy, settings, lower, accents):
    put(copy, "tokenizer_config.json", settings | {"cls_token": {"content": "[MASK]"}})
    read = read_directory(str(copy), FIELD)
    assert (read.options.do_lower_case, read.options.strip_accents, read.first) == (lower, accents, 4)


def test_a_missing_directory_tells_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as told:
        read_directory(str(tmp_path / "none"), FIELD)
    assert str(told.value).startswith(f"{FIELD}: there is no directory '{tmp_path}/none'. Nothing is downloaded")
    assert "huggingface-cli download NAME --local-dir DIR" in str(told.value)


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(DataError, match=rf"has no file {name}\. Copy the whole directory") as told:
        read_directory(str(copy), FIELD)
    assert told.value.field == FIELD


def test_weights_of_another_format_are_named(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"no file model\.safetensors \(it holds pytorch_model\.bin\)"):
        read_directory(str(copy), FIELD)


def test_another_family_and_a_damaged_file(copy):
    put(copy, "config.json", {"model_type": "roberta"})
    with pytest.raises(DataError, match=r"a model of type 'roberta'\. Give .* bert, distilbert, electra"):
        read_directory(str(copy), FIELD)
    (copy / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json .* is no JSON"):
        read_directory(str(copy), FIELD)


def test_a_vocabulary_without_the_ends(copy):
    (copy / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\na\n")
    with pytest.raises(DataError, match=r"has no '\[SEP\]'"):
        read_directory(str(copy), FIELD)


def test_automatic_pooling(copy):
    assert automatic_pooling(str(copy), FIELD) == "mean"
    put(copy, "1_Pooling/config.json", {"word_embedding_dimension": 1, "pooling_mode_cls_token": True})
    assert automatic_pooling(str(copy), FIELD) == "cls"
    put(copy, "1_Pooling/config.json", {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
    assert automatic_pooling(str(copy), FIELD) == "mean"


def test_pooling_that_is_not_known(copy):
    put(copy, "1_Pooling/config.json", {"pooling_mode_max_tokens": True})
    with pytest.raises(DataError, match=r"'auto', and .* asks for pooling_mode_max_tokens\. Write 'mean' or 'cls'"):
        automatic_pooling(str(copy), FIELD)
    put(copy, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    put(copy, "modules.json", [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Pooling", "Dense")])
    with pytest.raises(DataError, match="asks for pooling_mode_mean_tokens, Dense"):
        automatic_pooling(str(copy), FIELD)
