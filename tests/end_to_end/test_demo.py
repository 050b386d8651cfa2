"""What the demo shows after the pipeline, and that the commands it leaves really work."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from crossrec.pipeline.cli import demo
from crossrec.serving.launch.ports import free_port
from tests.end_to_end.marketplace import COMMAND, ROWS, command


@pytest.fixture(scope="module")
def shown(marketplace_run, tmp_path_factory):
    """What the demo prints about the run, whose data are simulated again, without the holes."""
    data = tmp_path_factory.mktemp("demo") / "data"
    assert command("simulate", data, "--rows", ROWS, "--days", 40).returncode == 0
    lines = [
        "import sys; from pathlib import Path; from crossrec.pipeline.cli import demo",
        f"visitors = demo._show(Path({str(marketplace_run.model)!r}), Path({str(data)!r}))",
        f"print('COMMANDS'); print(demo._commands(Path({str(marketplace_run.root)!r}), visitors))",
    ]
    done = subprocess.run([COMMAND[0], "-c", "\n".join(lines)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split("COMMANDS\n")


def test_three_tables_of_five_with_the_time_of_the_call(shown):
    story = shown[0]
    rows = re.findall(r"^ +([1-5])  (i\d+)  (\S.*?) +(-?\d+\.\d{4})$", story, re.M)
    assert [int(place) for place, *_ in rows] == [1, 2, 3, 4, 5] * 3
    assert len({item for _, item, *_ in rows[:5]}) == 5
    for start in (0, 5, 10):
        scores = [float(score) for *_, score in rows[start : start + 5]]
        assert scores == sorted(scores, reverse=True)
    times = re.findall(r": answered in (\d+\.\d) ms$", story, re.M)
    assert len(times) == 3 and all(0 < float(time) < 30_000 for time in times)
    assert "searches for" in story and "browses" in story and "nothing is known" in story


def test_printed_commands_work(shown, tmp_path):
    found = [shlex.split(line) for line in shown[1].splitlines() if line.startswith("  ")]
    serve = next(words for words in found if "serve" in words)
    queries = [words for words in found if "query" in words]
    assert len(queries) == 2
    port = free_port()
    server = subprocess.Popen(
        [*serve, "--port", str(port), "--server", "local"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert any(line.startswith("Ready") for line in server.stdout)
        for words in queries:
            done = subprocess.run(
                [*words, "--target", f"127.0.0.1:{port}", "--deadline", "60"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            assert "answered in" in done.stdout
    finally:
        server.terminate()
        server.communicate(timeout=180)


def test_the_program_is_called_as_this_one_was(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "crossrec"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(demo.sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert demo._program() == shlex.quote(str(program))
    monkeypatch.setenv("PATH", str(program.parent))
    assert demo._program() == "crossrec"
    monkeypatch.setattr(demo.sys, "argv", [str(Path("somewhere", "main.py"))])
    assert demo._program().endswith("-m crossrec.pipeline.cli.main")
