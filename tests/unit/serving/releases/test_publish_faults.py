"""Kills, full disks and refusals at every step: nothing half published, and the next publisher succeeds."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from crossrec.serving.releases.bundle import read_version
from crossrec.serving.releases.errors import ReleaseError
from crossrec.serving.releases.publish import STAGING_PREFIX, publish
from crossrec.serving.releases.versions import HIGH_WATER_MARK, list_versions
from tests.unit.serving.releases.make_bundle import contents, make_bundle

# One child serves all kills: it forks a publisher for each step, which kills itself there.
KILLER = """
    import json, os, signal, sys
    from pathlib import Path
    from crossrec.serving.releases.publish import publish

    bundle, parent = Path(sys.argv[1]), Path(sys.argv[2])
    steps = []
    publish(bundle, parent / "whole", "shop", lambda staged, version: None, on_step=steps.append)
    for index, step in enumerate(steps):
        pid = os.fork()
        if pid == 0:
            def kill(name, step=step):
                if name == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            publish(bundle, parent / str(index), "shop", lambda staged, version: None, on_step=kill)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL, step
    print(json.dumps(steps))
"""


def run_python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        **options,
    )


def assert_only_whole_versions(model_dir, bundle):
    expected = contents(bundle)
    for version in list_versions(model_dir):
        found = contents(model_dir / str(version))
        assert found.pop("assets/model_version.txt") == b"version\t%d\n" % version
        assert found == {k: v for k, v in expected.items() if k != "assets/model_version.txt"}


def test_a_kill_at_every_step_leaves_all_or_nothing(bundle, tmp_path):
    result = run_python(KILLER, bundle, tmp_path)
    assert result.returncode == 0, result.stderr
    steps = json.loads(result.stdout)
    assert len(steps) > len(contents(bundle)) + 8
    for index, step in enumerate(steps):
        model_dir = tmp_path / str(index) / "shop"
        before = list_versions(model_dir)
        assert before == ([1] if step in ("renamed", "published") else []), step
        assert_only_whole_versions(model_dir, bundle)
        shutil.rmtree(model_dir / "1", ignore_errors=True)
        taken = (model_dir / HIGH_WATER_MARK).exists()
        # A number that may have been visible once never comes back; one that never was may be given.
        assert publish(bundle, tmp_path / str(index), "shop", lock_timeout_seconds=0).version == 1 + taken, step
        assert taken == (step in ("recorded", "renamed", "published")), step
        assert not list(model_dir.glob(STAGING_PREFIX + "*")), step


def test_kills_at_random_moments_leave_all_or_nothing(bundle, root):
    (bundle / "variables" / "variables.data-00000-of-00001").write_bytes(b"w" * 20_000_000)
    code = """
        import sys
        from crossrec.serving.releases.publish import publish
        print("ready", flush=True)
        while True:
            print(publish(sys.argv[1], sys.argv[2], "shop").version, flush=True)
    """
    highest = 0
    for trial in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(bundle), str(root)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(0.02 + 0.04 * trial)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        confirmed = [int(line) for line in process.stdout]
        process.wait()
        if (root / "shop").exists():
            assert set(confirmed) <= set(list_versions(root / "shop"))
            assert_only_whole_versions(root / "shop", bundle)
        published = publish(bundle, root, "shop", lock_timeout_seconds=0)
        assert published.version > max([highest, *confirmed])
        highest = published.version
        assert not list((root / "shop").glob(STAGING_PREFIX + "*"))
        for version in list_versions(root / "shop"):
            shutil.rmtree(root / "shop" / str(version))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes, for those who may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    result = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {result.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_too_little_space_is_seen_before_copying(small_disk, tmp_path):
    small = make_bundle(tmp_path / "small")
    large = make_bundle(tmp_path / "large", weight_bytes=3_000_000)
    publish(small, small_disk, "shop")
    steps = []
    with pytest.raises(ReleaseError) as error:
        publish(large, small_disk, "shop", on_step=steps.append)
    message = str(error.value)
    assert str(small_disk / "shop") in message
    needed, free = (int(part.split()[-1]) for part in message.split(" bytes")[:2])
    assert 3_000_000 < needed < 3_500_000 and 1_500_000 < free < 2_097_152
    assert "free at least" in message
    assert "staged" not in steps
    assert list_versions(small_disk / "shop") == [1]


def test_a_disk_that_fills_while_copying_leaves_nothing_behind(small_disk, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", weight_bytes=800_000)
    publish(make_bundle(tmp_path / "small"), small_disk, "shop")

    def fill(step):
        if step == "staged":
            with pytest.raises(OSError), open(small_disk / "filler", "wb", buffering=0) as file:
                while True:
                    assert file.write(b"x" * 65536) == 65536 or file.write(b"x")

    with pytest.raises(ReleaseError, match=r"No space left on device \(\d+ bytes needed, \d+ bytes free\); free"):
        publish(bundle, small_disk, "shop", on_step=fill)
    assert list_versions(small_disk / "shop") == [1]
    assert not list((small_disk / "shop").glob(STAGING_PREFIX + "*"))
    (small_disk / "filler").unlink()
    assert publish(bundle, small_disk, "shop").version == 2


def test_a_disk_that_is_full_at_the_last_write_publishes_nothing(small_disk, bundle):
    def fill(step):
        if step == "synced":
            with pytest.raises(OSError), open(small_disk / "filler", "wb", buffering=0) as file:
                while True:
                    assert file.write(b"x" * 4096)

    publish(bundle, small_disk, "shop")
    with pytest.raises(ReleaseError, match="No space left on device"):
        publish(bundle, small_disk, "shop", on_step=fill)
    assert list_versions(small_disk / "shop") == [1]
    (small_disk / "filler").unlink()
    assert publish(bundle, small_disk, "shop").version == 2


def test_a_file_size_limit_publishes_nothing(root, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", weight_bytes=2_000_000)
    code = """
        import sys
        from crossrec.serving.releases.publish import publish
        publish(sys.argv[1], sys.argv[2], "shop")
    """
    limit = (1_000_000, 1_000_000)
    result = run_python(code, bundle, root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "ReleaseError" in last and "variables.data-00000-of-00001: File too large" in last and "ulimit" in last
    assert list_versions(root / "shop") == []
    assert not list((root / "shop").glob(STAGING_PREFIX + "*"))
    assert publish(bundle, root, "shop").version == 1


@pytest.fixture
def open_dir():
    """A directory that every user can reach, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.mark.parametrize("locked_out_of", ["root", "model"])
def test_no_permission_is_named(bundle, locked_out_of, open_dir):
    bundle = shutil.copytree(bundle, open_dir / "bundle")
    root = open_dir / "serving_root"
    closed = root if locked_out_of == "root" else root / "shop"
    closed.mkdir(parents=True)
    closed.chmod(0o555)
    code = """
        import os, sys
        from crossrec.serving.releases.publish import publish
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        publish(sys.argv[1], sys.argv[2], "shop")
    """
    result = run_python(code, bundle, root)
    closed.chmod(0o755)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "ReleaseError" in last and str(closed) in last and "Permission denied" in last and "access" in last
    assert not (root / "shop").exists() or list_versions(root / "shop") == []


def test_an_interrupt_while_copying_leaves_nothing_behind(bundle, root):
    def interrupt(step):
        if step.startswith("copied"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(bundle, root, "shop", on_step=interrupt)
    assert not list((root / "shop").glob(STAGING_PREFIX + "*"))
    assert read_version(publish(bundle, root, "shop", lock_timeout_seconds=0).path) == 1
