"""Planted crosses: interactions of known effect, computed from a salted hash.

A planted cross of order k is a table with one axis per input. Its cells are +1 or -1 by a hash of the cross's salt
and the cell's values, so nothing needs to be stored; then the mean along every axis is removed, which leaves the pure
k-way interaction of the analysis of variance: no single input, and no smaller cross, carries any of it when
all cells are equally frequent. Finally the table is scaled to the stated standard deviation. Independent signs give
the table full rank, which is what makes it hard for products of small embeddings.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from . import vocabulary

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PRICE_BOUNDARIES = (20.0, 45.0, 90.0, 200.0, 500.0)
PART_OF_DAY_BOUNDARIES = (6.0, 12.0, 18.0)

LEVELS: dict[str, tuple[str, ...]] = {
    "user_segment": vocabulary.SEGMENTS,
    "user_country": vocabulary.COUNTRIES,
    "device": vocabulary.DEVICES,
    "interests": vocabulary.CATEGORY_NAMES,
    "category": vocabulary.CATEGORY_NAMES,
    "brand": vocabulary.BRANDS,
}


class CrossInput(BaseModel):
    """One input of a planted cross.

    Args:
        column: a column of interactions or items.
        part: for a timestamp, the part that is taken from it first (hour of the day in UTC).
        boundaries: for numbers, ascending; a value v is in bucket `number of boundaries <= v`.
        multi_valued: whether the column holds lists; the effect is the sum over a list's values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    part: Literal["hour"] | None = None
    boundaries: tuple[float, ...] = ()
    multi_valued: bool = False

    @property
    def levels(self) -> tuple[str, ...]:
        """The values along this input's axis, in order; bucket numbers for bucketised numbers."""
        if self.boundaries:
            return tuple(str(bucket) for bucket in range(len(self.boundaries) + 1))
        return LEVELS[self.column]


class PlantedCross(BaseModel):
    """One planted cross.

    Args:
        name: unique name.
        inputs: two to four inputs, in order; at most one is multi-valued.
        target: the label whose logit it moves; `purchased` is conditional on a click.
        effect_sd: standard deviation of the effect over the table's cells, in logits.
        match: added where the two inputs have the same value (both must have the same levels), in logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    inputs: tuple[CrossInput, ...]
    target: Literal["clicked", "purchased"] = "clicked"
    effect_sd: float
    match: float = 0.0


_SEGMENT = CrossInput(column="user_segment")
_COUNTRY = CrossInput(column="user_country")
_DEVICE = CrossInput(column="device")
_CATEGORY = CrossInput(column="category")
_BRAND = CrossInput(column="brand")
_PRICE_BAND = CrossInput(column="price", boundaries=PRICE_BOUNDARIES)
_PART_OF_DAY = CrossInput(column="timestamp", part="hour", boundaries=PART_OF_DAY_BOUNDARIES)
_INTERESTS = CrossInput(column="interests", multi_valued=True)

PLANTED: tuple[PlantedCross, ...] = (
    PlantedCross(name="user_segment_x_category", inputs=(_SEGMENT, _CATEGORY), effect_sd=1.0),
    PlantedCross(name="device_x_price_band", inputs=(_DEVICE, _PRICE_BAND), effect_sd=0.8),
    PlantedCross(name="user_country_x_brand", inputs=(_COUNTRY, _BRAND), effect_sd=1.0),
    PlantedCross(
        name="user_segment_x_category_x_part_of_day",
        inputs=(_SEGMENT, _CATEGORY, _PART_OF_DAY),
        effect_sd=0.8,
    ),
    PlantedCross(name="interests_x_category", inputs=(_INTERESTS, _CATEGORY), effect_sd=0.35, match=1.0),
    PlantedCross(
        name="user_country_x_device_x_category_x_price_band",
        inputs=(_COUNTRY, _DEVICE, _CATEGORY, _PRICE_BAND),
        effect_sd=0.25,
    ),
    PlantedCross(name="user_segment_x_price_band", inputs=(_SEGMENT, _PRICE_BAND), target="purchased", effect_sd=0.7),
)

# Pairs of columns without any interaction: what a cross selection must not choose.
CONTROLS: tuple[tuple[str, str], ...] = (
    ("device", "user_segment"),
    ("device", "user_country"),
    ("user_segment", "user_country"),
    ("device", "timestamp"),
    ("user_country", "timestamp"),
)
# Pairs on which nothing is planted, but which show a faint image of a planted cross: a brand sells in few
# categories, a category has its own level of prices, a few popular items make up most of a tag. Choosing them is
# redundant, not wrong.
SHADOWS: tuple[tuple[str, str], ...] = (
    ("user_segment", "brand"),
    ("user_country", "category"),
    ("device", "category"),
    ("device", "brand"),
    ("user_segment", "tags"),
    ("user_country", "tags"),
)


class EffectTable(NamedTuple):
    """A planted cross as an array with one more slot per axis, at its end, whose effect is zero (missing values)."""

    cross: PlantedCross
    values: FloatArray

    def lookup(self, codes: tuple[IntArray, ...]) -> FloatArray:
        """Return the effect of rows.

        Args:
            codes: per input, the position of each row's value in `input.levels`, or -1 for missing: int [n], or
                [n, k] for the multi-valued input.

        Returns:
            Effects in logits, float64 [n].
        """
        wide = any(code.ndim == 2 for code in codes)
        if not wide:
            return np.asarray(self.values[codes], dtype=np.float64)
        index = tuple(code if code.ndim == 2 else code[:, None] for code in codes)
        return np.asarray(self.values[index].sum(axis=1), dtype=np.float64)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of splitmix64: Steele, Lea, Flood, 2014)."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def effect_table(cross: PlantedCross, seed: int) -> EffectTable:
    """Compute the effects of a planted cross.

    Args:
        cross: which cross.
        seed: the simulation's seed, part of the salt.

    Returns:
        The table, float64 [levels of input 1 + 1, levels of input 2 + 1, ...].
    """
    state = np.array(_digest(f"{seed}/{cross.name}"), dtype=np.uint64)
    for axis in cross.inputs:
        levels = np.array([_digest(f"{axis.column}={level}") for level in axis.levels], dtype=np.uint64)
        state = _mix(state[..., None] ^ _mix(levels))
    signs = np.where(state >> np.uint64(63), 1.0, -1.0)
    for axis_number in range(signs.ndim):
        signs -= signs.mean(axis=axis_number, keepdims=True)
    table = signs * (cross.effect_sd / signs.std())
    if cross.match:
        table += cross.match * np.eye(table.shape[0])
    return EffectTable(cross, np.pad(table, [(0, 1)] * table.ndim))


def bucket_codes(values: npt.NDArray[np.float64], boundaries: tuple[float, ...]) -> IntArray:
    """Return the bucket of every value: the number of boundaries at or below it, -1 where the value is NaN."""
    codes = np.searchsorted(np.asarray(boundaries), values, side="right").astype(np.int64)
    return np.where(np.isnan(values), -1, codes)


def hour_of_day(timestamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the hour of the day in UTC, 0 to 23, of unix seconds."""
    return (timestamps // 3_600) % 24
