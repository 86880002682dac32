"""What is wrong with an input: up to twenty problems in one error, a path each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from colocate.errors import InputError, clean_text
from colocate.io.json_path import Step, show_path

__all__ = ["MAX_PROBLEMS", "Place", "Problem", "error_of", "show_value"]

MAX_PROBLEMS = 20

Place = Callable[[tuple[Step, ...], int], str]
"""From the path of the n-th problem to `file:line`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    steps: tuple[Step, ...]
    message: str
    advice: str | None


def error_of(problems: Sequence[Problem], place: Place, error: type[InputError]) -> InputError:
    """Return one error for some problems, at least one."""
    first, *more = (
        error(p.message, path=show_path(p.steps), advice=p.advice, source=place(p.steps, n))
        for n, p in enumerate(problems[:MAX_PROBLEMS])
    )
    return error(
        first.message, path=first.path, advice=first.advice, source=first.source, more=more
    )


def show_value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a short text for a value, safe to print."""
    if isinstance(value, str):
        return repr(clean_text(value, 60))
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        keys = ", ".join(clean_text(str(k), 20) for k in list(value)[:4])
        return f"an object with the keys {keys or '(none)'}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else clean_text(repr(value), 60)
