"""What the daemon's answers mean. Anything that is not of a known form is refused, never guessed.

Where each form comes from is listed in `colocate.executor.mps.sources`.
"""

from __future__ import annotations

import re
from typing import NoReturn

from colocate.errors import clean_text
from colocate.executor.mps.control import ControlError
from colocate.executor.ports import ServerStatus

__all__ = ["memory_mib", "percent", "pids", "rows", "server_status", "v3_status"]

_MIB = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024}
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,4})?%?", re.ASCII)
_MEMORY = re.compile(r"(\d{1,15})([KMGT])i?B?", re.IGNORECASE | re.ASCII)
# How the daemon says that no limit was set is not documented. Taking one of these for none is safe:
# a limit that was set is compared with what reads back.
_NO_LIMIT = re.compile(
    r"|-|0[KMGT]?B?|none|unset|unlimited|n/a|no .{0,80}limit.{0,80}|.{0,80}not (been )?set.{0,80}",
    re.IGNORECASE,
)
_NO_SERVER = re.compile(r"Server \d+ not found\.?", re.IGNORECASE)
_V2_STATUS: dict[str, ServerStatus] = {
    "INITIALIZING": "initializing",
    "ACTIVE": "active",
    "FAULT": "fault",
}
_V3_STATUS: dict[str, ServerStatus] = {
    "ready": "active",
    "active": "active",
    "initializing": "initializing",
    "starting": "initializing",
    "fault": "fault",
    "-": "none",
    "stopped": "none",
}


def _garbage(text: str, command: str) -> NoReturn:
    raise ControlError(
        f"the MPS daemon answered {clean_text(text, 120)!r} to '{command}'",
        kind="reply",
        advice="compare with docs/hardware/unconfirmed.md, and report it with the driver version.",
    )


def percent(text: str, command: str) -> float:
    """Return a share: the daemon writes ``25.0``, in a table of the v3 dialect ``30.00``."""
    if not _PERCENT.fullmatch(text):
        _garbage(text, command)
    value = float(text.rstrip("%"))
    if not 0 < value <= 100:
        _garbage(text, command)
    return value


def memory_mib(text: str, command: str) -> float | None:
    """Return a memory limit such as ``3G`` or ``1024M``; None where there is none."""
    if _NO_LIMIT.fullmatch(text):
        return None
    match = _MEMORY.fullmatch(text)
    if match is None:
        _garbage(text, command)
    return int(match[1]) * _MIB[match[2].upper()]


def pids(text: str, command: str) -> tuple[int, ...]:
    """Return process ids, one a line; nothing, or ``Server 0 not found``, where there are none."""
    if not text or _NO_SERVER.fullmatch(text):
        return ()
    found = []
    for line in text.splitlines():
        word = line.strip()
        if not (word.isascii() and word.isdigit() and 0 < len(word) < 9 and int(word) > 0):
            _garbage(text, command)
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def server_status(text: str, command: str) -> ServerStatus:
    """Return the state of a v2 server: INITIALIZING, ACTIVE or FAULT."""
    if _NO_SERVER.fullmatch(text):
        return "none"
    status = _V2_STATUS.get(text.strip())
    if status is None:
        _garbage(text, command)
    return status


def v3_status(text: str, command: str) -> ServerStatus:
    """Return the state of a v3 server. Only ``Ready`` is documented."""
    status = _V3_STATUS.get(text.strip().lower())
    if status is None:
        _garbage(text, command)
    return status


def rows(text: str, least: int, command: str) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a reply in the form ``--format=csv,noheader``.

    The values are not quoted, and device lists and command lines hold commas themselves; callers
    take a row's fixed fields from its two ends.
    """
    found = []
    for line in text.splitlines():
        fields = tuple(field.strip() for field in line.split(","))
        if len(fields) < least:
            _garbage(text, command)
        found.append(fields)
    return tuple(found)
