"""Kinds of fields, each with the values that it must not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.corpus.valid import Raw

HUGE = Raw("1" + "0" * 30)
WRONG_SHAPES: list[Any] = [[[]], {"a": 1}]
# Lists and objects where a single value belongs.


@dataclass(frozen=True)
class Field:
    """What a field must be."""

    wrong: tuple[Any, ...]
    required: bool = False
    null: bool = False


def name(*, required: bool = False, null: bool = False) -> Field:
    wrong = (1, True, "", "-x", "a b", "x" * 64, "a\nquit", "a\x00", "a\x1b[31m", "é", "a/../b")
    return Field((*wrong, *WRONG_SHAPES), required, null)


def text(longest: int, *, required: bool = False) -> Field:
    return Field((1, False, "x" * (longest + 1), "a\x00b", "a\x1b[2Jb", *WRONG_SHAPES), required)


def whole(low: int, high: int, *, required: bool = False, null: bool = False) -> Field:
    wrong = ("12", True, 1.5, low - 1, high + 1, HUGE, Raw("1e999"), Raw("NaN"), *WRONG_SHAPES)
    return Field(wrong, required, null)


def number(
    low: float,
    high: float,
    *,
    above: bool = False,
    below: bool = False,
    required: bool = False,
    null: bool = False,
) -> Field:
    """`above` and `below`: whether the limits themselves are out."""
    step = 1e-6
    wrong: list[Any] = ["12", False, Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999")]
    wrong.append(low if above else low - max(step, abs(low) * step))
    wrong.append(high if below else high + max(step, abs(high) * step))
    return Field((*wrong, *WRONG_SHAPES), required, null)


def positive(*, required: bool = False, null: bool = False) -> Field:
    return number(0, 1e15, above=True, required=required, null=null)


def not_negative(*, required: bool = False, null: bool = False) -> Field:
    return number(0, 1e15, required=required, null=null)


def finite(*, required: bool = False) -> Field:
    return number(-1e15, 1e15, required=required)


def flag() -> Field:
    return Field(("true", 1, 0, 1.0, *WRONG_SHAPES))


def word(*, required: bool = False) -> Field:
    return Field(("no-such-word", 1, True, *WRONG_SHAPES), required)


def runs(*, required: bool = False) -> Field:
    wrong = ("", "a", "3-1", "0,,1", "1-", "01", "0 ", "-1", "0-1\n", "9" * 14, "0-100000000", 3)
    return Field((*wrong, "1099511627777", *WRONG_SHAPES), required)


def some(*, required: bool = False, null: bool = False) -> Field:
    """A list."""
    return Field(({}, "x", 1, True, [None]), required, null)


def thing(*, required: bool = False, null: bool = False) -> Field:
    """An object."""
    return Field(([], "x", 1, True), required, null)
