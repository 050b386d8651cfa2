"""What is wrong with a spec, field by field."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_SHOWN = 60
_UNIONS = (Union, types.UnionType)
_MAPPING = "give keys and values"
# What pydantic says in the words of Python, in the words of YAML.
_KINDS = {
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "tuple_type": "give a list, as in [a, b]",
    "list_type": "give a list, as in [a, b]",
}


class SpecError(ValueError):
    """A spec that cannot be used; one line per problem, each with field, value and mend.

    Attributes:
        problems: The lines.
    """

    def __init__(self, source: str, problems: Iterable[str]):
        """Builds the error from the spec's name and its problems."""
        self.problems = list(problems)
        super().__init__(source, self.problems)
        self._source = source

    def __str__(self) -> str:
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        return "\n".join([f"{self._source}: {count}", *(f"  {problem}" for problem in self.problems)])


def describe(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """The problems that pydantic found, in the words of a spec.

    Args:
        error: What pydantic raised.
        model: The model that was validated, to tell keys from pydantic's own marks and to list them.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] == "too_short" and len(problem["input"]) >= problem["ctx"]["min_length"]:
            # Long enough as it was written: what pydantic could not read is told by itself.
            continue
        path, parent, current = _locate(model, problem["loc"])
        value, message = _explain(problem, path, parent, current)
        messages = found.setdefault((".".join(path) or "(the whole spec)", value), [])
        # A value that may be of several types has one problem with each of them.
        if message not in messages:
            messages.append(message)
    return [f"{field}: {value}{' or '.join(messages)}" for (field, value), messages in found.items()]


def _locate(model: type[BaseModel], location: Iterable[Any]) -> tuple[list[str], Any, Any]:
    """The keys of a location, without pydantic's marks for branches of unions; what holds it; what stands there."""
    path: list[str] = []
    current: Any = model
    parent: Any = model
    for part in location:
        current = _single(current)
        tagged = _tagged(current)
        if part in tagged:
            current = tagged[part]
            continue
        inner = _step(current, part)
        if inner is None and not _is_model(current):
            continue
        path.append(str(part))
        parent, current = current, inner
    return path, parent, current


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _single(annotation: Any) -> Any:
    """The annotation without ``Annotated`` and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in _UNIONS:
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return _single(members[0])
    return annotation


def _tagged(annotation: Any) -> dict[str, Any]:
    """The models of a union by the tags that they go by; empty for anything else."""
    members = get_args(annotation) if get_origin(annotation) in _UNIONS else ()
    types_of = [(member, getattr(member, "model_fields", {}).get("type")) for member in members]
    return {tag: member for member, field in types_of if field is not None for tag in get_args(field.annotation)}


def _step(annotation: Any, part: Any) -> Any:
    """What stands at a key or place of a model, a mapping or a list; None if nothing can."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field is not None else None
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is tuple and isinstance(part, int):
        return members[min(part, len(members) - 1)] if members[-1] is not Ellipsis else members[0]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return members[1]
    return None


def _explain(problem: Mapping[str, Any], path: list[str], parent: Any, current: Any) -> tuple[str, str]:
    """The value where it is worth showing, and what is wrong with it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(parent.model_fields) if _is_model(parent) else []
        return "", f"unknown key. {_guess(path[-1], known)}Known here: {', '.join(known) or '(none)'}"
    if kind == "missing":
        return "", "missing. Add it"
    if kind == "union_tag_not_found":
        return "", f"'type' is missing. Add one of: {', '.join(_tagged(_single(current)))}"
    if kind == "union_tag_invalid":
        known = list(_tagged(_single(current)))
        return "", f"type {context['tag']!r} is unknown. {_guess(context['tag'], known)}Known: {', '.join(known)}"
    if kind == "value_error":
        return "", f"{context['error']}".removesuffix(".")
    message = _KINDS.get(kind, problem["msg"][0].lower() + problem["msg"][1:])
    return f"{_short(problem['input'])}: ", message.replace("tuple", "list").replace("dictionary", "section")


def _guess(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
