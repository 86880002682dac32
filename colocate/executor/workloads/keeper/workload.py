"""The processes of one unit, as their keeper sees them: the main one and what it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.procs import Identity

__all__ = ["Workload", "collect"]


class Workload:
    """A main process, ours or taken over from a keeper that died, and everything below it."""

    def __init__(self, main: Identity, child: subprocess.Popen[bytes] | None) -> None:
        self.main = main
        self._child = child
        self._known: dict[Identity, None] = {main: None}
        self.started = time.monotonic()

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        output: int,
        umask: int = -1,
    ) -> Workload:
        """Start the main process in a session of its own; raise `OSError` or `ValueError`."""
        child = subprocess.Popen(
            argv,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=umask,
            # the keeper ignores some signals, and that would be inherited
            restore_signals=True,
            preexec_fn=_plain_signals,
        )
        # a child that was not collected keeps its number, so this is the right one
        found = procs.identity(child.pid)
        assert found is not None
        return cls(found, child)

    @classmethod
    def adopt(cls, main: Identity | None, known: Sequence[Identity], mark: str) -> Workload | None:
        """Take over what a keeper before us started; None when nothing of it runs.

        Parameters
        ----------
        main, known
            What the keeper wrote down, if it came to that.
        mark
            A line in the environment of all its processes.
        """
        table = procs.table()
        found = procs.marked(mark, table)
        left = procs.members(main, [*known, *found], table)
        if not left:
            return None
        if main is None:
            main = found[0] if found else left[0]
        adopted = cls(main, None)
        adopted._known.update(dict.fromkeys(left))
        return adopted

    @property
    def ours(self) -> bool:
        """Whether it is a child of this process, so that its exit code can be known."""
        return self._child is not None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the main process; negative for a signal; None when it is not known."""
        return None if self._child is None else self._child.returncode

    def main_runs(self) -> bool:
        """Tell whether the main process runs."""
        if self._child is not None:
            return self._child.poll() is None
        return procs.living(self.main)

    def look(self) -> list[Identity]:
        """Return all its processes that run, the main one first.

        As a reaper of orphans this process finds descendants that left their parent, too. Orphans
        of what was taken over are not its own; most of these are still in the session.
        """
        mine = {p.pid for p in procs.below([os.getpid()])}
        if self.ours:
            roots = {one.pid for one in self._known if procs.living(one)}
            mine |= {p.pid for p in procs.below(roots)}
        else:
            found = procs.members(self.main, self._known, procs.table())
            mine |= {one.pid for one in found}
        for pid in mine:
            if (one := procs.identity(pid)) is not None and procs.living(one):
                self._known.setdefault(one)
        self._known = {one: None for one in self._known if procs.living(one)}
        return sorted(self._known, key=lambda one: (one != self.main, one.pid))

    def signal_all(self, number: int) -> None:
        """Send a signal to every process."""
        for one in self.look():
            procs.send(one, number)

    def halt(self, seconds: float) -> bool:
        """Halt every process; return whether all of them are halted."""
        end = time.monotonic() + seconds
        while True:
            # again and again: what is not halted yet may still start others
            moving = [one for one in self.look() if not _halted(one)]
            if not moving:
                return True
            if time.monotonic() > end:
                return False
            for one in moving:
                procs.send(one, signal.SIGSTOP)
            time.sleep(0.01)

    def go_on(self) -> None:
        """Let every process run again."""
        self.signal_all(signal.SIGCONT)


def collect(keep: set[int]) -> None:
    """Collect orphans that ended; children in `keep` are collected by who started them."""
    for process in procs.children_of(os.getpid()):
        if not process.alive and process.pid not in keep:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def _halted(one: Identity) -> bool:
    found = procs.find(one.pid)
    return found is None or found.identity != one or not found.alive or found.state in "Tt"


def _plain_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
