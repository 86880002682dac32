"""What the loaders share: finding a file in a folder, and numbering repeats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError, clean_text
from colocate.tables.raw import RawCsv

__all__ = ["file_in", "repeat_numbers", "seconds"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?", re.A)


def file_in(folder: str | PathLike[str], *names: str) -> Path:
    """Return the first of these files that a folder holds; a file stands for itself."""
    at = Path(folder)
    if at.is_file():
        return at
    for name in names:
        if (at / name).is_file():
            return at / name
    label = clean_text(str(at), 200)
    raise InputError(
        f"{label!r} holds no {' or '.join(names)}",
        source=label,
        advice="give the folder of the data set; the loader's page names its files.",
    )


def repeat_numbers(*keys: Iterable[object]) -> NDArray[np.float64]:
    """Return for each row how many earlier rows have the same keys."""
    seen: dict[tuple[object, ...], int] = {}
    found = []
    for key in zip(*keys, strict=True):
        found.append(seen.get(key, 0))
        seen[key] = found[-1] + 1
    return np.array(found, dtype=np.float64)


def seconds(raw: RawCsv, name: str) -> NDArray[np.float64]:
    """Return a column of dates with times of day as seconds after the earliest of them."""
    texts = raw.text(name)
    for row, text in enumerate(texts):
        if not _TIME.fullmatch(text):
            raw.refuse(row, name, "must be a time such as '2023-11-16 18:15:46.68'")
    try:
        times = np.array([text[:10] + "T" + text[11:] for text in texts], dtype="datetime64[ns]")
    except ValueError as failed:
        raise InputError(
            f"column {name!r} holds a time that does not exist: {clean_text(str(failed), 100)}",
            source=raw.label,
            advice="check that the file is whole and in the layout that was asked for.",
        ) from None
    if not times.size:
        return np.empty(0)
    found: NDArray[np.float64] = (times - times.min()).astype(np.int64) / 1e9
    return found
