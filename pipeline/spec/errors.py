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
        path, parent = _locate(model, problem["loc"])
        value, message = _explain(problem, path, parent)
        messages = found.setdefault((".".join(path) or "(the whole spec)", value), [])
        # A value that may be of several types has one problem with each of them.
        if message not in messages:
            messages.append(message)
    return [f"{field}: {value}{' or '.join(messages)}" for (field, value), messages in found.items()]


def _locate(model: type[BaseModel], location: Iterable[Any]) -> tuple[list[str], Any]:
    """The keys of a location, without pydantic's marks for branches of unions; and what holds the last key."""
    path: list[str] = []
    current: Any = model
    parent: Any = model
    for part in location:
        current = _single(current)
        tagged = _branch(current, part)
        if tagged is not None:
            current = tagged
            continue
        inner = _step(current, part)
        if inner is None and not _is_model(current):
            continue
        path.append(str(part))
        parent, current = current, inner
    return path, parent


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


def _branch(annotation: Any, part: Any) -> Any:
    """The model of a union that goes by the tag ``part``; None if there is none."""
    if get_origin(annotation) in _UNIONS:
        for member in get_args(annotation):
            tag = getattr(member, "model_fields", {}).get("type")
            if tag is not None and part in get_args(tag.annotation):
                return member
    return None


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


def _explain(problem: Mapping[str, Any], path: list[str], parent: Any) -> tuple[str, str]:
    """The value where it is worth showing, and what is wrong with it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(parent.model_fields) if _is_model(parent) else []
        near = difflib.get_close_matches(path[-1], known, 1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        return "", f"unknown key. {guess}Known here: {', '.join(known) or '(none)'}"
    if kind == "missing":
        return "", "missing. Add it"
    if kind == "union_tag_not_found":
        return "", "'type' is missing. Add one of: categorical, numeric, buckets, time_part, text, recent_items"
    if kind == "union_tag_invalid":
        return "", f"type {context['tag']!r} is unknown. Known: {context['expected_tags']}"
    if kind == "value_error":
        return "", f"{context['error']}".removesuffix(".")
    message = _KINDS.get(kind, problem["msg"][0].lower() + problem["msg"][1:])
    return f"{_short(problem['input'])}: ", message.replace("tuple", "list").replace("dictionary", "section")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
