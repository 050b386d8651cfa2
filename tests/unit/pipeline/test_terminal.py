"""Who may write to the terminal, seen from outside of the process."""

import subprocess
import sys

PROGRAM = """
import logging, os, subprocess, sys
from crossrec.pipeline.terminal import quiet_libraries
print("before")
verbose = sys.argv[2] == "verbose"
try:
    with quiet_libraries(sys.argv[1], verbose=verbose) as terminal:
        print("a library prints")
        print("a library complains", file=sys.stderr)
        os.write(1, b"C++ prints\\n")
        os.write(2, b"C++ complains\\n")
        subprocess.run(["echo", "a child prints"])
        logging.getLogger("lib").warning("a library logs")
        terminal.out.write("the story \\u5546\\n")
        terminal.error.write("a problem\\n")
        if sys.argv[2] == "fail":
            raise KeyError("wrong")
except KeyError:
    print("caught")
print("after")
print("after error", file=sys.stderr)
"""
NOISE = ["a library prints", "a library complains", "C++ prints", "C++ complains", "a child prints"]


def run(tmp_path, mode):
    log = tmp_path / "deep" / "er" / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log), mode], capture_output=True, encoding="utf-8", timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, log


def test_only_the_story_reaches_the_terminal(tmp_path):
    out, error, log = run(tmp_path, "quiet")
    assert out == "before\nthe story 商\nafter\n"
    assert error == "a problem\nafter error\n"
    text = log.read_text()
    assert all(noise in text for noise in [*NOISE, "a library logs"])
    assert "story" not in text and "before" not in text and "after" not in text


def test_an_error_gives_the_terminal_back(tmp_path):
    out, error, _ = run(tmp_path, "fail")
    assert out == "before\nthe story 商\ncaught\nafter\n" and error == "a problem\nafter error\n"


def test_a_log_grows_and_verbose_leaves_everything_on_the_terminal(tmp_path):
    run(tmp_path, "quiet")
    _, _, log = run(tmp_path, "quiet")
    assert log.read_text().count("C++ prints") == 2
    log.unlink()
    out, error, log = run(tmp_path, "verbose")
    assert all(noise in out + error for noise in NOISE) and "the story" in out and not log.exists()
