"""Pretrained encoders that cannot be used are found before anything runs."""

import json

import pytest

from crossrec.components.errors import DataError
from crossrec.components.features.config import FeaturesConfig
from crossrec.pipeline.encoders import check_encoders


def features(**encoder):
    return FeaturesConfig.model_validate(
        {
            "query": {"asked": {"type": "text", "column": "query", "encoder": encoder}},
            "item": {"price": {"type": "numeric"}},
        }
    )


@pytest.mark.parametrize("field", ["path", "teacher"])
def test_a_directory_that_is_not_there(tmp_path, field):
    with pytest.raises(DataError) as caught:
        check_encoders(features(**{field: str(tmp_path / "minilm")}))
    assert caught.value.field == f"features.query.asked.encoder.{field}"
    assert str(tmp_path / "minilm") in caught.value.problem and "huggingface-cli download" in caught.value.mend


def test_a_directory_with_a_model_of_another_kind(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(DataError, match=r"features\.query\.asked\.encoder\.path: .*'llama'"):
        check_encoders(features(path=str(tmp_path)))


def test_the_small_encoder_needs_nothing():
    check_encoders(features())
