"""JSON of the data sets: one object, or one on each line."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from colocate.errors import InputError
from colocate.io.json_read import read_json
from colocate.io.problems import show_value
from colocate.tables.raw import read_bytes

__all__ = ["mapping_in", "number_in", "read_mapping", "read_mappings"]

MAX_BYTES = 64 * 1024 * 1024
MAX_MEMORY = 1 << 30


def read_mapping(path: str | PathLike[str]) -> tuple[Mapping[str, Any], str]:
    """Return the object that a file holds, and the file's name for messages."""
    data, label = read_bytes(path, max_bytes=MAX_BYTES)
    return _object(data, label), label


def read_mappings(path: str | PathLike[str]) -> tuple[list[Mapping[str, Any]], str]:
    """Return the objects that a file holds, one on each line, and the file's name."""
    data, label = read_bytes(path, max_bytes=MAX_BYTES)
    lines = enumerate(data.splitlines(), start=1)
    return [_object(line, f"{label}:{n}") for n, line in lines if line.strip()], label


def _object(data: bytes, label: str) -> Mapping[str, Any]:
    value = read_json(data, label, InputError, MAX_MEMORY).value
    return mapping_in(value, "the file", label)


def mapping_in(value: object, what: str, label: str) -> Mapping[str, Any]:
    """Return a value that must be an object."""
    if not isinstance(value, dict):
        raise _other(f"{what} must be an object, not {show_value(value)}", label)
    return value


def number_in(value: object, what: str, label: str) -> float:
    """Return a value that must be a number, also one that is written as a text (a key)."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except ValueError:
        raise _other(f"{what} must be a number, not {show_value(value)}", label) from None


def _other(message: str, label: str) -> InputError:
    return InputError(
        message, source=label, advice="check that the file is in the layout that was asked for."
    )
