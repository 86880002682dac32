"""Processes by number and start time: numbers are used again, and a signal must not go astray."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Identity",
    "Process",
    "below",
    "boot_id",
    "children_of",
    "find",
    "identity",
    "living",
    "marked",
    "members",
    "send",
    "table",
    "wait_gone",
]

PROC = Path("/proc")
_GONE = frozenset("ZXx")
"""States of processes that run no more."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, and no later one with its number."""

    pid: int
    start: int
    """When it started, in clock ticks since the machine did."""

    def as_list(self) -> list[int]:
        """Return it as it is written down."""
        return [self.pid, self.start]

    @classmethod
    def of(cls, value: object) -> Identity | None:
        """Read what `as_list` wrote; None for anything else."""
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value)
        ):
            return cls(*value)
        return None


@dataclass(frozen=True, slots=True)
class Process:
    """What the kernel says of a process."""

    pid: int
    parent: int
    session: int
    start: int
    state: str

    @property
    def identity(self) -> Identity:
        """Which process it is."""
        return Identity(self.pid, self.start)

    @property
    def alive(self) -> bool:
        """Whether it still runs, or is halted; the dead that nobody collected do not."""
        return self.state not in _GONE


def boot_id() -> str:
    """Return what tells one start of this machine from another."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def find(pid: int) -> Process | None:
    """Return what is known of a process, or None when there is none of that number."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the name in parentheses may hold anything, parentheses too
    fields = text[text.rfind(")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0])


def identity(pid: int) -> Identity | None:
    """Return which process has this number now."""
    found = find(pid)
    return None if found is None else found.identity


def living(one: Identity) -> bool:
    """Tell whether exactly this process still runs."""
    found = find(one.pid)
    return found is not None and found.identity == one and found.alive


def table() -> dict[int, Process]:
    """Return every process that can be seen."""
    found = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - names alone are wanted
        if name.isdigit() and (process := find(int(name))) is not None:
            found[process.pid] = process
    return found


def below(roots: Iterable[int], known: dict[int, Process] | None = None) -> list[Process]:
    """Return the descendants of some processes that are alive, without these themselves."""
    children: dict[int, list[Process]] = {}
    if known is not None:
        for process in known.values():
            children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    todo = list(roots)
    while todo:
        pid = todo.pop()
        for process in children.get(pid, ()) if known is not None else _children(pid):
            if process.pid not in found:
                found[process.pid] = process
                todo.append(process.pid)
    return sorted((p for p in found.values() if p.alive), key=lambda p: p.pid)


def children_of(pid: int) -> list[Process]:
    """Return the children of a process, with those that ended and were not collected."""
    return list(_children(pid))


def _children(pid: int) -> Iterator[Process]:
    """Yield the children of a process, as the kernel lists them for each of its threads."""
    try:
        threads = os.listdir(PROC / str(pid) / "task")  # noqa: PTH208
    except OSError:
        return
    for thread in threads:
        listed = PROC / str(pid) / "task" / thread / "children"
        try:
            numbers = listed.read_text(encoding="ascii").split()
        except FileNotFoundError:
            if (PROC / "self/task" / str(os.getpid()) / "children").exists():
                continue  # the thread has just ended
            yield from (p for p in table().values() if p.parent == pid)
            return
        except OSError:
            continue
        for number in numbers:
            if (process := find(int(number))) is not None and process.parent == pid:
                yield process


def members(
    main: Identity | None, known: Iterable[Identity], table: dict[int, Process]
) -> list[Identity]:
    """Return those that run of some processes, of all that they started, and of their session.

    Parameters
    ----------
    main
        The leader of the session.
    known
        Processes that are known to belong to it.
    table
        All processes there are.
    """
    those = set(known)
    if main is not None:
        those.add(main)
        leader = table.get(main.pid)
        # A number is not used again as long as a session has it. So if another process has it now,
        # the session is gone, and the one of that name is somebody else's.
        if leader is None or leader.identity == main:
            those |= {
                p.identity
                for p in table.values()
                if p.session == main.pid and p.start >= main.start
            }
    roots = {
        one.pid
        for one in those
        if (p := table.get(one.pid)) is not None and p.identity == one and p.alive
    }
    roots |= {p.pid for p in below(roots, table)}
    return sorted((table[pid].identity for pid in roots), key=lambda one: one.pid)


def marked(mark: str, table: dict[int, Process]) -> list[Identity]:
    """Return those that run with this line in their environment, the oldest first.

    Slow, and blind for what has overwritten its environment: for when nothing is written down.
    """
    line = mark.encode()
    found = []
    for process in table.values():
        try:
            lines = (PROC / str(process.pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if process.alive and line in lines:
            found.append(process)
    return [p.identity for p in sorted(found, key=lambda p: (p.start, p.pid))]


def send(one: Identity, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it."""
    try:
        handle = os.pidfd_open(one.pid)
    except OSError:
        return False
    try:
        # what the handle stands for cannot change any more, so the look after it was opened counts
        if not living(one):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def wait_gone(those: Iterable[Identity], seconds: float) -> list[Identity]:
    """Wait until none of these runs, and return those that still do when the time is up."""
    end = time.monotonic() + seconds
    left = list(those)
    while (left := [one for one in left if living(one)]) and time.monotonic() < end:
        time.sleep(min(0.02, max(0.0, end - time.monotonic())))
    return left
