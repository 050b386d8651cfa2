"""Exposure records: whole lines on disk, nothing in the way of a request, losses counted."""

import collections
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from crossrec.serving.experiments import Exposure, ExposureFiles, ExposureLog
from tests.unit.serving.serve_here import until

ALLOCATION = "stable=0.5,canary=0.5;e"


def exposure(unit="u1", **fields):
    return Exposure("e", "canary", unit, 1.5, ALLOCATION, **fields)


def lines(folder):
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        assert not data or data.endswith(b"\n")
        found += [json.loads(line) for line in data.splitlines()]
    return found


def test_a_line_holds_what_is_known():
    assert json.loads(exposure("naïve ☃\n", model_version=7, request_id="r").line()) == {
        "experiment": "e", "arm": "canary", "unit": "naïve ☃\n", "time": 1.5, "allocation": ALLOCATION,
        "model_version": 7, "request_id": "r",
    }  # fmt: skip
    failed = json.loads(exposure(fallback=True, error="UNAVAILABLE").line())
    assert (failed["model_version"], failed["fallback"], failed["error"]) == (0, True, "UNAVAILABLE")
    assert exposure("naïve ☃\n").line().isascii() and "\n" not in exposure("a\nb").line()


def test_records_arrive_without_being_asked_for(tmp_path):
    with ExposureLog(tmp_path, flush_seconds=0.02) as log:
        log.record(exposure())
        until(lambda: lines(tmp_path) == [json.loads(exposure().line())])


def test_close_writes_everything_and_later_records_are_counted_as_lost(tmp_path):
    log = ExposureLog(tmp_path, flush_seconds=3600)
    for number in range(2500):
        log.record(exposure(f"u{number}"))
    log.close()
    log.close()
    assert [line["unit"] for line in lines(tmp_path)] == [f"u{number}" for number in range(2500)]
    log.record(exposure())
    assert log.dropped == 1


def test_the_end_of_the_program_writes_the_rest(tmp_path):
    code = (
        "import sys; from crossrec.serving.experiments import *\n"
        "log = ExposureLog(sys.argv[1], flush_seconds=3600)\n"
        "log.record(Exposure('e', 'a', 'u1', 1.0, 'x'))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    assert [line["unit"] for line in lines(tmp_path)] == ["u1"]


def test_a_full_queue_drops_counts_and_tells(tmp_path, caplog):
    log = ExposureLog(tmp_path, max_waiting=10, flush_seconds=3600)
    begin = time.perf_counter()
    for number in range(1000):
        log.record(exposure(f"u{number}"))
    assert time.perf_counter() - begin < 30
    assert log.dropped == 990
    with caplog.at_level(logging.ERROR, "crossrec.serving.experiments"):
        log.close()
    written = lines(tmp_path)
    assert [line["unit"] for line in written[:-1]] == [f"u{number}" for number in range(10)]
    assert written[-1]["dropped"] == 990
    assert "990 exposure records are lost" in caplog.text and len(caplog.records) == 1


def test_a_sink_that_fails_or_hangs_touches_nobody(caplog):
    hanging = threading.Event()
    calls = []

    def sink(batch):
        calls.append(len(batch))
        if len(calls) == 1:
            raise OSError("no space left")
        hanging.wait(60)

    log = ExposureLog(sink, max_waiting=100, flush_seconds=0.01)
    log.record(exposure())
    until(lambda: "no space left" in caplog.text)
    assert log.dropped == 1
    log.record(exposure())
    until(lambda: len(calls) == 2)
    begin = time.perf_counter()
    for _ in range(150):
        log.record(exposure())
    assert time.perf_counter() - begin < 30
    assert log.dropped == 51
    hanging.set()
    log.close()
    assert sum(calls[1:]) == 101


def test_records_go_to_a_function_in_batches():
    got = []
    with ExposureLog(got.append, flush_seconds=3600) as log:
        for number in range(1500):
            log.record(exposure(f"u{number}"))
    assert [len(batch) for batch in got] == [1000, 500]
    assert got[0][0] == exposure("u0")


def test_threads_share_a_log_and_nothing_is_lost(tmp_path):
    with ExposureLog(tmp_path, flush_seconds=0.001) as log:

        def work(name):
            for number in range(500):
                log.record(exposure(f"{name}-{number}"))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert log.dropped == 0
    units = [line["unit"] for line in lines(tmp_path)]
    assert len(units) == len(set(units)) == 4000
    for name in range(8):
        own = [unit for unit in units if unit.startswith(f"{name}-")]
        assert own == [f"{name}-{number}" for number in range(500)]


def test_a_full_file_is_followed_by_another(tmp_path):
    files = ExposureFiles(tmp_path, max_file_bytes=1000)
    for number in range(30):
        files.write([exposure(f"u{number}")], 0)
    files.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) > 3 and max(sizes) < 1000 + len(exposure("u29").line()) + 1
    assert [line["unit"] for line in lines(tmp_path)] == [f"u{number}" for number in range(30)]


def test_a_full_disk_costs_records_and_no_more(tmp_path, monkeypatch):
    real, written = os.write, []

    def half(descriptor, data):
        written.append(real(descriptor, data[: len(data) // 2]))
        return written[-1]

    files = ExposureFiles(tmp_path)
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="could be written"):
        files.write([exposure("lost")], 0)
    monkeypatch.setattr(os, "write", real)
    files.write([exposure("next")], 0)
    files.close()
    cut, whole = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    assert not cut.read_bytes().endswith(b"\n"), "nothing is written behind a cut line"
    assert json.loads(whole.read_text())["unit"] == "next"


def test_processes_write_to_files_of_their_own(tmp_path):
    code = (
        "import sys; from crossrec.serving.experiments import *\n"
        "with ExposureLog(sys.argv[1], flush_seconds=0.001) as log:\n"
        "    for number in range(1000): log.record(Exposure('e', 'a', f'{sys.argv[2]}-{number}', 1.0, 'x'))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(name)]) for name in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    counts = collections.Counter(line["unit"].partition("-")[0] for line in lines(tmp_path))
    assert counts == dict.fromkeys("0123", 1000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_both_go_on(tmp_path):
    with ExposureLog(tmp_path, flush_seconds=3600) as log:
        log.record(exposure("before"))
        child = os.fork()
        if child == 0:
            log.record(exposure("child"))
            log.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        log.record(exposure("parent"))
    assert sorted(line["unit"] for line in lines(tmp_path)) == ["before", "child", "parent"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_process_leaves_whole_lines(tmp_path):
    code = (
        "import sys; from crossrec.serving.experiments import *\n"
        "log = ExposureLog(sys.argv[1], flush_seconds=0.001)\n"
        "print('ready', flush=True)\n"
        "number = 0\n"
        "while True:\n"
        "    log.record(Exposure('e', 'a', f'u{number}', 1.0, 'x'))\n"
        "    number += 1\n"
    )
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        until(lambda folder=folder: sum(path.stat().st_size for path in folder.iterdir()) > 10_000)
        time.sleep(0.02 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait(20)
        writer.stdout.close()
        # It may have begun a second file meanwhile; only the last one can be cut.
        content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        *whole, last = content.split(b"\n")
        # The system may cut the very last line; readers leave that out.
        units = [json.loads(line).get("unit") for line in whole]
        units = [unit for unit in units if unit is not None]
        assert len(units) > 10 and len(last) < 200
        assert units == sorted(units, key=lambda unit: int(unit[1:])) and len(set(units)) == len(units)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"max_waiting": 0}, "max_waiting=0"), ({"flush_seconds": 0.0}, "flush_seconds=0.0")],
)
def test_a_wrong_setting_is_named(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        ExposureLog(tmp_path, **settings)
    with pytest.raises(ValueError, match="max_file_bytes=0"):
        ExposureFiles(tmp_path, 0)
