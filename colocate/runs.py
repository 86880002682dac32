"""Whole numbers as text: ``"0-3,7"`` is 0, 1, 2, 3, 7, in that order.

Plans and instances name GPUs, replicas and workers by ordinal. A run-length text keeps a plan for a
million GPUs short, readable and immutable; order is kept, because two runs in one placement are
read side by side.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Runs",
    "count_ids",
    "format_ids",
    "format_runs",
    "ids_of",
    "iter_ids",
    "iter_runs",
    "run_pairs",
]

MAX_ORDINAL = 2**40
MAX_IDS = 100_000_000

_RUN = r"(?:0|[1-9][0-9]{0,12})(?:-(?:0|[1-9][0-9]{0,12}))?"
# Possessive: no memory of where each of a million runs ended.
_RUNS = re.compile(rf"(?:{_RUN},)*+{_RUN}")
_EACH_RUN = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_LARGE = re.compile(r"[0-9]{13}")
_LONG_RUN = re.compile(r"([0-9]+)-([0-9]+)")


def iter_runs(text: str) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run.

    Raises
    ------
    ValueError
        When the text is not a list of ascending runs.
    """
    _check_syntax(text)
    for match in _EACH_RUN.finditer(text):
        low = int(match[1])
        high = low if match[2] is None else int(match[2])
        if high < low or high > MAX_ORDINAL:
            msg = f"run '{match[0]}' must ascend and stay below {MAX_ORDINAL}"
            raise ValueError(msg)
        yield low, high


def run_pairs(text: str) -> list[tuple[int, int]]:
    """Return (first, last) of each run, or raise `ValueError` as `iter_runs` does."""
    if _is_one(text):
        only = int(text)
        return [(only, only)]
    return list(iter_runs(text))


def _is_one(text: str) -> bool:
    """Return whether the text is one number that is surely in bounds: what most texts are."""
    return (
        len(text) < 13 and text.isdigit() and text.isascii() and (text[0] != "0" or len(text) == 1)
    )


def _check_syntax(text: str) -> None:
    if _RUNS.fullmatch(text) is None:
        msg = "must be runs of whole numbers such as '0-3,7'"
        raise ValueError(msg)


def _checked(text: str) -> str:
    # Runs of one number are nearly always in bounds, and there may be a million of them.
    if _LARGE.search(text) is not None or "-" in text:
        total = sum(high - low + 1 for low, high in iter_runs(text))
    else:
        total = count_ids(text)
    if total > MAX_IDS:
        msg = f"names more than {MAX_IDS} ids"
        raise ValueError(msg)
    return text


Runs = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema({"type": "string", "pattern": rf"^{_RUN}(,{_RUN})*$"}),
]
"""Runs of whole numbers, as text."""


def count_ids(text: str) -> int:
    """Return how many numbers the runs name."""
    if _is_one(text):
        return 1
    _check_syntax(text)
    longer = sum(int(match[2]) - int(match[1]) for match in _LONG_RUN.finditer(text))
    return text.count(",") + 1 + longer


def iter_ids(text: str) -> Iterator[int]:
    """Yield the numbers one by one, in order."""
    for low, high in iter_runs(text):
        yield from range(low, high + 1)


def ids_of(text: str) -> NDArray[np.int64]:
    """Return the numbers as an array, in order."""
    import numpy as np

    pairs = run_pairs(text)
    if len(pairs) == 1:
        low, high = pairs[0]
        return np.arange(low, high + 1, dtype=np.int64)
    lows = np.array([p[0] for p in pairs], dtype=np.int64)
    lengths = np.array([p[1] - p[0] + 1 for p in pairs], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    return np.repeat(lows - starts, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


def format_ids(ids: NDArray[np.int64]) -> str:
    """Return the shortest runs that read as these numbers, in their order."""
    import numpy as np

    ids = np.asarray(ids, dtype=np.int64)
    if ids.size == 0:
        msg = "an empty list of ids has no text"
        raise ValueError(msg)
    breaks = np.flatnonzero(np.diff(ids) != 1) + 1
    firsts = ids[np.concatenate(([0], breaks))].tolist()
    lasts = ids[np.concatenate((breaks - 1, [ids.size - 1]))].tolist()
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(firsts, lasts, strict=True))


def format_runs(firsts: Sequence[int], lengths: Sequence[int]) -> str:
    """Return the shortest runs that read as these runs one after the other."""
    if not firsts:
        msg = "an empty list of ids has no text"
        raise ValueError(msg)
    found = []
    low, end = firsts[0], firsts[0]
    for first, length in zip(firsts, lengths, strict=True):
        if first != end:
            found.append(str(low) if end == low + 1 else f"{low}-{end - 1}")
            low = first
        end = first + length
    found.append(str(low) if end == low + 1 else f"{low}-{end - 1}")
    return ",".join(found)
