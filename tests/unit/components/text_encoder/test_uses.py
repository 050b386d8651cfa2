"""Which encoders a spec has, and what the cache sees of their files."""

import json

import pytest

from crossrec.components.errors import DataError
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text_encoder.config import EncoderUse, encoder_uses
from crossrec.components.text_encoder.fingerprint import fingerprint, fingerprint_of


def test_equal_encoders_are_one_with_the_columns_of_all_features():
    text = {"type": "text"}
    features = FeaturesConfig.model_validate(
        {
            "query": {
                "query": {**text, "encoder": {}},
                "words": {**text, "column": "query"},
                "group": {**text, "column": "query", "encoder": {}, "clusters": 5},
            },
            "item": {
                "narrow": {**text, "column": "title", "encoder": {"dimension": 16}},
                "title": {**text, "encoder": {}},
                "brand": {**text, "encoder": {}},
            },
        }
    )
    wide, narrow = encoder_uses(features)
    assert (wide.field, wide.query, wide.item) == ("features.query.query.encoder", ("query",), ("title", "brand"))
    assert (narrow.field, narrow.query, narrow.item) == ("features.item.narrow.encoder", (), ("title",))
    assert (wide.encoder.dimension, narrow.encoder.dimension) == (128, 16)


@pytest.mark.parametrize(
    ("encoder", "learns"),
    [
        ({}, True),
        ({"path": "model"}, False),
        ({"path": "model", "training": {}}, True),
        ({"teacher": "model"}, False),
        ({"teacher": "model", "training": {}}, True),
    ],
)
def test_a_new_encoder_learns_pairs_unasked_and_others_if_asked(encoder, learns):
    assert EncoderUse(encoder=TextEncoderConfig.model_validate(encoder), field="f").learns_pairs is learns


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "1_Pooling" / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(6_000_000))
    return directory


@pytest.mark.parametrize("place", [0, 1_000_000, 5_999_999])
def test_changed_weights_change_the_fingerprint(model, place):
    before = fingerprint(str(model), "f")
    assert fingerprint(str(model), "f") == before
    weights = bytearray(6_000_000)
    weights[place] = 1
    (model / "model.safetensors").write_bytes(weights)
    assert fingerprint(str(model), "f") != before


def test_other_files_count_but_for_hidden_ones(model):
    before = fingerprint(str(model), "f")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("1")
    assert fingerprint(str(model), "f") == before
    (model / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert fingerprint(str(model), "f") != before


def test_the_fingerprint_does_not_depend_on_where_the_model_lies(model, tmp_path):
    before = fingerprint(str(model), "f")
    assert fingerprint(str(model.rename(tmp_path / "elsewhere")), "f") == before


def test_teachers_count_too_and_a_missing_directory_is_told(model, tmp_path):
    def use(**encoder):
        return EncoderUse(encoder=TextEncoderConfig.model_validate(encoder), field="features.item.title.encoder")

    assert fingerprint_of([use()]) == ""
    assert fingerprint_of([use(), use(teacher=str(model))]) == fingerprint(str(model), "f")
    gone = str(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"features\.item\.title\.encoder\.path: '{gone}' .* downloaded beforehand"):
        fingerprint_of([use(path=gone)])
