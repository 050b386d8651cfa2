"""An experiment: arms with their shares of the traffic, and the arm of each unit."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crossrec.serving.contract import names

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_KEYS = ("name", "arms", "salt", "unit", "control", "labels", "overrides")


class ExperimentError(ValueError):
    """The definition of an experiment is wrong: which field, its value, and how to mend it."""


class Assignment(NamedTuple):
    """Where one unit belongs.

    Attributes:
        arm: Its arm.
        version_label: Label of the served version that the arm asks for.
        exposed: Whether it takes part: not where the unit is unknown or overridden, nor while one arm has everything.
    """

    arm: str
    version_label: str
    exposed: bool


@dataclass(frozen=True)
class Experiment:
    """Splits units between arms by a salted hash, so that a unit stays where it is.

    Arm a of unit x is the one with the smallest ``-ln(h_a(x)) / weight_a``, where ``h_a(x)`` in (0, 1] is
    ``(n + 1) / 2^53`` and n the first 53 bits of SHA-256 of ``salt NUL a NUL x`` in UTF-8: weighted rendezvous hashing
    (Thaler and Ravishankar 1998, Using Name-Based Mappings to Increase Hit Rates; Schindelhauer and Schomaker 2005,
    Weighted Distributed Hash Tables). Each arm gets exactly its share, and a unit leaves its arm only for one whose
    weight has grown relative to it: who was in a canary of 5 % is in it at 20 %, and a new arm takes its units from all
    others evenly. The order of the arms does not matter.

    Attributes:
        name: Name of the experiment; exposure records bear it.
        arms: Weight by arm. Only their ratios count; zero is an arm that gets nobody now.
        salt: What makes this split independent of others; the name if empty. Experiments with one salt split alike.
        unit: Feature that is assigned, where a request names no unit itself.
        control: Arm that others are compared with, and that requests without a unit ask; the first if empty.
        labels: Version label by arm, where it is not the arm's own name. Two arms with one label are an A/A test.
        overrides: Arm by unit, for testers; they take no part.

        shares: Each arm's part of all units; they sum to 1.
        allocation: The shares and the salt in one text, the control first: ``arm=share,arm=share;salt``.

    Raises:
        ExperimentError: A field is wrong.

    Example:
        >>> Experiment("ranker-7", {"stable": 80, "canary": 20}).assign("u17")
        Assignment(arm='stable', version_label='stable', exposed=True)
    """

    name: str
    arms: Mapping[str, float]
    salt: str = ""
    unit: str = names.USER_ID
    control: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, float] = field(init=False, repr=False, compare=False)
    allocation: str = field(init=False, repr=False, compare=False)
    _drawn: tuple[tuple[str, bytes, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_names()
        self._check_arms()
        total = math.fsum(self.arms.values())
        salt = self.salt or self.name
        shares = {arm: weight / total for arm, weight in self.arms.items()}
        drawn = tuple(
            (arm, f"{salt}\0{arm}\0".encode(), float(weight)) for arm, weight in self.arms.items() if weight > 0
        )
        control = self.control or next(iter(self.arms))
        listed = [control, *(arm for arm in self.arms if arm != control)]
        text = ",".join(f"{arm}={shares[arm]!r}" for arm in listed)
        for name, value in (
            ("salt", salt),
            ("control", control),
            ("shares", shares),
            ("allocation", f"{text};{salt}"),
            ("_drawn", drawn),
        ):
            object.__setattr__(self, name, value)

    def assign(self, unit: str | None) -> Assignment:
        """Find the arm of a unit.

        Args:
            unit: Its id, such as a user id; None or empty where nobody knows it.

        Returns:
            The arm, and whether the unit takes part.
        """
        if not unit:
            return self._assignment(self.control, False)
        if unit in self.overrides:
            return self._assignment(self.overrides[unit], False)
        if len(self._drawn) == 1:
            return self._assignment(self._drawn[0][0], False)
        encoded = unit.encode("utf-8", "surrogatepass")
        return self._assignment(min((_score(encoded, *one), one[0]) for one in self._drawn)[1], True)

    def _assignment(self, arm: str, exposed: bool) -> Assignment:
        return Assignment(arm, self.labels.get(arm, arm), exposed)

    def _check_names(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ExperimentError(f"name={self.name!r}: give a name of letters, digits, '_', '.' and '-'")
        for key in ("salt", "unit", "control"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.isprintable():
                raise ExperimentError(f"{key}={value!r}: give a text of printable characters")
        if not self.unit:
            raise ExperimentError(f"unit={self.unit!r}: name the feature that is assigned, such as 'user_id'")

    def _check_arms(self) -> None:
        if not isinstance(self.arms, Mapping) or not self.arms:
            raise ExperimentError(
                f"arms={self.arms!r}: give each arm its weight, such as {{'stable': 80, 'canary': 20}}"
            )
        for arm, weight in self.arms.items():
            if not isinstance(arm, str) or not _NAME.fullmatch(arm):
                raise ExperimentError(f"arms: {arm!r} is no name; use letters, digits, '_', '.' and '-'")
            number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not number or not 0 <= weight < math.inf:
                raise ExperimentError(f"arms.{arm}={weight!r}: give a weight of zero or more")
        if not math.fsum(self.arms.values()) > 0:
            raise ExperimentError(f"arms={dict(self.arms)!r}: give at least one arm a weight above zero")
        if self.control and self.control not in self.arms:
            raise ExperimentError(f"control={self.control!r}: name one of the arms ({', '.join(self.arms)})")
        for key in ("labels", "overrides"):
            value = getattr(self, key)
            if not isinstance(value, Mapping) or not all(
                isinstance(text, str) and text for pair in value.items() for text in pair
            ):
                raise ExperimentError(f"{key}={value!r}: give texts by text, none of them empty")
        for key, arms in (("labels", self.labels), ("overrides", self.overrides.values())):
            for arm in arms:
                if arm not in self.arms:
                    raise ExperimentError(f"{key}: {arm!r} is no arm; name one of {', '.join(self.arms)}")


def _score(unit: bytes, arm: str, prefix: bytes, weight: float) -> float:
    drawn = int.from_bytes(hashlib.sha256(prefix + unit).digest()[:8], "big") >> 11
    return -math.log((drawn + 1) * 2.0**-53) / weight


def parse_experiment(text: str) -> Experiment:
    """Read a definition.

    Args:
        text: A JSON object with the attributes of `Experiment`.

    Returns:
        The experiment.

    Raises:
        ExperimentError: It is no such object, or a field is wrong.
    """
    document = _object(text)
    for key in document:
        if key not in _KEYS:
            raise ExperimentError(f"{key}: is no field of an experiment; its fields are {', '.join(_KEYS)}")
    for key in ("name", "arms"):
        if key not in document:
            raise ExperimentError(f"{key}: is missing; the smallest experiment has a name and arms")
    return Experiment(**document)


def parse_release_traffic(text: str, model_name: str, name: str = "") -> Experiment:
    """Read what `crossrec release` wants clients to send to the labels of a model.

    Args:
        text: Content of ``.releases/traffic.json``: percent by label, by model name.
        model_name: The model.
        name: Name of the experiment; ``<model name>-canary`` if empty.

    Returns:
        An experiment whose arms are the labels.

    Raises:
        ExperimentError: It is no such text, or the model is not in it.
    """
    document = _object(text)
    if model_name not in document:
        known = ", ".join(document) or "none yet: run `crossrec release promote` first"
        raise ExperimentError(f"{model_name}: is no model of that file; its models are {known}")
    return Experiment(name or f"{model_name}-canary", document[model_name])


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ExperimentError(f"it is no JSON ({error}); correct that place") from error
    if not isinstance(document, dict):
        raise ExperimentError(f"it holds {type(document).__name__}; give a JSON object")
    return document
