"""A newer catalogue in a finished run's release: what answers, what is gone, what stays as it was."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from crossrec.components.catalogue_update.changes import CatalogueChanges
from crossrec.components.features.item_table import ItemTable
from crossrec.components.properties import CATALOGUE, MODELS_FROM
from crossrec.components.warm_start.records import PARTS, read_records
from crossrec.serving.contract.tensors import to_array
from crossrec.serving.releases.versions import HIGH_WATER_MARK, list_versions
from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import COMMAND, Run, here, lines_of, write_spec
from tests.end_to_end.raw_rows import as_request, read_rows
from tests.unit.serving.releases.serving_fleet import Server, bare_config
from tests.unit.serving.serve_here import Caller

ROWS = 200
DEPTH = 200


@dataclass(frozen=True)
class Shop:
    """A copy of the finished run, with a catalogue of its own.

    Attributes:
        run: The run that it is a copy of.
        root: Root of the copy.
        data: Folder of its catalogue.
        spec: The spec's file.
    """

    run: Run
    root: Path
    data: Path
    spec: Path

    @property
    def model(self) -> Path:
        return self.root / "serving" / "recommender"

    @property
    def items(self) -> Path:
        return self.data / "items.parquet"

    def arguments(self, *more: object) -> list[object]:
        return ["reindex", self.spec, "--data", self.data, "--root", self.root, *more]

    def uri(self, node: str, output: str) -> str:
        """Where the latest execution of a node that ended well put an output."""
        made = [found for found in Lineage.read(self.root).of(node) if found.state == "COMPLETE"]
        return str(made[-1].outputs[output].uri)


@pytest.fixture(scope="module")
def shop(marketplace_run, tmp_path_factory) -> Shop:
    """Tests of the run itself count its versions, so this one gets a root of its own."""
    folder = tmp_path_factory.mktemp("reindex")
    root = folder / "run"
    shutil.copytree(marketplace_run.root, root)
    for name in map(str, list_versions(root / "serving" / "recommender")[1:]):
        shutil.rmtree(root / "serving" / "recommender" / name)
        (root / "serving" / "recommender" / ".lineage" / f"{name}.json").unlink()
    (root / "serving" / "recommender" / HIGH_WATER_MARK).unlink()
    with sqlite3.connect(root / "metadata.sqlite") as database:
        old, new = str(marketplace_run.root), str(root)
        database.execute("UPDATE Artifact SET uri = replace(uri, ?, ?)", (old, new))
    for record in (root / "serving").glob("*/.lineage/*.json"):
        record.write_text(record.read_text().replace(old, new))
    (folder / "data").mkdir()
    shutil.copy(marketplace_run.data / "items.parquet", folder / "data")
    return Shop(marketplace_run, root, folder / "data", marketplace_run.spec)


@pytest.fixture(scope="module")
def rows(marketplace_run):
    return read_rows(marketplace_run.uris["InteractionsExampleGen"]["examples"], "test", ROWS)


def ask(version: Path, rows, schema, signature, **more):
    """Answers of a version to requests, in this process."""
    inputs = {**as_request(rows, schema), "exclude_items": np.zeros([len(rows), 0], object)}
    if "candidate_items" in more:
        del inputs["exclude_items"]
    function = tf.saved_model.load(str(version)).signatures[signature]
    answer = function(**{name: tf.constant(values) for name, values in {**inputs, **more}.items()})
    return {name: values.numpy() for name, values in answer.items()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def capture():
    """Runs the command in this process; `capfd` is of single tests only."""

    def run(*arguments):
        capfd = SimpleNamespace(readouterr=lambda: ("", ""))
        return here(capfd, *arguments).returncode

    return run


@pytest.fixture(scope="module")
def same(shop, capture) -> Path:
    """The same catalogue once more, as version 2."""
    assert capture(*shop.arguments("--always")) == 0
    return shop.model / "2"


def test_the_same_catalogue_gives_the_same_answers(shop, same, rows, trained):
    for signature in ("recommend", "retrieve"):
        before = ask(shop.model / "1", rows, trained.schema, signature)
        after = ask(same, rows, trained.schema, signature)
        assert before.pop("model_version").tolist() == [1] * ROWS and after.pop("model_version").tolist() == [2] * ROWS
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values)


def test_the_catalogue_is_transformed_in_memory_as_the_run_did_on_beam(shop, same, trained):
    table = ItemTable.read(shop.uri("CatalogueUpdate", "item_table"))
    assert table.ids.tolist() == trained.table.ids.tolist() and table.removed is None
    np.testing.assert_array_equal(table.frequencies, trained.table.frequencies)
    assert table.features.keys() == trained.table.features.keys()
    for name, values in trained.table.features.items():
        np.testing.assert_array_equal(table.features[name], values)
        assert table.features[name].dtype == values.dtype
    assert table.display["title"].tolist() == trained.table.display["title"].tolist()


def test_the_release_says_where_its_models_come_from(shop, same):
    latest, first = read_records(str(shop.root / "serving"), "recommender")
    assert (latest.version, latest.models_from, first.models_from, first.catalogue) == (2, 1, 0, "")
    assert len(latest.catalogue) == 64 and latest.trained_until == first.trained_until
    assert latest.fingerprint == first.fingerprint
    lineage = Lineage.read(shop.root)
    bundle = lineage.of("ServingBundle")[-1].outputs["bundle"]
    assert bundle.custom_properties[MODELS_FROM].int_value == 1
    assert bundle.custom_properties[CATALOGUE].string_value == latest.catalogue
    ancestors = lineage.ancestors(bundle.id)
    trained: dict[str, int] = {}
    for node in lineage.nodes:
        for key in set(PARTS) & set(node.outputs):
            if node.outputs[key].uri == first.artifacts[key]:
                trained[key] = node.outputs[key].id
    assert trained.keys() == set(PARTS) and set(trained.values()) <= ancestors
    published = lineage.of("Publisher")[-1].outputs["published"]
    assert published.custom_properties["release_label"].string_value == "reindex of version 1"


@dataclass(frozen=True)
class Changed:
    """What was changed in the catalogue, by item id, and what came of it."""

    removed: str
    repriced: str
    twins: tuple[str, str]
    like: str
    withdrawn: set[str]
    files: dict[str, bytes]
    killed: list[int]


@pytest.fixture(scope="module")
def changed(shop, same, rows, trained, tmp_path_factory, capture) -> Changed:
    """Version 3: an item gone, one with another price, two new ones with the content of one, a new filter column."""
    before = files_of(shop.model / "1")
    lists = ask(same, rows, trained.schema, "retrieve")["item_ids"].astype(str)
    names, counts = np.unique(lists, return_counts=True)
    popular = names[np.argsort(-counts)]
    frame = pd.read_parquet(shop.items)
    priced = frame.item_id.isin(frame.item_id[frame.price.notna()])
    removed, like = str(popular[0]), str(popular[1])
    repriced = next(str(item) for item in popular[2:] if priced[frame.item_id == item].all())
    twins = frame[frame.item_id == like].iloc[[0, 0]].assign(item_id=["new-1", "new-2"])
    frame.loc[frame.item_id == repriced, "price"] *= 3.0
    frame = pd.concat([frame[frame.item_id != removed], twins]).reset_index(drop=True)
    frame["available"] = np.where(np.arange(len(frame)) % 3 == 0, "no", "yes")
    frame.loc[frame.item_id.isin(["new-1", "new-2"]), "available"] = "yes"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), shop.items)
    spec = write_spec(tmp_path_factory.mktemp("spec") / "spec.yaml", {"index": {"filters": ["available"]}})
    object.__setattr__(shop, "spec", spec)
    process = subprocess.Popen([*COMMAND, *map(str, shop.arguments())], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "ServingBundle" in line or "RecallGate" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = list_versions(shop.model)
    assert capture(*shop.arguments()) == 0
    withdrawn = set(frame.item_id[frame.available == "no"])
    return Changed(removed, repriced, ("new-1", "new-2"), like, withdrawn, before, killed)


def everything(count):
    return np.full([count, 0], "", object)


def test_a_killed_reindex_leaves_the_former_state(shop, changed):
    assert changed.killed == [1, 2]
    assert list_versions(shop.model) == [1, 2, 3] and not list(shop.model.glob(".staging*"))


def test_a_removed_item_is_never_returned(shop, changed, rows, trained):
    none = {"filter_available": everything(ROWS)}
    for signature in ("recommend", "retrieve"):
        found = ask(shop.model / "3", rows, trained.schema, signature, **none)["item_ids"].astype(str)
        assert changed.removed not in found and "" not in found
        former = ask(shop.model / "2", rows, trained.schema, signature)["item_ids"].astype(str)
        assert changed.removed in former


def test_a_removed_item_is_ranked_as_one_of_which_nothing_is_known(shop, changed, rows, trained):
    candidates = np.array([[changed.removed, "nobody knows it", changed.like]] * ROWS, object)
    scores = ask(shop.model / "3", rows, trained.schema, "rank", candidate_items=candidates)["scores"]
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])
    assert np.abs(scores[:, 0] - scores[:, 2]).max() > 1e-4


def test_new_items_are_found_by_their_content(shop, changed, rows, trained):
    found = ask(shop.model / "3", rows, trained.schema, "retrieve", filter_available=everything(ROWS))
    items, scores = found["item_ids"].astype(str), found["scores"]
    new = [items == twin for twin in changed.twins]
    assert new[0].any()
    # Equal content has equal scores, so that both are there or one was cut.
    both = new[0].any(1) & new[1].any(1)
    assert both.any()
    np.testing.assert_allclose(scores[both][new[0][both]], scores[both][new[1][both]], rtol=1e-5)
    like = ItemTable.read(shop.uri("CatalogueUpdate", "item_table"))
    place = {item: row for row, item in enumerate(like.ids)}
    first, model = place[changed.twins[0]], place[changed.like]
    for name, values in like.features.items():
        expected = [[1]] if name == "item_id" else values[model : model + 1]
        np.testing.assert_allclose(values[first : first + 1], expected, rtol=1e-5)


def test_another_price_changes_the_scores_of_its_item_only(shop, changed, rows, trained):
    others = [item for item in trained.table.ids[:40] if item not in (changed.repriced, changed.removed)]
    candidates = np.array([[changed.repriced, *others]] * ROWS, object)
    before, after = (
        ask(shop.model / version, rows, trained.schema, "rank", candidate_items=candidates)["scores"]
        for version in ("2", "3")
    )
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
    assert (after[:, 0] != before[:, 0]).mean() > 0.5
    now, former = ItemTable.read(shop.uri("CatalogueUpdate", "item_table")), trained.table
    row = former.ids.tolist().index(changed.repriced)
    differing = {
        name: np.flatnonzero((values[: former.items] != former.features[name][:-1]).any(1)).tolist()
        for name, values in now.features.items()
    }
    assert differing["price"] == [row]
    # Others are the price in buckets, as the search for crosses sees it.
    assert all(name.startswith("price") for name, found in differing.items() if found)


def test_availability_is_a_filter_that_the_models_never_saw(shop, changed, rows, trained):
    wanted = np.full([ROWS, 1], "yes", object)
    found = ask(shop.model / "3", rows, trained.schema, "retrieve", filter_available=wanted)["item_ids"].astype(str)
    assert found.shape == (ROWS, DEPTH) and "" not in found
    assert not changed.withdrawn & set(found.reshape(-1))


def test_the_figures_name_what_changed(shop, changed):
    changes = CatalogueChanges.read(shop.uri("CatalogueUpdate", "item_table"))
    assert (changes.new, changes.removed, changes.changed) == (2, 1, 1)
    assert changes.examples == {
        "new": changed.twins,
        "removed": (changed.removed,),
        "changed": (changed.repriced,),
    }
    assert changes.columns["price"] == 1
    # The models are those of the run, also where the catalogue before was a newer one already.
    assert [record.models_from for record in read_records(str(shop.root / "serving"), "recommender")] == [1, 1, 0]


def test_older_versions_stay_as_they_were(shop, changed):
    assert files_of(shop.model / "1") == changed.files == files_of(shop.run.version)


def test_the_former_catalogue_comes_back_by_a_rollback(shop, changed, rows, trained, capfd):
    server = Server(shop.root / "serving")
    server.start(bare_config(shop.root / "serving", [2], "recommender"))
    try:
        caller, request = Caller(server.target, "recommender"), as_request(rows[:5], trained.schema)
        exclude = {"exclude_items": np.zeros([5, 0], object)}
        release = ["release", "--root", shop.root]
        replica = ["--replica", server.target, "--requests", 0, "--memory-limit", "20G"]
        for arguments in (
            ["configure", *replica],
            ["promote", 2],
            ["promote", 3],
            ["rollback", "--reason", "the former prices"],
        ):
            done = here(capfd, release[0], *arguments, *release[1:])
            assert done.returncode == 0, done.stdout + done.stderr
        answer = caller.predict({**request, **exclude}, "recommend", label="stable")
        assert answer.model_spec.version.value == 2
        expected = ask(shop.model / "2", rows[:5], trained.schema, "recommend")
        assert to_array(answer.outputs["item_ids"]).tolist() == expected["item_ids"].tolist()
    finally:
        server.stop()


def test_without_changes_nothing_is_published(shop, changed, capfd):
    done = here(capfd, *shop.arguments())
    assert done.returncode == 0 and "Nothing has changed since version 3; nothing is published" in done.stdout
    assert "version 3, whose models are those of version 1" in done.stdout
    assert list_versions(shop.model) == [1, 2, 3]


def test_a_dry_run_tells_and_writes_nothing(shop, changed, capfd, tmp_path):
    frame = pd.read_parquet(shop.items)
    pq.write_table(pa.Table.from_pandas(frame.iloc[5:], preserve_index=False), tmp_path / "items.parquet")
    before = {path: path.stat().st_mtime_ns for path in shop.root.rglob("*") if "/logs" not in str(path)}
    arguments = ["reindex", shop.spec, "--data", tmp_path, "--root", shop.root, "--dry-run"]
    done = here(capfd, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{len(frame) - 5:,} items: 0 new, 5 removed, 0 changed" in done.stdout
    assert lines_of(done.stdout, "removed") == [f"removed  such as {', '.join(frame.item_id[:5])}"]
    after = {path: path.stat().st_mtime_ns for path in shop.root.rglob("*") if "/logs" not in str(path)}
    assert after == before


def test_a_catalogue_with_mistakes_publishes_nothing_and_names_them(shop, changed, capfd, tmp_path):
    table = pq.read_table(shop.items)
    first = table.column("item_id")[0].as_py()
    for broken, told in (
        (
            pa.concat_tables([table, table.slice(0, 1)]),
            f"data.items.item: 1 row too many: several rows have one item id, such as '{first}'",
        ),
        (table.drop(["brand"]), "features.brand: column 'brand' is not in items.parquet"),
    ):
        pq.write_table(broken, tmp_path / "items.parquet")
        for more in ((), ("--dry-run",)):
            done = here(capfd, "reindex", shop.spec, "--data", tmp_path, "--root", shop.root, *more)
            assert done.returncode == 2 and told in done.stderr, done.stderr
    assert list_versions(shop.model) == [1, 2, 3]


def test_features_that_the_models_do_not_have_are_refused(shop, changed, capfd, tmp_path):
    spec = write_spec(tmp_path / "spec.yaml", {"features.item.price.log": False})
    done = here(capfd, "reindex", spec, "--data", shop.data, "--root", shop.root)
    assert done.returncode == 2
    assert "features.item.price: was another one when the models of version 3 were trained" in done.stderr
    done = here(capfd, "reindex", shop.spec, "--data", shop.data, "--root", shop.root, "--version", 9)
    assert done.returncode == 2 and "--version: 9 is no release with a record. Name one of 3, 2, 1" in done.stderr
    done = here(capfd, "reindex", shop.spec, "--data", shop.data, "--root", tmp_path / "nowhere")
    assert done.returncode == 2 and "no run has been there" in done.stderr
