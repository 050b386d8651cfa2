"""The error that a person who runs a simulation sees."""

from __future__ import annotations

from pydantic import ValidationError


class SimulationError(RuntimeError):
    """A simulation that cannot start or finish; the message names the path or field, the value and the mend."""


def explain(error: ValidationError) -> str:
    """Turn pydantic's report into one line per wrong parameter.

    Args:
        error: what the construction of a configuration raised.

    Returns:
        Lines of the form `field = value: what is wrong and the mend`.
    """
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{field} = {problem['input']!r}: {message}" if field else message)
    return "\n".join(lines)
