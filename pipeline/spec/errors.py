"""What is wrong with a spec, field by field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_SHOWN = 60


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
        model: The model that was validated, to list the keys that it knows.
    """
    lines = []
    for problem in error.errors(include_url=False):
        location = [part for part in problem["loc"] if not _is_tag(part, problem["loc"])]
        field = ".".join(str(part) for part in location) or "(the whole spec)"
        lines.append(f"{field}: {_explain(problem, location, model)}")
    return lines


def _is_tag(part: Any, location: tuple[Any, ...]) -> bool:
    """Whether pydantic put the name of a union's branch into the location."""
    place = location.index(part)
    return isinstance(part, str) and place > 2 and location[0] == "features" and place == 3


def _explain(problem: Mapping[str, Any], location: list[Any], model: type[BaseModel]) -> str:
    value, kind, context = problem["input"], problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, 1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        return f"unknown key. {guess}Known here: {', '.join(known) or '(none)'}"
    if kind == "missing":
        return "missing. Add it"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        if kind == "union_tag_not_found":
            return "'type' is missing. Add one of " + context.get("expected_tags", _tags(location, model))
        return f"type {context['tag']!r} is unknown. Known: {context['expected_tags']}"
    if kind == "value_error":
        return f"{context['error']}".removesuffix(".")
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{_short(value)}: {message}"


def _tags(location: list[Any], model: type[BaseModel]) -> str:
    del location, model
    return "'categorical', 'numeric', 'buckets', 'time_part', 'text', 'recent_items'"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _known_keys(model: type[BaseModel], location: list[Any]) -> list[str]:
    """Keys of the model at a location; empty where the location is no model of its own."""
    current: Any = model
    for part in location:
        current = _step(current, part)
        if current is None:
            return []
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _step(model: Any, part: Any) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
        return _model_in(model.model_fields[part].annotation)
    return model if isinstance(part, int) else None


def _model_in(annotation: Any) -> Any:
    """The one model inside an annotation such as ``tuple[Model, ...]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = [found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part)) is not None]
    return models[0] if len(models) == 1 else None
