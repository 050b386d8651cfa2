import fcntl
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossrec.serving.releases.bundle import read_version
from crossrec.serving.releases.errors import LockTimeoutError
from crossrec.serving.releases.file_lock import file_lock
from crossrec.serving.releases.publish import LOCK_FILE, STAGING_PREFIX, publish
from crossrec.serving.releases.versions import list_versions
from tests.unit.serving.releases.make_bundle import contents


def _publish_some(bundle, root, count, queue):
    for _ in range(count):
        queue.put(publish(bundle, root, "shop").version)


def test_processes_get_numbers_of_their_own(bundle, root):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_publish_some, args=(bundle, root, 5, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    versions = sorted(queue.get(timeout=240) for _ in range(20))
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert versions == list(range(1, 21))
    expected = contents(bundle)
    for version in versions:
        path = root / "shop" / str(version)
        assert read_version(path) == version
        assert contents(path).keys() == expected.keys()
    assert not list((root / "shop").glob(STAGING_PREFIX + "*"))


def test_threads_get_numbers_of_their_own(bundle, root):
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: publish(bundle, root, "shop").version, range(24)))
    assert sorted(versions) == list(range(1, 25)) == list_versions(root / "shop")


def test_the_wait_for_the_lock_is_bounded_and_names_the_holder(bundle, root):
    (root / "shop").mkdir(parents=True)
    with file_lock(root / "shop" / LOCK_FILE, 0, "test"):
        started = time.monotonic()
        with pytest.raises(LockTimeoutError, match=r"locked by process \d+ on \S+ since .*0.3 seconds; wait"):
            publish(bundle, root, "shop", lock_timeout_seconds=0.3)
        assert 0.3 <= time.monotonic() - started < 30
    assert publish(bundle, root, "shop", lock_timeout_seconds=0.3).version == 1


def test_a_removed_lock_file_does_not_let_two_in(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path, 0, "first"):
        path.unlink()
        # The first holder's lock is on a file that is gone; whoever comes now locks the new file, alone.
        with file_lock(path, 0, "second"), pytest.raises(LockTimeoutError), file_lock(path, 0, "third"):
            pass


def test_a_lock_file_replaced_while_it_is_taken_is_not_the_lock(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    replaced = []

    def replace_first(descriptor, operation, flock=fcntl.flock):
        if not replaced:
            replaced.append(path.unlink())
            path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    with file_lock(path, 5, "first"), pytest.raises(LockTimeoutError), file_lock(path, 0, "second"):
        pass
    assert replaced


def test_a_version_is_whole_from_the_moment_it_is_visible(bundle, root):
    for number in range(300):
        (bundle / "assets" / f"vocabulary_{number}").write_text("a")
    expected = len(contents(bundle))
    target = root / "shop" / "1"
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(publish, bundle, root, "shop")
        while not target.exists():
            assert not published.done() or target.exists()
        seen = sum(len(files) for _, _, files in os.walk(target))
        published.result()
    assert seen == expected


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ValueError), file_lock(tmp_path / "lock", 0, "first"):
        raise ValueError
    with file_lock(tmp_path / "lock", 0, "second"):
        pass
