"""Commands that need more than the light core, and the words for those who have only that."""

from __future__ import annotations

import importlib.util
import sys

_FIRST_IMPORTS = {
    "simulate": "pyarrow",
    "run": "tfx",
    "backfill": "tfx",
    "reindex": "tfx",
    "demo": "tfx",
    "compile": "tfx",
    "submit": "kfp",
    "experiment analyse": "pyarrow",
}


def missing_extra(command: str) -> str:
    """What to install before a command can run, in one line; "" if nothing is missing.

    Args:
        command: Name of the subcommand.
    """
    module = _FIRST_IMPORTS.get(command)
    if module is None or importlib.util.find_spec(module) is not None:
        return ""
    line = f"crossrec {command} needs {module}. Install the pipeline extra: pip install 'crossrec[pipeline]'"
    running = sys.version_info[:2]
    # TFX has no release for another Python, so pip would only fail at length.
    return line if running == (3, 10) else f"{line} in Python 3.10 (this is {running[0]}.{running[1]})"
