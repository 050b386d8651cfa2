"""JSON lines say the same as CSV and Parquet, and what is wrong with a line names file, line and mend."""

from __future__ import annotations

import gzip
import json

import pytest

from crossrec.components.errors import DataError
from crossrec.components.example_gen import json_lines
from crossrec.components.example_gen.checks import check_inputs
from crossrec.components.example_gen.config import RawColumn
from tests.unit.components.example_gen.support import (
    interactions_frame,
    items_frame,
    make_config,
    read_rows,
    run_interactions,
    run_items,
    write_tables,
)

ITEM_COLUMNS = (RawColumn(name="title", kind="string"), RawColumn(name="tags", kind="strings"))
COLUMNS = (RawColumn(name="price", kind="float"), RawColumn(name="device", kind="string"))
VECTOR = (RawColumn(name="vector", kind="floats", width=2),)


def write_lines(path, entries, compress=False):
    content = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()
    path.write_bytes(gzip.compress(content) if compress else content)


def refusal(tmp_path, content, columns=ITEM_COLUMNS):
    write_tables(tmp_path)
    (tmp_path / "items.jsonl").write_bytes(content)
    config = make_config(items={"path": "items.jsonl"})
    messages = set()
    for run in (
        lambda: check_inputs(config, str(tmp_path), columns),
        lambda: run_items(config, tmp_path, tmp_path / "out", columns),
    ):
        with pytest.raises(DataError) as caught:
            run()
        messages.add(str(caught.value))
    assert len(messages) == 1, "the check and the run say the same"
    return messages.pop()


@pytest.mark.parametrize("compress", [False, True])
def test_interactions_of_json_lines_are_those_of_csv(tmp_path, catalogue, compress):
    frame = interactions_frame()
    write_tables(tmp_path, frame)
    name = "lines.jsonl.gz" if compress else "lines.jsonl"
    # As JSON writes them: numbers as numbers, what is missing as null or not at all.
    entries = json.loads(frame.to_json(orient="records"))
    for number, entry in enumerate(entries):
        entry["clicked"] = bool(entry["clicked"])
        if not entry["device"]:
            entry.pop("device") if number % 2 else entry.update(device=None)
    write_lines(tmp_path / name, entries, compress)
    of_csv = run_interactions(make_config(), tmp_path, tmp_path / "csv", catalogue, COLUMNS)
    config = make_config(interactions={"path": name})
    check_inputs(config, str(tmp_path), ITEM_COLUMNS, COLUMNS)
    of_lines = run_interactions(config, tmp_path, tmp_path / "jsonl", catalogue, COLUMNS)
    for split in ("train", "validation", "test"):
        assert read_rows(of_lines, split) == read_rows(of_csv, split) != []


def test_lists_may_be_lists_or_separated_text(tmp_path):
    write_tables(tmp_path)
    entries = items_frame().to_dict("records")
    expected = read_rows(run_items(make_config(), tmp_path, tmp_path / "csv", ITEM_COLUMNS), "train")
    for name, split in (("text", False), ("lists", True)):
        lines = [{**entry, "tags": entry["tags"].split("|") if split else entry["tags"]} for entry in entries]
        write_lines(tmp_path / f"{name}.jsonl", lines)
        config = make_config(items={"path": f"{name}.jsonl"})
        assert read_rows(run_items(config, tmp_path, tmp_path / name, ITEM_COLUMNS), "train") == expected


def test_vectors_keep_their_numbers(tmp_path):
    write_lines(tmp_path / "items.jsonl", [{"item_id": 7, "vector": [0.1, -3]}, {"item_id": 8.0}, {"item_id": "9"}])
    config = make_config(items={"path": "items.jsonl"})
    rows = read_rows(run_items(config, tmp_path, tmp_path / "out", VECTOR), "train")
    assert [row["item_id"] for row in rows] == [["7"], ["8"], ["9"]]
    assert rows[0]["vector"] == pytest.approx([0.1, -3.0]) and "vector" not in rows[1]


def test_batches_join_to_the_whole_file(tmp_path, monkeypatch):
    write_lines(tmp_path / "items.jsonl", [{"item_id": f"i{number:02}", "title": number} for number in range(10)])
    config = make_config(items={"path": "items.jsonl"})
    whole = read_rows(run_items(config, tmp_path, tmp_path / "one", ITEM_COLUMNS[:1]), "train")
    monkeypatch.setattr(json_lines, "LINES", 3)
    assert read_rows(run_items(config, tmp_path, tmp_path / "many", ITEM_COLUMNS[:1]), "train") == whole
    assert [row["title"] for row in whole] == [[str(number)] for number in range(10)]


LINE = b'{"item_id": "a", "title": "x", "tags": "t"}\n'


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (LINE + b'{"item_id": "b",\n', ["line 2 of items.jsonl is not JSON", "one whole JSON object per line"]),
        (LINE + b"\n" + LINE, ["line 2 of items.jsonl is not JSON"]),
        (LINE + b"[1, 2]\n", ["line 2 of items.jsonl is [1, 2], not an object"]),
        (LINE + '{"item_id": "é"}\n'.encode("latin-1"), ["line 2 of items.jsonl is not UTF-8"]),
        (
            LINE + b'{"item_id": "b", "title": {"en": "y"}}\n',
            ["features.title: column 'title' holds", '{"en": "y"} in line 2 of items.jsonl', "Write text, numbers"],
        ),
        (LINE + b'{"item_id": "b", "title": "\\ud800"}\n', ["features.title", "line 2 of items.jsonl"]),
        (LINE + b'{"item_id": "b", "tags": ["t"]}\n', ["features.tags", "in line 1 of items.jsonl: other lines hold"]),
        (b'{"id": "a", "title": "x"}\n', ["data.items.item: column 'item_id' is not in items.jsonl (columns: id, "]),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_of(tmp_path, content, parts):
    if b'{"id"' in content:
        # Only the check knows that the file ends here; the run finds the id missing.
        write_tables(tmp_path)
        (tmp_path / "items.jsonl").write_bytes(content)
        with pytest.raises(DataError) as caught:
            check_inputs(make_config(items={"path": "items.jsonl"}), str(tmp_path), ITEM_COLUMNS)
        message = str(caught.value)
    else:
        message = refusal(tmp_path, content)
    for part in parts:
        assert part in message


def test_an_empty_last_line_and_a_byte_order_mark_are_no_mistakes(tmp_path):
    (tmp_path / "items.jsonl").write_bytes(b"\xef\xbb\xbf" + LINE + b"\n")
    write_tables(tmp_path)
    config = make_config(items={"path": "items.jsonl"})
    assert len(read_rows(run_items(config, tmp_path, tmp_path / "out", ITEM_COLUMNS), "train")) == 1


def test_a_key_that_comes_late_in_a_long_file_is_no_mistake(tmp_path, monkeypatch):
    lines = [{"item_id": f"i{number}"} for number in range(20)] + [{"item_id": "last", "title": "y", "tags": "t"}]
    write_lines(tmp_path / "items.jsonl", lines)
    write_tables(tmp_path, items=items_frame())
    config = make_config(items={"path": "items.jsonl"})
    check_inputs(config, str(tmp_path), ITEM_COLUMNS)
    rows = read_rows(run_items(config, tmp_path, tmp_path / "out", ITEM_COLUMNS), "train")
    assert [row["title"] for row in rows if "title" in row] == [["y"]]


def test_formats_are_not_mixed(tmp_path):
    write_tables(tmp_path)
    write_lines(tmp_path / "items.jsonl", [{"item_id": "a"}])
    with pytest.raises(DataError, match="holds CSV and JSON lines files .such as items.csv and items.jsonl"):
        check_inputs(make_config(items={"path": "items.*"}), str(tmp_path))
