import os
import shutil
import stat

import pytest

from crossrec.serving.releases.bundle import read_version
from crossrec.serving.releases.errors import InvalidBundleError, ReleaseError
from crossrec.serving.releases.publish import STAGING_PREFIX, Published, publish
from crossrec.serving.releases.versions import HIGH_WATER_MARK, list_versions
from tests.unit.serving.releases.make_bundle import contents, make_bundle


def visible(model_dir):
    return sorted(p.name for p in model_dir.iterdir() if not p.name.startswith("."))


def test_first_version_holds_the_bundle_and_its_number(bundle, root):
    result = publish(bundle, root, "shop")
    assert result == Published(1, root / "shop" / "1")
    expected = contents(bundle) | {"assets/model_version.txt": b"version\t1\n"}
    assert contents(result.path) == expected
    assert read_version(result.path) == 1
    assert read_version(bundle) == 0, "the artifact itself must stay as it is"
    assert visible(root / "shop") == ["1"]


def test_versions_grow_past_the_highest_number_in_any_spelling(bundle, root):
    for name in ("3", "007", "not-a-version", "12x", ".staging-not-numeric-99"):
        (root / "shop" / name).mkdir(parents=True)
    assert publish(bundle, root, "shop").version == 8
    assert publish(bundle, root, "shop").version == 9


def test_the_number_of_a_deleted_version_does_not_come_back(bundle, root):
    for _ in range(3):
        publish(bundle, root, "shop")
    for version in (2, 3):
        shutil.rmtree(root / "shop" / str(version))
    assert publish(bundle, root, "shop").version == 4
    shutil.rmtree(root / "shop" / "4")
    shutil.rmtree(root / "shop" / "1")
    assert publish(bundle, root, "shop").version == 5


def test_models_count_separately(bundle, root):
    assert publish(bundle, root, "a").version == 1
    assert publish(bundle, root, "a").version == 2
    assert publish(bundle, root, "b").version == 1


def test_a_published_version_can_be_published_again(bundle, root):
    first = publish(bundle, root, "shop")
    second = publish(first.path, root, "shop")
    assert second.version == 2
    assert (read_version(first.path), read_version(second.path)) == (1, 2)


def test_finalize_sees_the_version_before_anyone_else_and_may_change_the_copy(bundle, root):
    seen = []

    def finalize(staged, version):
        seen.append((read_version(staged), version, visible(root / "shop")))
        (staged / "assets.extra" / "golden_requests").write_bytes(b"answers of version %d" % version)

    result = publish(bundle, root, "shop", finalize)
    assert seen == [(1, 1, [])]
    assert (result.path / "assets.extra" / "golden_requests").read_bytes() == b"answers of version 1"


def test_finalize_that_fails_or_breaks_the_bundle_publishes_nothing(bundle, root):
    def fail(staged, version):
        raise ValueError("golden answers differ")

    def break_it(staged, version):
        (staged / "saved_model.pb").unlink()

    with pytest.raises(ValueError, match="golden answers differ"):
        publish(bundle, root, "shop", fail)
    with pytest.raises(InvalidBundleError, match="saved_model.pb is missing"):
        publish(bundle, root, "shop", break_it)
    assert visible(root / "shop") == []
    assert not list((root / "shop").glob(STAGING_PREFIX + "*"))


def test_another_user_may_read_the_version(bundle, root):
    previous = os.umask(0o022)
    try:
        path = publish(bundle, root, "shop").path
    finally:
        os.umask(previous)
    for entry in [path, *path.rglob("*")]:
        mode = stat.S_IMODE(entry.stat().st_mode)
        assert mode == (0o755 if entry.is_dir() else 0o644), entry


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets/model_version.txt",
        "assets.extra/golden_requests",
    ],
)
def test_incomplete_bundle_is_refused_before_anything_is_made(bundle, root, name):
    (bundle / name).unlink()
    with pytest.raises(InvalidBundleError) as error:
        publish(bundle, root, "shop")
    assert str(bundle) in str(error.value)
    assert name.split("-")[0] in str(error.value)
    assert "export" in str(error.value)
    assert not root.exists()


def test_all_faults_of_a_bundle_are_named_at_once(bundle, root):
    (bundle / "saved_model.pb").unlink()
    (bundle / "variables" / "variables.index").write_bytes(b"")
    with pytest.raises(InvalidBundleError, match="saved_model.pb is missing.*variables.index is empty"):
        publish(bundle, root, "shop")


def test_missing_bundle_and_odd_entries_are_refused(bundle, root, tmp_path):
    with pytest.raises(InvalidBundleError, match="is not a directory"):
        publish(tmp_path / "nowhere", root, "shop")
    os.mkfifo(bundle / "assets" / "pipe")
    with pytest.raises(InvalidBundleError, match="pipe: is neither a file nor a directory"):
        publish(bundle, root, "shop")
    (bundle / "assets" / "pipe").unlink()
    (bundle / "assets" / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidBundleError, match="link: is a link to a directory"):
        publish(bundle, root, "shop")


def test_a_link_to_a_file_becomes_a_file(bundle, root, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"vocabulary")
    (bundle / "assets" / "items.txt").symlink_to(tmp_path / "elsewhere")
    path = publish(bundle, root, "shop").path / "assets" / "items.txt"
    assert not path.is_symlink()
    assert path.read_bytes() == b"vocabulary"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b", "-x", "é"])
def test_model_names_that_cannot_be_directories_are_refused(bundle, root, name):
    with pytest.raises(ReleaseError, match="model_name"):
        publish(bundle, root, name)
    assert not root.exists()


def test_remote_and_recursive_roots_are_refused(bundle):
    with pytest.raises(ReleaseError, match="serving_root: 'gs://bucket/x'.*mount"):
        publish(bundle, "gs://bucket/x", "shop")
    with pytest.raises(InvalidBundleError, match="publish elsewhere"):
        publish(bundle, bundle / "assets", "shop")


def test_a_file_in_the_way_is_named(bundle, root):
    root.write_text("not a directory")
    with pytest.raises(ReleaseError, match=r"serving_root.*(Not a directory|File exists).*try again"):
        publish(bundle, root, "shop")


def test_unreadable_high_water_mark_is_an_error_and_not_version_one(bundle, root):
    publish(bundle, root, "shop")
    for text in ("", "seven", "-1"):
        (root / "shop" / HIGH_WATER_MARK).write_text(text)
        with pytest.raises(ReleaseError, match=f"{HIGH_WATER_MARK}: holds '{text}'.*write that number"):
            publish(bundle, root, "shop")
    assert list_versions(root / "shop") == [1]


def test_the_largest_version_has_no_successor_and_larger_names_are_no_versions(bundle, root):
    (root / "shop" / str(2**63)).mkdir(parents=True)
    assert publish(bundle, root, "shop").version == 1
    (root / "shop" / str(2**63 - 1)).mkdir()
    with pytest.raises(ReleaseError, match="no next one"):
        publish(bundle, root, "shop")


def test_steps_are_reported_in_order(bundle, root):
    steps = []
    publish(bundle, root, "shop", lambda staged, version: None, on_step=steps.append)
    order = ["locked", "staged", "version_written", "finalized", "synced", "recorded", "renamed", "published"]
    assert [s for s in steps if s in order] == order
    assert {s[len("copied ") :] for s in steps if s.startswith("copied ")} == set(contents(bundle))


def test_leftovers_of_a_killed_publisher_are_removed(bundle, root):
    make_bundle(root / "shop" / f"{STAGING_PREFIX}123-dead")
    publish(bundle, root, "shop")
    assert not list((root / "shop").glob(STAGING_PREFIX + "*"))
