"""Which server is chosen, and the command that starts it."""

import stat
from pathlib import Path

import pytest

from crossrec.serving.launch.errors import LaunchError, NoServerError
from crossrec.serving.launch.models import configured_models, one_model
from crossrec.serving.launch.plans import choose


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs of one line of shell on PATH, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(**scripts):
        for name, script in scripts.items():
            if script is not None:
                path = folder / name
                path.write_text(f"#!/bin/sh\n{script}\n")
                path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return make


@pytest.fixture
def shop(tmp_path):
    return one_model("shop", tmp_path)


def entry(name, base_path, labels=()):
    text = "".join(f' version_labels {{ key: "{label}" value: {version} }}' for label, version in labels)
    return f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow"{text} }}'


def write_config(path, *entries):
    path.write_text(f"# a comment\nmodel_config_list {{ {' '.join(entries)} }}\n")
    return path


@pytest.mark.parametrize(
    ("docker", "binary", "choice", "expected"),
    [
        (None, None, "auto", "local"),
        ("exit 1", None, "auto", "local"),
        ("exit 0", None, "auto", "docker"),
        ("exit 0", "exit 0", "auto", "binary"),
        ("exit 0", "exit 0", "local", "local"),
        ("exit 0", "exit 0", "docker", "docker"),
    ],
)
def test_the_best_server_at_hand_is_chosen(programs, shop, docker, binary, choice, expected):
    programs(docker=docker, tensorflow_model_server=binary)
    plan = choose(choice, shop, 8500, ["--enable_batching"])
    assert plan.kind == expected
    assert "--model_name=shop" in plan.command
    assert plan.command[-1] == "--enable_batching"


@pytest.mark.parametrize(("choice", "message"), [("binary", "not on PATH"), ("docker", "docker info")])
def test_a_server_that_is_not_there_is_named(programs, shop, choice, message):
    with pytest.raises(NoServerError, match=message):
        choose(choice, shop, 8500)


def test_a_container_is_shown_the_model_read_only_and_found_again(programs, tmp_path, shop):
    programs(docker="exit 0")
    plan = choose("docker", shop, 8511)
    command = " ".join(plan.command)
    assert "--publish 127.0.0.1:8511:8500" in command
    assert f"--volume {tmp_path}:/models/shop:ro" in command and "--model_base_path=/models/shop" in command
    name = plan.command[plan.command.index("--name") + 1]
    assert plan.cleanup[1:] == ("rm", "--force", name)
    assert name != choose("docker", shop, 8511).command[plan.command.index("--name") + 1]


def test_a_configuration_names_models_labels_and_places(tmp_path):
    (tmp_path / "b").mkdir()
    file = write_config(
        tmp_path / "models.config",
        entry("a", "/models/a", [("stable", 3), ("canary", 4)]),
        entry("b", "/models/b"),
        entry("c", tmp_path, [("canary", 1)]),
    )
    a, b, c = configured_models(file).models
    assert [model.label for model in (a, b, c)] == ["stable", "", ""]
    assert (a.path, a.seen_as) == (Path("/models/a"), "/models/a"), "it is nowhere on this machine"
    assert (b.path, b.seen_as) == (tmp_path / "b", "/models/b"), "it lies beside the file"
    assert (c.path, c.seen_as) == (tmp_path, str(tmp_path)), "it lies where the file says"


@pytest.mark.parametrize("choice", ["binary", "local"])
def test_servers_of_this_machine_get_the_file_and_may_start_with_labels(programs, tmp_path, choice):
    programs(tensorflow_model_server="exit 0")
    file = write_config(tmp_path / "models.config", entry("a", tmp_path, [("stable", 3)]))
    command = choose(choice, configured_models(file), 8500).command
    assert f"--model_config_file={file}" in command
    assert "--allow_version_labels_for_unavailable_models" in command
    assert not any(part.startswith(("--model_name", "--model_base_path")) for part in command)


def test_a_container_sees_the_models_where_the_file_says(programs, tmp_path):
    programs(docker="exit 0")
    (tmp_path / "b").mkdir()
    file = write_config(tmp_path / "models.config", entry("b", "/models/b"), entry("remote", "gs://bucket/remote"))
    command = choose("docker", configured_models(file), 8500).command
    volumes = [value for flag, value in zip(command, command[1:]) if flag == "--volume"]
    assert volumes == [f"{tmp_path}:/crossrec-config:ro", f"{tmp_path / 'b'}:/models/b:ro"]
    assert "--model_config_file=/crossrec-config/models.config" in command


@pytest.mark.parametrize("choice", ["binary", "local", "auto"])
def test_a_base_path_that_is_not_here_is_refused_where_the_server_would_wait_for_ever(programs, tmp_path, choice):
    programs(tensorflow_model_server="exit 0")
    file = write_config(tmp_path / "models.config", entry("a", "/models/nowhere"))
    with pytest.raises(LaunchError, match="model a has the base path /models/nowhere, .*--server-root") as caught:
        choose(choice, configured_models(file), 8500)
    assert str(file) in str(caught.value)


def test_docker_serves_what_the_others_cannot_see(programs, tmp_path):
    programs(tensorflow_model_server="exit 0", docker="exit 0")
    (tmp_path / "a").mkdir()
    file = write_config(tmp_path / "models.config", entry("a", "/models/a"))
    assert choose("auto", configured_models(file), 8500).kind == "docker"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"model_config_list { config { nonsense: 1 } }", "is no model configuration: .*nonsense"),
        (b"\xff\xfe", "cannot be read: it is no text"),
        (b"# generation 1\n", "names no model.*crossrec release promote"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(tmp_path, content, message):
    file = tmp_path / "models.config"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LaunchError, match=message) as caught:
        configured_models(file)
    assert str(caught.value).startswith(f"{file}: ")
