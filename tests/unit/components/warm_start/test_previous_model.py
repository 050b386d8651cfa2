"""Which release a run starts from: what the publisher left, and what the look-up makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.warm_start.config import WarmStartConfig
from crossrec.components.warm_start.executor import Executor
from crossrec.components.warm_start.lineage import record_of, record_parts
from crossrec.components.warm_start.records import (
    OF_TEXTS,
    PARTS,
    ReleaseRecord,
    of_other_data,
    read_records,
    write_record,
)
from crossrec.serving.releases.versions import list_versions

DAY = 86_400


def record(version: int, fingerprint: str = "", day: int = 0) -> ReleaseRecord:
    return ReleaseRecord(
        version=version,
        fingerprint=fingerprint or f"data {version}-code",
        trained_until=day * DAY,
        artifacts={name: f"/{name}/{version}" for name in PARTS},
    )


def interactions(fingerprint: str, day: int) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = "/examples"
    examples.set_string_custom_property("input_fingerprint", fingerprint)
    examples.set_int_custom_property("trained_until", day * DAY)
    return examples


def look_up(root: Path, config: dict[str, Any], known: object = None, fingerprint="today-code", day=100):
    """What the component finds."""
    found = artifacts.PreviousModel()
    found.uri = str(root / "found")
    Executor().Do(
        {"interactions": [interactions(fingerprint, day)]},
        {"previous_model": [found]},
        {
            "config": WarmStartConfig.model_validate(config).model_dump_json(),
            "serving_root": str(root),
            "model_name": "shop",
            "known": "" if known is None else json.dumps(known),
        },
    )
    previous = PreviousRelease.read(found.uri)
    assert found.get_int_custom_property("version") == previous.version
    return previous


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version, day in ((2, 20), (10, 30), (9, 25)):
        write_record(record(version, day=day), str(tmp_path), "shop")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "options", "version"),
    [
        ({}, {}, 10),
        ({"release": 9}, {}, 9),
        ({"release": 3}, {}, 0),
        ({}, {"known": [2, 9]}, 9),
        ({}, {"known": []}, 0),
        # The same data again: what was made of them is no start.
        ({}, {"fingerprint": "data 10-code"}, 9),
        # It would know the rows that this run measures on.
        ({}, {"day": 29}, 9),
        ({}, {"day": 30}, 10),
        ({"release": 10}, {"day": 29}, 0),
        ({}, {"day": 19}, 0),
    ],
)
def test_the_newest_release_of_earlier_and_other_data_is_found(root, config, options, version):
    previous = look_up(root, {"epochs": 2, **config}, **options)
    assert previous.version == version
    if version:
        assert previous.epochs == 2 and previous.artifacts == record(version).artifacts


def test_nothing_published_is_nothing_to_start_from(tmp_path):
    assert look_up(tmp_path, {}) == PreviousRelease()


def test_a_record_that_was_cut_off_is_as_good_as_none(root):
    (root / "shop" / ".lineage" / "11.json").write_text('{"version": 1')
    assert [found.version for found in read_records(str(root), "shop")] == [10, 9, 2]


def test_records_are_no_versions_of_the_model(root):
    (root / "shop" / "7").mkdir()
    assert list_versions(root / "shop") == [7]


def test_data_that_could_not_be_seen_count_as_other_data():
    records = [record(1, "a-code"), record(2, "-code")]
    assert of_other_data(records, "-code") == records
    assert of_other_data(records, "a-code") == records[1:]


def test_what_a_bundle_was_made_of_comes_back_as_the_record_of_its_release(tmp_path):
    bundle = artifacts.ServingBundle()
    assert record_of(bundle, 4) is None
    inputs: dict[str, list[Any]] = {}
    for name in PARTS:
        artifact = standard_artifacts.Model()
        artifact.uri = f"/{name}/4"
        inputs[name] = [artifact]
    record_parts(bundle, inputs, interactions("data 4-code", 17))
    write_record(record_of(bundle, 4), str(tmp_path), "shop")
    assert read_records(str(tmp_path), "shop") == [record(4, day=17)]


def test_a_bundle_with_a_newer_catalogue_says_of_which_release_its_models_are(tmp_path):
    bundle = artifacts.ServingBundle()
    inputs = {}
    for name in PARTS:
        inputs[name] = [artifacts.ItemTable()]
        inputs[name][0].uri = f"artifacts/{name}"
    record_parts(bundle, inputs, interactions("data 4-code", 17))
    first = record_of(bundle, 5)
    assert first is not None and (first.models_from, first.catalogue) == (0, "")
    inputs["item_table"][0].set_int_custom_property("models_from", 3)
    inputs["item_table"][0].set_string_custom_property("catalogue", "files of today")
    record_parts(bundle, inputs, interactions("data 4-code", 17))
    write_record(record_of(bundle, 5), str(tmp_path), "shop")
    (found,) = read_records(str(tmp_path), "shop")
    assert (found.models_from, found.catalogue) == (3, "files of today")
    assert found.trained_until == record(5, day=17).trained_until


def test_encoders_of_texts_are_part_of_the_record_where_a_bundle_has_them(tmp_path):
    bundle = artifacts.ServingBundle()
    inputs = {}
    for name in (*PARTS, *OF_TEXTS):
        inputs[name] = [standard_artifacts.Model()]
        inputs[name][0].uri = f"/{name}/4"
    record_parts(bundle, inputs, interactions("data 4-code", 17))
    found = record_of(bundle, 4)
    assert found.artifacts == {**record(4).artifacts, "text_encoders": "/text_encoders/4",
                               "text_embeddings": "/text_embeddings/4"}  # fmt: skip
    write_record(found, str(tmp_path), "shop")
    previous = look_up(tmp_path, {}, day=20)
    assert previous.version == 4 and previous.artifacts == found.artifacts
