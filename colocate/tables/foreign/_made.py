"""What all foreign formats share: settings that the file does not tell, and the same checks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from colocate.errors import InputError, clean_text
from colocate.io.files import Source
from colocate.schema import ID_PATTERN
from colocate.tables.check import ROLES, Chunk
from colocate.tables.columns import COLUMNS
from colocate.tables.raw import read_text
from colocate.tables.read import TableFile, collect

__all__ = ["NO_LOAD", "finite", "made", "name_from", "offered_tokens", "read_objects"]

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_VALUES = 10_000_000
NO_LOAD = (
    "has an open load, and tells too little to count that in tokens: import its requests "
    "(phase request)"
)
"""Why a run is left out that would otherwise pass for what the GPU can do."""
_TEXT = frozenset(c.name for c in COLUMNS if c.kind == "text")


def made(
    label: str,
    n: int,
    *,
    gpu: str | None,
    role: str,
    share_pct: float,
    lines: Sequence[int] | None = None,
    left_out: Mapping[int, str] | None = None,
    **columns: Any,  # noqa: ANN401 - one value for all rows, or one for each
) -> TableFile:
    """Return rows as `read_table` would: those that make no sense are dropped and reported.

    `left_out` gives the reason for rows that make sense and are not wanted.
    """
    _check_settings(label, gpu, role, share_pct)
    columns |= {"gpu": gpu, "role": role, "share_pct": share_pct}
    cells: dict[str, list[Any]] = {}
    for name, value in columns.items():
        many = isinstance(value, list | tuple | np.ndarray)
        filled = list(value) if many else [value] * n
        cells[name] = filled if name in _TEXT else [_bare(v) for v in filled]
    chunk = Chunk(cells, np.ones(n, dtype=bool))
    for at, reason in (left_out or {}).items():
        chunk.drop(at, "", reason)
    return collect([(chunk, range(1, n + 1), lines)], queries=False)


def _bare(value: Any) -> Any:  # noqa: ANN401 - nan is how arrays say nothing
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def _check_settings(label: str, gpu: str | None, role: str, share_pct: float) -> None:
    if gpu is None:
        raise InputError(
            f"{label!r} does not say on which GPU type it was measured",
            source=label,
            advice="give gpu (--gpu), such as 'A100-80GB'.",
        )
    if role not in ROLES:
        raise InputError(
            f"role must be 'inference' or 'training', not {clean_text(role, 60)!r}",
            advice="write one of the two.",
        )
    if not 0 < share_pct <= 100:
        raise InputError(
            f"share_pct must be above 0 and at most 100, not {share_pct:g}",
            advice="give the MPS percentage of active threads; 100 if there was no limit.",
        )
    _check_name(label, "gpu", gpu)


def _check_name(label: str, what: str, name: str) -> None:
    if not re.fullmatch(ID_PATTERN, name):
        raise InputError(
            f"{what} must be a name (at most 63 letters, digits, '.', '_' or '-', the first "
            f"one a letter or digit), not {clean_text(name, 60)!r}",
            source=label,
            advice=f"give another {what} (--{what}).",
        )


def finite(value: object) -> float | None:
    """Return a number that fits into a float; None for infinity and for all that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def offered_tokens(load: object, tokens_rate: object, request_rate: object) -> float | None:
    """Return the tokens per second that a load of requests asks for; None where it is not told.

    offered tokens/s = offered requests/s * (tokens/s reached) / (requests/s reached)
    """
    offered, tokens, requests = finite(load), finite(tokens_rate), finite(request_rate)
    if offered is None or tokens is None or requests is None or min(tokens, requests) <= 0:
        return None
    return offered * (tokens / requests)


def name_from(label: str, given: str | None, found: object) -> str:
    """Return the workload's name: as given, else the last part of the model's name in the file."""
    if given is not None:
        _check_name(label, "workload", given)
        return given
    name = found.rstrip("/").split("/")[-1] if isinstance(found, str) else ""
    if not re.fullmatch(ID_PATTERN, name):
        told = "no model" if not name else f"{clean_text(name, 60)!r}, which is no name for one"
        raise InputError(
            f"{label!r} names {told}",
            source=label,
            advice="give the workload's name (--workload).",
        )
    return name


def read_objects(source: Source) -> tuple[list[Mapping[str, Any]], str]:
    """Return the JSON objects of a file: one, a list of them, or one on each line.

    Such files may hold texts that a model has generated, so any character is let through here;
    nothing but numbers and names that are checked leaves this module.
    """
    text, label = read_text(source, max_bytes=MAX_JSON_BYTES, any_character=True)
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise InputError(
            f"{label!r} holds more than {MAX_VALUES} values",
            source=label,
            advice="save the results without the details of each request.",
        )
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(
            f"{label!r} is nested too deep", source=label, advice="check how it was written."
        ) from None
    except ValueError as failed:
        found = _lines(text)
        if found is None:
            line = getattr(failed, "lineno", 1)
            raise InputError(
                f"not valid JSON: {clean_text(str(failed), 100)}",
                source=f"{label}:{line}",
                advice="check that the file is whole and in the layout that was asked for.",
            ) from None
        value = found
    objects = value if isinstance(value, list) else [value]
    if not objects or not all(isinstance(item, dict) for item in objects):
        raise InputError(
            f"{label!r} must hold one JSON object, or several",
            source=label,
            advice="check that the file is in the layout that was asked for.",
        )
    return objects, label


def _lines(text: str) -> list[Any] | None:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
