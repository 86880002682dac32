"""The keeper's work: start, probe, watch, restart, halt and end one unit, one step at a time."""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import Any

from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.batch import filled, set_batch
from colocate.executor.workloads.keeper.calls import CallError, run
from colocate.executor.workloads.keeper.ending import end, exit_words
from colocate.executor.workloads.keeper.files import FileError, read_json, write_json
from colocate.executor.workloads.keeper.log import Log, tail
from colocate.executor.workloads.keeper.probes import look
from colocate.executor.workloads.keeper.restarts import Restarts
from colocate.executor.workloads.keeper.status import STATUS, WANTED, Status, Wanted, mark
from colocate.executor.workloads.keeper.workload import Workload, collect

__all__ = ["Keeper"]

SHORT, LONG = 0.05, 0.5
"""Seconds between two steps: while something is going on, and while nothing is."""
LOOK_EVERY = 5.0
"""Seconds between two lists of the processes."""
HALT_WITHIN = 5.0
WRITE_WITHIN = 10.0
"""How long the last word is held up by a full disk. Without it the unit counts as lost."""


class Keeper:
    """Runs one unit until it is told to stop, or has failed, or is done."""

    def __init__(self, folder: Path, spec: dict[str, Any], wake: int, umask: int = 0o077) -> None:
        self.folder = folder
        self.spec = spec
        self.umask = umask
        """For the workload's own files."""
        self.log = Log(folder, spec["log_bytes"])
        self.wake = wake
        """Readable when a signal came in."""
        self.told_to_stop = False
        """Set by a signal."""
        self.status = Status(boot=procs.boot_id(), batch=spec["unit"]["batch"])
        self.wanted = Wanted(batch=spec["unit"]["batch"])
        self.workload: Workload | None = None
        self._stopping = False
        self._paused_from = "starting"
        self._written: Any = None
        self._wanted_mark: Any = None
        self._look_at = 0.0
        self._probe_at = 0.0
        self._restarts = Restarts(spec["restart"])
        self._ready_since = 0.0
        self._done = False

    # -- the course of things ----------------------------------------------------------------------

    def begin(self) -> None:
        """Find out what a keeper before us left; raise `OSError` when nothing can be written."""
        self._read_wanted()
        old = self._old_status()
        self.workload = Workload.adopt(old.main, old.known, mark(self.folder))
        if self.workload is not None:
            self.status = old
            self.status.main = self.workload.main
            self.status.error = ""
            self.status.serial = -1
            self.status.detail = "taken over from a keeper that died"
            self._ready_since = time.monotonic()
            if old.phase not in ("ready", "paused", "starting"):
                self.status.phase = "starting"
        else:
            self.status.batch = self.wanted.batch
        write_json(self.folder / STATUS, self.status.as_json())

    def _old_status(self) -> Status:
        """Return what a keeper before us wrote, or how things are when nothing is known."""
        with contextlib.suppress(FileError):
            before = read_json(self.folder / STATUS)
            old = None if before is None else Status.of(before)
            if old is not None and old.boot == self.status.boot:
                return old
        return Status(boot=self.status.boot, batch=self.wanted.batch)

    def run(self) -> None:
        """Go on until there is nothing left to keep."""
        while not self._done:
            busy = self.step()
            self.write()
            if not self._done:
                self._wait(SHORT if busy else LONG)
        end = time.monotonic() + WRITE_WITHIN
        while not self.write() and time.monotonic() < end:
            self._wait(LONG)

    def step(self) -> bool:
        """Do what is to be done now; return whether more is to be done soon."""
        collect(set() if self.workload is None else {self.workload.main.pid})
        self._read_wanted()
        self.log.cap()
        if self._stopping or self.told_to_stop or self.wanted.state == "stopped":
            self._stop()
            return True
        if self.workload is not None and not self.workload.main_runs():
            self._ended()
            return True
        if self.workload is None:
            return self._start_when_due()
        is_new = self.wanted.serial != self.status.serial
        if is_new and self.wanted.state == "paused" and self.status.phase in ("starting", "ready"):
            self._pause()
        elif self.wanted.state == "running" and self.status.phase == "paused":
            self._resume()
        if self.status.phase == "starting":
            self._probe()
            return True
        self._grant()
        if time.monotonic() >= self._look_at:
            self._look()
        return self.status.phase == "starting"

    # -- starting ----------------------------------------------------------------------------------

    def _start_when_due(self) -> bool:
        if self.wanted.state == "paused":
            self._set("paused", "waits to be started")
            self.status.serial = self.wanted.serial
            return False
        left = self._restarts.due - time.monotonic()
        if left > 0:
            return left < LONG
        self._start()
        return True

    def _start(self) -> None:
        spec, batch = self.spec, self.status.batch
        self.status.started = time.time()
        self._set("starting", "")
        try:
            output = self.log.open()
            try:
                self.workload = Workload.start(
                    filled(spec["argv"], batch),
                    self._environment(),
                    spec["directory"],
                    output,
                    self.umask,
                )
            finally:
                os.close(output)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._failed_once(f"{spec['argv'][0]} cannot be started: {reason}")
            return
        self.status.main = self.workload.main
        self.status.known = (self.workload.main,)
        self._probe_at = 0.0
        self._look_at = time.monotonic() + 1.0
        if not self.write():
            # nobody would find it if we died now
            why = "its state cannot be written down: the disk is full or read-only"
            if self._end_all(why):
                self._failed_once(why)

    def _environment(self) -> dict[str, str]:
        made: dict[str, str] = filled(self.spec["env"], self.status.batch)
        return made

    def _probe(self) -> None:
        assert self.workload is not None
        now = time.monotonic()
        if now < self._probe_at:
            return
        probe = self.spec["ready"]
        running = now - self.workload.started
        reason = look(
            probe,
            running,
            self.status.started,
            self._environment(),
            self.spec["directory"],
            self._something_happened,
        )
        self._probe_at = time.monotonic() + probe["interval_s"]
        if reason is None:
            reason = self._set_first_batch()
        if reason is None and self.workload.main_runs():
            self._set("ready", "")
            self.status.was_ready = True
            self._ready_since = time.monotonic()
            self.status.known = tuple(self.workload.look())
        elif running > probe["deadline_s"] and self.workload.main_runs():
            why = f"not ready within {probe['deadline_s']:g} s: {reason}"
            if self._end_all(why):
                self._failed_once(why)
        elif reason is not None:
            self.status.detail = f"not ready yet: {reason}"

    def _set_first_batch(self) -> str | None:
        """Have the batch size set where that takes a call; return why it could not be."""
        setter = self.spec["batch"]
        if setter is None:
            return None
        try:
            set_batch(
                setter,
                self.status.batch,
                self._environment(),
                self.spec["directory"],
                self._something_happened,
            )
        except CallError as error:
            return f"its batch size cannot be set: {error}"
        return None

    # -- wishes ------------------------------------------------------------------------------------

    def _read_wanted(self) -> None:
        path = self.folder / WANTED
        try:
            about = path.stat()
            mark = (about.st_ino, about.st_mtime_ns)
            if mark == self._wanted_mark:
                return
            found = read_json(path)
        except (OSError, FileError):
            return
        read = None if found is None else Wanted.of(found)
        if read is not None:
            self.wanted, self._wanted_mark = read, mark

    def _grant(self) -> None:
        """Deal with a new wish: the state was seen to already, the batch size is left."""
        wish = self.wanted  # another one may come in while this one is granted
        if wish.serial == self.status.serial:
            return
        error = ""
        if wish.batch != self.status.batch:
            halted = self.status.phase == "paused"
            error = "it is halted" if halted else self._change_batch(wish.batch)
        self.status.error = error
        self.status.serial = wish.serial

    def _change_batch(self, batch: int) -> str:
        setter = self.spec["batch"]
        if setter is None:
            return "its batch size is set when it starts"
        try:
            set_batch(
                setter,
                batch,
                self._environment(),
                self.spec["directory"],
                self._something_happened,
            )
        except CallError as error:
            return str(error)
        self.status.batch = batch
        return ""

    def _pause(self) -> None:
        assert self.workload is not None
        if not self.spec["pausable"]:
            self.status.error = "it may not be halted"
            self.status.serial = self.wanted.serial
        elif self.workload.halt(HALT_WITHIN):
            self._paused_from = self.status.phase
            self._set("paused", "")
        else:
            self.workload.go_on()
            self.status.error = "its processes could not all be halted"
            self.status.serial = self.wanted.serial

    def _resume(self) -> None:
        assert self.workload is not None
        self.workload.go_on()
        self.workload.started = time.monotonic()  # its time to get ready stood still, too
        self._set(self._paused_from, "")

    # -- ends --------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """See to what a main process that ended left behind, then to what comes next."""
        assert self.workload is not None
        code = self.workload.exit_code
        why = exit_words(code)
        if self.status.phase == "starting" and code != 0:
            last = tail(self.folder)
            why += f"; it wrote: {last}" if last else ""
        if not self._end_all(f"its main process {why}; what it started is ended"):
            self.status.detail = f"its main process {why}, but processes that it started run on"
            self._wait(LONG)
            return
        when = self.spec["restart"]["when"]
        if code == 0 and when != "always":
            self._finish("stopped", "ended with code 0")
        else:
            self._failed_once(why)

    def _failed_once(self, why: str) -> None:
        """Start it again after a while, or give up."""
        self.workload = None
        self.status.main, self.status.known = None, ()
        if not self.status.was_ready:
            self._finish("failed", f"{why}; it has never been ready")
            return
        wait = self._restarts.wait(self._ready_since)
        if wait is None:
            n = self._restarts.recent
            self._finish("failed", f"{why}; started again {n} times" if n else why)
        else:
            self.status.restarts += 1
            self._set("backing_off", f"{why}; starts again after {wait:g} s")

    def _stop(self) -> None:
        """End it in order: checkpoint, wait, signal, grace, and a kill where that is allowed."""
        self._stopping = True
        said, serial = self.told_to_stop, self.wanted.serial
        if self.workload is None:
            self._finish("stopped", "")
            return
        repeat = self.status.phase == "draining" and self.status.error
        if repeat and serial == self.status.serial and not said:
            # it did not end; nobody asked again, but it may have ended since
            if not self.workload.look():
                self._finish("stopped", "")
            else:
                self._wait(LONG)
            return
        self.told_to_stop = False
        was_halted = self.status.phase == "paused"
        self.status.error = ""
        self._set("draining", "")
        self.write()
        if was_halted:
            self.workload.go_on()
        if not repeat:
            self._checkpoint()
            self._drain()
        if self._end_all(""):
            self._finish("stopped", self.status.detail)
            return
        left = ", ".join(str(one.pid) for one in self.workload.look())
        stop = self.spec["stop"]
        self.status.error = (
            f"processes {left} did not end within {stop['grace_s']:g} s of {stop['signal']}"
        )
        self.status.serial = serial
        self._set("draining", self.status.error)

    def _checkpoint(self) -> None:
        """Let it save its work; what goes wrong is told and does not keep it from ending."""
        command = self.spec["checkpoint"]
        if command is None or self.workload is None:
            return
        if not self.workload.main_runs() or not self.status.was_ready:
            return
        self._set("draining", "saves its work")
        self.write()
        try:
            argv = filled(command["argv"], self.status.batch)
            run(argv, self._environment(), self.spec["directory"], command["deadline_s"])
            self.status.detail = ""
        except CallError as error:
            self.status.detail = f"its work was not saved: {error}"

    def _drain(self) -> None:
        """Let requests that are under way be answered."""
        assert self.workload is not None
        if not self.status.was_ready:
            return
        end = time.monotonic() + self.spec["stop"]["drain_s"]
        while time.monotonic() < end and self.workload.main_runs():
            self._wait(SHORT)

    def _end_all(self, why: str) -> bool:
        """Signal all processes to end, and return whether they did."""
        workload, stop = self.workload, self.spec["stop"]
        assert workload is not None
        if not workload.look():
            return True
        if not self.status.detail:
            self.status.detail = why
        self.write()
        ended, by_force = end(workload, stop)
        if by_force:
            killed = f"killed: it did not end within {stop['grace_s']:g} s"
            told = self.status.detail
            self.status.detail = f"{told}; {killed}" if told else killed
        return ended

    def _finish(self, phase: str, detail: str) -> None:
        self.status.serial = self.wanted.serial
        self.status.main, self.status.known = None, ()
        self._set(phase, detail)
        self._done = True

    # -- telling -----------------------------------------------------------------------------------

    def _set(self, phase: str, detail: str) -> None:
        self.status.phase, self.status.detail = phase, detail[:1000]

    def _look(self) -> None:
        assert self.workload is not None
        self.status.known = tuple(self.workload.look())[:1000]
        self._look_at = time.monotonic() + LOOK_EVERY

    def write(self) -> bool:
        """Write the status down when it has changed; return whether what is written is so."""
        now = self.status.as_json()
        if now == self._written:
            return True
        try:
            write_json(self.folder / STATUS, now)
        except OSError:
            return not self.folder.is_dir()  # nobody waits for it any more
        self._written = now
        return True

    def _something_happened(self) -> bool:
        self._read_wanted()
        if self.told_to_stop or self.wanted.state == "stopped":
            return True
        return self.workload is None or not self.workload.main_runs()

    def _wait(self, seconds: float) -> None:
        """Sleep, until a signal comes in at the latest."""
        ready, _, _ = select.select([self.wake], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
