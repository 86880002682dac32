"""Which unit a client belongs to, by process: one of the unit's, or a descendant of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["UnitPids", "no_units", "parent_and_session", "unit_of"]

UnitPids = Callable[[], Mapping[str, Sequence[int]]]
"""Returns the processes of every unit, by key."""

_MOST_STEPS = 64


def no_units() -> Mapping[str, Sequence[int]]:
    """Return no units: nothing that runs is ours."""
    return {}


def parent_and_session(pid: int) -> tuple[int, int] | None:
    """Return the parent and the session of a process, or None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return (int(fields[1]), int(fields[3])) if len(fields) > 3 else None


def unit_of(pid: int, owners: Mapping[int, str]) -> str | None:
    """Return the unit that a process belongs to.

    Parameters
    ----------
    pid
        The process.
    owners
        Processes of units, with the units' keys.

    Notes
    -----
    A process whose parent has ended is handed to another one, so that its ancestors no longer
    lead to the unit. It is still in the session that the unit's first process leads, unless it
    made one of its own.
    """
    at, session = pid, None
    for _ in range(_MOST_STEPS):
        if at in owners:
            return owners[at]
        about = parent_and_session(at)
        if about is None:
            break
        at, led_by = about
        session = led_by if session is None else session
        if at <= 1:
            break
    return owners.get(session) if session is not None else None
