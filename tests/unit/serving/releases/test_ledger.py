"""The ledger: whole lines only, in order, also after kills, full disks and many writers."""

import json
import resource
import subprocess
import sys
import textwrap
import threading

import pytest

from crossrec.serving.releases.errors import ReleaseError
from crossrec.serving.releases.ledger import Ledger


def names(ledger):
    return [event["event"] for event in ledger.events()]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "releases" / "ledger.jsonl")


def test_events_come_back_in_order_with_their_time(ledger):
    assert ledger.events() == []
    for name in ("started", "loaded", "döne"):
        ledger.append({"event": name, "id": "1"})
    assert names(ledger) == ["started", "loaded", "döne"]
    times = [event["time"] for event in ledger.events()]
    assert times == sorted(times) and all(time.endswith("+00:00") for time in times)


def test_an_event_that_is_there_is_not_written_twice(ledger):
    assert ledger.append_once({"event": "done", "id": "1"})
    assert not ledger.append_once({"event": "done", "id": "1", "by": "another"})
    assert ledger.append_once({"event": "done", "id": "2"})
    assert names(ledger) == ["done", "done"]


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_line_that_was_cut_short_is_skipped_and_closed(ledger, cut):
    for name in ("first", "second"):
        ledger.append({"event": name})
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-cut])
    assert names(ledger) == (["first"] if cut > 1 else ["first", "second"])
    ledger.append({"event": "third"})
    assert names(ledger)[-1] == "third" and names(ledger)[0] == "first"
    assert ledger.path.read_bytes().startswith(whole[:-cut]), "nothing that was written is ever changed"


def test_many_writers_lose_nothing(ledger):
    def write(who):
        for number in range(25):
            ledger.append({"event": f"{who}-{number}", "filler": "x" * 3000})

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = names(ledger)
    assert len(found) == 100
    for who in range(4):
        assert [name for name in found if name.startswith(f"{who}-")] == [f"{who}-{number}" for number in range(25)]


def test_a_limit_on_the_file_is_told_and_leaves_what_was_written(ledger):
    ledger.append({"event": "first"})
    code = """
        import signal, sys
        from pathlib import Path
        from crossrec.serving.releases.ledger import Ledger
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        Ledger(Path(sys.argv[1])).append({"event": "large", "filler": "x" * 5000})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(ledger.path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "ReleaseError: cannot write the ledger" in last and "File too large" in last and "ulimit" in last
    assert names(ledger) == ["first"]
    ledger.append({"event": "second"})
    assert names(ledger) == ["first", "second"]


def test_a_ledger_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(ReleaseError, match=f"cannot read the ledger.*{tmp_path}.*Is a directory"):
        Ledger(tmp_path / "ledger.jsonl").events()


def test_a_line_is_json(ledger):
    ledger.append({"event": "one", "to": {"m": 1}})
    (line,) = ledger.path.read_text().splitlines()
    assert json.loads(line)["to"] == {"m": 1}
