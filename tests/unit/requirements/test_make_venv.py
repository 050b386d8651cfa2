"""Setting up: the right Python is found, and pip's indexes are uv's."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "requirements" / "make_venv.py"


@pytest.fixture
def make_venv(tmp_path, monkeypatch):
    """The script, on a machine without any Python 3.10."""
    specification = importlib.util.spec_from_file_location("make_venv", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "LOG", tmp_path / "setup.log")
    module.LOG.write_text("")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("PYTHON310", raising=False)
    return module


def program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def real(path):
    return program(path, f'exec {sys.executable} "$@"')


@pytest.fixture
def uv(tmp_path):
    """A uv that knows of no Python and can fetch none."""
    return program(tmp_path / "bin" / "uv", 'echo "error: no download is reachable" >&2; exit 2')


def test_a_shim_that_does_not_run_is_passed_over(make_venv, tmp_path, uv):
    program(tmp_path / "bin" / "python3.10", 'echo "pyenv: python3.10: command not found" >&2; exit 127')
    real(tmp_path / "pyenv" / "versions" / "3.10.9" / "bin" / "python3.10")
    newest = real(tmp_path / "pyenv" / "versions" / "3.10.13" / "bin" / "python3.10")
    assert make_venv.find_python(uv, dict(os.environ)) == newest


def test_another_version_under_that_name_is_passed_over(make_venv, tmp_path, uv):
    code = "import sys; sys.version_info = (3, 11); exec(sys.argv[2])"
    program(tmp_path / "bin" / "python3.10", f'exec {sys.executable} -c "{code}" "$@"')
    newest = real(tmp_path / "pyenv" / "versions" / "3.10.1" / "bin" / "python3.10")
    assert make_venv.find_python(uv, dict(os.environ)) == newest


def test_the_user_s_own_choice_comes_first(make_venv, tmp_path, uv, monkeypatch):
    real(tmp_path / "bin" / "python3.10")
    chosen = real(tmp_path / "elsewhere" / "python")
    monkeypatch.setenv("PYTHON310", chosen)
    assert make_venv.find_python(uv, dict(os.environ)) == chosen


def test_uv_finds_or_fetches_one(make_venv, tmp_path):
    fetched = tmp_path / "fetched" / "python3.10"
    script = f'case "$2" in find) test -e {fetched} && echo {fetched};; install) mv {fetched}.new {fetched};; esac'
    real(fetched.with_name("python3.10.new"))
    assert make_venv.find_python(program(tmp_path / "bin" / "uv", script), dict(os.environ)) == str(fetched)


def test_no_python_says_what_is_missing_and_how_to_get_it(make_venv, uv, tmp_path):
    with pytest.raises(make_venv.SetupError) as refused:
        make_venv.find_python(uv, dict(os.environ))
    message = str(refused.value)
    for part in ("no Python 3.10", "TFX 1.16", "PYTHON310=", "pyenv install 3.10", "no download is reachable"):
        assert part in message
    assert str(tmp_path / "pyenv") in message


def test_a_failed_step_shows_the_end_of_its_output(make_venv, tmp_path):
    failing = program(tmp_path / "bin" / "uv", 'echo "no version of tfx fits" >&2; exit 1')
    with pytest.raises(make_venv.SetupError, match="no version of tfx fits"):
        make_venv._run([failing, "pip", "install"], dict(os.environ))


LISTING = """\
:env:.index-url='https://index.example/simple'
global.cert='/etc/certificates.pem'
global.extra-index-url='\\nfile:///one/simple\\nfile:///two/simple'
global.index-url='https://other.example/simple'
install.find-links='/wheels /more-wheels'
freeze.timeout='3'
"""


def test_uv_uses_the_indexes_of_pip(make_venv):
    settings = make_venv.uv_settings(make_venv.parse_pip_settings(LISTING), {})
    assert settings == {
        "UV_INDEX_URL": "https://index.example/simple",
        "UV_EXTRA_INDEX_URL": "file:///one/simple file:///two/simple",
        "UV_FIND_LINKS": "/wheels,/more-wheels",
        "SSL_CERT_FILE": "/etc/certificates.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_what_uv_was_told_itself_stays(make_venv):
    own = {"UV_DEFAULT_INDEX": "https://mine.example/simple", "SSL_CERT_FILE": "/mine.pem"}
    settings = make_venv.uv_settings(make_venv.parse_pip_settings(LISTING), own)
    assert set(settings) == {"UV_FIND_LINKS"}
    assert make_venv.uv_settings({}, {}) == {}


def test_no_registry_is_named_in_what_sets_up():
    root = SCRIPT.parents[1]
    for path in (SCRIPT, root / "Makefile", root / "requirements" / "lock.txt", root / ".ci" / "run"):
        assert "://" not in path.read_text(encoding="utf-8"), path
