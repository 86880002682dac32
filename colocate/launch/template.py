"""Texts with places for values: `{batch}`, `{port}` and a few more names, and nothing else.

There is no escape and no format: what is no known name in braces is text. Every value that can be
put in is a number, an id or a UUID, so a filled text can end neither an argument nor a URL early.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["PLACES", "SWITCH_PLACES", "fill", "places_in"]

PLACES: dict[str, str] = {
    "batch": "batch size",
    "gpu_uuid": "UUID of the GPU",
    "key": "name of the unit: workload, ordinal and eight hexadecimal digits",
    "memory_limit_mib": "memory limit of each process, 0 for none",
    "ordinal": "which replica or worker",
    "port": "port of its own, from `ports`",
    "share_pct": "MPS active thread percentage",
    "workload": "id of the service or task",
}
"""Every place of a process's texts, and what is put there."""
SWITCH_PLACES: dict[str, str] = {
    "new_key": "unit that takes over, `-` for none",
    "new_port": "its port, `-` for none",
    "old_key": "unit that is relieved, `-` for none",
    "old_port": "its port, `-` for none",
    "ordinal": PLACES["ordinal"],
    "workload": PLACES["workload"],
}
"""Every place of a switch's texts."""

_PLACE = re.compile(r"\{([a-z][a-z_]*)\}")
_VALUE = re.compile(r"[A-Za-z0-9._-]{1,200}")


def places_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the names in braces, known or not."""
    return frozenset(name for text in texts for name in _PLACE.findall(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into their places; places without a value are left as they are.

    Raises
    ------
    ValueError
        When a value is more than letters, digits, dots, dashes and underscores.
    """

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        if found is None:
            return match[0]
        if _VALUE.fullmatch(found) is None:
            msg = f"{match[1]} {found!r} may hold letters, digits, dots, dashes and underscores"
            raise ValueError(msg)
        return found

    return _PLACE.sub(value, text)
