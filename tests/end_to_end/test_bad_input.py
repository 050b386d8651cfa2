"""Bad input through the command line: exit code, words, time, and nothing left behind."""

import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import command, here, write_spec

ROWS = 3000
FUTURE = 4_000_000_000


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A small marketplace in CSV files, to be copied."""
    folder = tmp_path_factory.mktemp("tables") / "data"
    assert command("simulate", folder, "--rows", ROWS, "--format", "csv").returncode == 0
    return folder


@pytest.fixture
def attempt(tables, tmp_path, capfd):
    """Runs the command on a copy of the tables after an edit, and gives what it wrote to standard error.

    It must end with the code, say nothing but `expected` nodes on standard output, and publish nothing.
    """
    data, root = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tables, data)

    def run(edit=None, code=2, changes=None, nodes=(), spec=None):
        if edit is not None:
            edit(data)
        started = time.monotonic()
        spec = spec or write_spec(tmp_path / "spec.yaml", changes)
        done = here(capfd, "run", spec, "--data", data, "--root", root)
        assert done.returncode == code, done.stdout + done.stderr
        assert re.findall(r"^\[.*\] (\w+)", done.stdout, re.M) == list(nodes)
        assert not (root / "serving").exists()
        assert "Traceback" not in done.stdout + done.stderr
        if nodes:
            assert Lineage.read(root).of(nodes[-1])[-1].state == "FAILED"
        else:
            assert not root.exists()
            assert time.monotonic() - started < 60
        return done.stderr

    return run


def interactions_file(data):
    (file,) = (data / "interactions").iterdir()
    return file


def edit_interactions(column, value, rows=slice(None)):
    def edit(data):
        frame = pd.read_csv(interactions_file(data), dtype=str, keep_default_na=False)
        frame.loc[frame.index[rows], column] = value
        frame.to_csv(interactions_file(data), index=False)

    return edit


def edit_items(change):
    def edit(data):
        change(pd.read_csv(data / "items.csv", dtype=str, keep_default_na=False)).to_csv(
            data / "items.csv", index=False
        )

    return edit


def set_item(column, value):
    return edit_items(lambda frame: frame.assign(**{column: [value, *frame[column][1:]]}))


def without(column):
    return edit_items(lambda frame: frame.drop(columns=column))


def no_items(data):
    (data / "items.csv").unlink()


def no_interactions(data):
    shutil.rmtree(data / "interactions")


def no_clicks(data):
    frame = pd.read_csv(interactions_file(data), dtype=str, keep_default_na=False)
    frame.drop(columns="clicked").to_csv(interactions_file(data), index=False)


def no_bytes(data):
    (data / "items.csv").write_text("")


def break_encoding(data):
    text = (data / "items.csv").read_bytes().split(b"\n")
    text[3] = text[3].replace(b",", b",caf\xe9 ", 1)
    (data / "items.csv").write_bytes(b"\n".join(text))


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        pytest.param(no_items, ["data.items.path", "'items.*'", "Mend"], id="no file"),
        pytest.param(no_interactions, ["data.interactions.path", "'interactions'", "Mend"], id="no folder"),
        pytest.param(without("brand"), ["brand", "items.csv", "column"], id="no column"),
        pytest.param(no_clicks, ["data.interactions.labels", "'clicked'"], id="no label column"),
        pytest.param(set_item("price", "cheap"), ["price", "'cheap'", "not a number", "row 1"], id="a word as number"),
        pytest.param(
            edit_interactions("timestamp", "soon", 4),
            ["data.interactions.timestamp", "'soon'", "row 5", "ISO-8601"],
            id="a word as time",
        ),
        pytest.param(no_bytes, ["data.items.path", "items.csv is an empty file"], id="no bytes"),
        pytest.param(
            edit_items(lambda frame: frame[:0]),
            ["data.items.path", "header but no rows"],
            id="header only",
        ),
        pytest.param(set_item("price", "inf"), ["price", "infinite", "row 1", "Replace"], id="infinite"),
        pytest.param(set_item("price", "-1e39"), ["price", "infinite", "row 1", "Replace"], id="too large"),
        pytest.param(
            edit_interactions("timestamp", str(FUTURE), 7),
            ["data.interactions.timestamp", "future", str(FUTURE), "row 8"],
            id="future",
        ),
        pytest.param(break_encoding, ["'title'", "UTF-8", "row 3 of items.csv"], id="not UTF-8"),
        pytest.param(
            edit_interactions("clicked", "2", 3),
            ["data.interactions.labels", "'clicked'", "'2'", "row 4"],
            id="label 2",
        ),
        pytest.param(edit_interactions("user_id", "", 3), ["data.interactions.user", "missing", "row 4"], id="no user"),
    ],
)
def test_what_the_first_rows_show_is_refused_before_anything_runs(attempt, edit, parts):
    message = attempt(edit)
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("edit", "nodes", "parts"),
    [
        pytest.param(
            edit_items(lambda frame: pd.concat([frame, frame[5:7]])),
            ["ItemsExampleGen"],
            ["data.items.item", "2 rows", "duplicates: first"],
            id="duplicate items",
        ),
        pytest.param(
            edit_interactions("item_id", "nowhere", slice(2000, 2003)),
            ["ItemsExampleGen", "InteractionsExampleGen"],
            ["data.interactions.item", "3 rows", "'nowhere'", "unknown_items: drop"],
            id="unknown item",
        ),
        pytest.param(
            edit_interactions("clicked", "0"),
            ["ItemsExampleGen", "InteractionsExampleGen"],
            ["data.interactions.labels", "'clicked' is 0 in all 3,000 rows", "both kinds"],
            id="equal labels",
        ),
        pytest.param(
            edit_interactions("user_id", "me"),
            ["ItemsExampleGen", "InteractionsExampleGen"],
            ["data.interactions.user", "one user, 'me'", "more users"],
            id="one user",
        ),
        pytest.param(
            edit_interactions("price_max", "inf", 2500),
            ["ItemsExampleGen", "InteractionsExampleGen"],
            ["price_max", "infinite", "row 2501", "Replace"],
            id="infinite, late",
        ),
        pytest.param(
            edit_interactions("timestamp", str(FUTURE), 2500),
            ["ItemsExampleGen", "InteractionsExampleGen"],
            ["data.interactions.timestamp", "future", str(FUTURE), "row 2501"],
            id="future, late",
        ),
    ],
)
def test_what_only_all_rows_show_stops_the_first_nodes(attempt, edit, nodes, parts):
    message = attempt(edit, nodes=nodes)
    assert message.strip().startswith(f"{nodes[-1]} failed.\n")
    for part in parts:
        assert part in message, message


def test_missing_values_of_every_kind_went_through_the_whole_pipeline(marketplace_run):
    """NaN is a missing value; a run that learned from such data was published, and `test_parity` sends them."""
    files = sorted((marketplace_run.data / "interactions").iterdir())
    frame = pd.concat([pd.read_parquet(file) for file in files])
    items = pd.read_parquet(marketplace_run.data / "items.parquet")
    assert np.isnan(frame.price_max).any() and np.isnan(items.price).any()
    assert frame.user_segment.isna().any() and items.brand.isna().any()
    assert (frame.device == "").any() and (items.category == "").any()
    assert (frame.interests.map(len) == 0).any() and (items.tags.map(len) == 0).any()
    assert marketplace_run.code == 0


@pytest.mark.parametrize(
    ("changes", "field", "parts"),
    [
        ({"name": "My Shop"}, "name", ["My Shop"]),
        ({"data.interactions.user": None}, "data.interactions.user", ["missing. Add it"]),
        ({"data.split": {"validation": 0.6, "test": 0.6}}, "data.split", ["0.6", "sum to less than 1"]),
        ({"data.history": None}, "features.query.recent_items", ["Add 'data.history"]),
        ({"validation": {"item_schema": "x"}}, "validation.item_schema", ["Did you mean 'items_schema'?"]),
        ({"features.item.price.type": "number"}, "features.item.price", ["number", "numeric"]),
        ({"features.query.device.vocab": {}}, "features.query.device.vocab", ["unknown key", "vocabulary"]),
        (
            {"crosses.explicit.0.inputs": ["user_segment", "colour"]},
            "crosses.explicit.0.inputs",
            ["'colour'", "not a feature"],
        ),
        ({"crosses.explicit.0.inputs": ["price", "category"]}, "crosses.explicit.0.inputs", ["'price'", "'buckets'"]),
        ({"retrieval.query.features": ["user_id", "brand"]}, "retrieval.query.features", ["'brand'", "other side"]),
        ({"retrieval.loss": {"temperature": 0}}, "retrieval.loss.temperature", ["0", "greater than 0"]),
        ({"ranking.tasks.0.label": "bought"}, "ranking.tasks.0.label", ["'bought'", "clicked, purchased"]),
        ({"ranking.training.epochs": "many"}, "ranking.training.epochs", ["'many'", "integer"]),
        ({"evaluation.k": [10, 50]}, "evaluation.k", ["50", "list_size 20", "Raise list_size or lower k"]),
        (
            {"evaluation.thresholds": [{"metric": "end_to_end/ncdg@10", "minimum": 0}]},
            "evaluation.thresholds.0.metric",
            ["'end_to_end/ncdg@10'", "Did you mean 'end_to_end/ndcg@10'?"],
        ),
        ({"serving.candidates": 5}, "serving.candidates", ["5", "list_size 20"]),
        ({"serving.model_name": "../up"}, "serving.model_name", ["../up"]),
    ],
)
def test_a_spec_error_in_any_section_names_field_value_and_mend(attempt, changes, field, parts):
    message = attempt(changes=changes)
    (line,) = [line for line in message.splitlines() if line.strip().startswith(f"{field}")]
    for part in parts:
        assert part in line, message


def test_all_problems_of_a_spec_are_told_at_once(attempt):
    message = attempt(
        changes={"serving.candidates": 5, "evaluation.k": [10, 50], "crosses.explicit.0.inputs": ["device", "x"]}
    )
    assert len(message.strip().splitlines()) >= 4
    assert "problems" in message.splitlines()[0]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["no such file", "marketplace"]),
        (b"", ["holds NoneType", "name:"]),
        (b"name: [a", ["is not YAML", "line 1"]),
        (b"name: caf\xe9", ["cannot be read", "UTF-8"]),
        (b"name: a\nname: b", ["'name' is given twice", "line 2"]),
        (b"- a\n- b", ["holds list", "name:"]),
    ],
)
def test_a_spec_that_cannot_be_read(attempt, tmp_path, content, parts):
    spec = tmp_path / "bad.yaml"
    if content is not None:
        spec.write_bytes(content)
    message = attempt(spec=spec)
    for part in ["bad.yaml", *parts]:
        assert part in message, message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["is no file"]),
        (b"feature { name: 7 }", ["is no schema"]),
        (b"", ["describes no feature"]),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_before_anything_runs(attempt, content, parts):
    def edit(data):
        if content is not None:
            (data / "schema.pbtxt").write_bytes(content)

    message = attempt(edit, changes={"validation": {"items_schema": "schema.pbtxt"}})
    for part in ["validation.items_schema", "schema.pbtxt", "tensorflow.metadata.v0.Schema", *parts]:
        assert part in message, message


def test_data_against_the_user_s_schema_stop_the_run_and_an_edit_of_the_schema_is_seen(tables, tmp_path, capfd):
    data, root = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tables, data)
    spec = write_spec(tmp_path / "spec.yaml", {"validation": {"items_schema": "schema.pbtxt"}})
    for kind in ("BYTES", "INT"):
        types = {"item_id": "BYTES", "title": "BYTES", "category": "BYTES", "brand": "BYTES", "tags": "BYTES"}
        lines = [f'feature {{ name: "{name}" type: {type_} }}' for name, type_ in {**types, "price": kind}.items()]
        (data / "schema.pbtxt").write_text("\n".join(lines))
        done = here(capfd, "run", spec, "--data", data, "--root", root)
        assert done.returncode == 2, done.stdout + done.stderr
        for part in ("ItemsExampleValidator failed", "data.items", "'price'", kind, "FLOAT", "validation section"):
            assert part in done.stderr, done.stderr
    assert done.stdout.count("unchanged, taken from the last run") >= 3
    assert not (root / "serving").exists()


@pytest.mark.parametrize("root", ["a_file", "a_file/below", "/proc/crossrec"])
def test_a_root_that_cannot_be_written(tables, tmp_path, capfd, root):
    (tmp_path / "a_file").write_text("")
    spec = write_spec(tmp_path / "spec.yaml")
    path = tmp_path / root
    done = here(capfd, "run", spec, "--data", tables, "--root", path)
    assert done.returncode == 2
    assert f"--root {path}: cannot be written" in done.stderr and "Name a folder" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_the_real_command_refuses_on_standard_error_alone(tables, tmp_path):
    spec = write_spec(tmp_path / "spec.yaml")
    done = command("run", spec, "--data", tmp_path / "nowhere", "--root", tmp_path / "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("data.interactions.path: 'interactions' is neither a file nor a directory")
    assert "nowhere" in done.stderr and "data.items.path" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_check_runs_nothing(tables, tmp_path, capfd):
    spec = write_spec(tmp_path / "spec.yaml")
    done = here(capfd, "run", spec, "--data", tables, "--root", tmp_path / "run", "--check")
    assert done.returncode == 0
    assert done.stdout == f"{spec}: spec and data are fine\n"
    assert not (tmp_path / "run").exists()


def test_verbose_leaves_the_libraries_on_the_terminal(tables, tmp_path, capfd):
    data = tmp_path / "data"
    shutil.copytree(tables, data)
    edit_items(lambda frame: pd.concat([frame, frame]))(data)
    done = here(
        capfd, "run", write_spec(tmp_path / "spec.yaml"), "--data", data, "--root", tmp_path / "run", "--verbose"
    )
    assert done.returncode == 2
    assert "data.items.item" in done.stderr
    assert "Traceback" in done.stderr
