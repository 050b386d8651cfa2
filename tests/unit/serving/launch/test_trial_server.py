"""What the log and the exit code of a server say about its end; with Docker's client standing in for a container."""

import stat

import pytest

from crossrec.serving.launch.errors import LaunchError
from crossrec.serving.launch.trial_server import Timeouts, ended, last_words, trial_server


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with code 0"),
        (255, "ended with code 255"),
        (137, "was ended by SIGKILL"),
        (139, "was ended by SIGSEGV"),
    ],
)
def test_exit_codes_in_words(code, words):
    assert ended(code) == words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", "it wrote nothing"),
        ("one\n two \n\n", "two"),
        ("docker: no such image\n\nRun 'docker run --help' for more information\n", "docker: no such image"),
        ("x" * 1000, "x" * 400),
    ],
)
def test_last_words(log, words):
    assert last_words(log) == words


def test_docker_without_the_image_is_no_verdict_on_the_model(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\n[ "$1" = info ] && exit 0\n[ "$1" = rm ] && { touch "$0.removed"; exit 0; }\n'
        "echo 'docker: pull access denied' >&2; echo \"See 'docker run --help'.\" >&2; exit 125\n"
    )
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "m" / "1").mkdir(parents=True)
    with (
        pytest.raises(LaunchError) as caught,
        trial_server("docker", "m", tmp_path / "m" / "1", tmp_path / "log", Timeouts(9, 1)),
    ):
        pass
    assert str(caught.value) == (
        "TensorFlow Serving in Docker (tensorflow/serving:2.16.1) ended with code 125 at its start: "
        "docker: pull access denied. See to that, or choose another server"
    )
    assert (tmp_path / "docker.removed").exists(), "a container that may be left is removed"
