"""The units of this node, each with a keeper: `colocate.executor.ports.Processes`."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.ports import UnitState
from colocate.executor.unit import Unit
from colocate.executor.workloads import looking
from colocate.executor.workloads.folders import Folders
from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.log import tail
from colocate.executor.workloads.keeper.status import Status, Wanted, keeper_pid, mark
from colocate.executor.workloads.looking import FINAL, phase_of, pids_of
from colocate.executor.workloads.spec import spec_of, unit_of
from colocate.executor.workloads.starting import start_keeper
from colocate.executor.workloads.switching import switch_requests
from colocate.executor.workloads.units import key_of
from colocate.launch import LaunchFile

__all__ = ["KeptProcesses"]

_log = logging.getLogger(__name__)
POLL = 0.02


class KeptProcesses:
    """Units whose keepers and files lie below a state folder.

    Parameters
    ----------
    root
        The state folder.
    launches
        How each program is started; None where nothing is to be started.
    outer
        The environment that launch entries pick from; that of this process when left out.
    """

    def __init__(
        self, root: Path, launches: LaunchFile | None, outer: Mapping[str, str] | None = None
    ) -> None:
        self._folders = Folders(Path(root))
        self._launches = launches
        self._outer = dict(os.environ if outer is None else outer)

    # -- looking -----------------------------------------------------------------------------------

    def observe(self) -> tuple[UnitState, ...]:
        """Return every unit that was started and not removed, by key."""
        table = procs.table()
        found = []
        for key in self._folders.names():
            state = self._observe(key, table)
            if state is not None:
                found.append(state)
        return tuple(found)

    def _observe(self, key: str, table: dict[int, procs.Process]) -> UnitState | None:
        # Who keeps it is asked before what the keeper wrote: one that ends writes first.
        pid = keeper_pid(self._folders.of(key))
        spec = self._folders.spec(key)
        if spec is None:
            return None
        status = self._folders.status(key)
        wanted = self._folders.wanted(key)
        unit = unit_of(spec, wanted.batch if status is None else status.batch)
        pids = pids_of(self._folders.of(key), status, pid, table)
        phase, detail = phase_of(status, wanted, pid, pids)
        restarts = 0 if status is None else status.restarts
        return UnitState(unit=unit, phase=phase, pids=pids, restarts=restarts, detail=detail)  # type: ignore[arg-type]

    def port(self, key: str) -> int | None:
        """Return the port that a unit was given, if it was given one."""
        spec = self._folders.spec(key)
        port = None if spec is None else spec.get("port")
        return port if isinstance(port, int) else None

    def log(self, key: str, characters: int = 2000) -> str:
        """Return the end of what a unit wrote."""
        return tail(self._folders.of(key), characters)

    # -- starting ----------------------------------------------------------------------------------

    def start(self, unit: Unit, environment: Mapping[str, str]) -> None:
        """Start a unit; nothing happens when it runs already."""
        folder = self._folders.of(unit.key)
        if keeper_pid(folder) is not None:
            status = self._folders.status(unit.key)
            ends = self._folders.wanted(unit.key).state == "stopped"
            if not ends and (status is None or status.phase not in FINAL):
                return
            seconds = looking.stop_seconds(self._spec(unit.key))
            self._wait(unit.key, lambda: keeper_pid(folder) is None, "it is being stopped", seconds)
        program = self._program(unit)
        port = self._folders.free_port(unit.key, program.ports)
        spec = spec_of(unit, program, port, environment, self._outer)
        name, _, value = mark(folder).partition("=")
        spec["env"][name] = value
        before = self._folders.wanted(unit.key)
        runs = pids_of(folder, self._folders.status(unit.key), None, procs.table())
        # whoever halted it has not let it go on since
        state = "paused" if runs and before.state == "paused" else "running"
        wanted = Wanted(serial=before.serial + 1, state=state, batch=unit.batch)
        self._folders.make(unit.key, spec, wanted)
        start_keeper(unit.key, folder)

    def _program(self, unit: Unit) -> Any:  # noqa: ANN401 - a program
        try:
            if self._launches is None:
                raise KeyError(unit.launch)
            program = self._launches.program(unit.launch)
        except KeyError:
            raise UnitError(
                f"unit {unit.key!r} needs program {unit.launch!r} of a launch file",
                advice="give the launch file that it was planned with.",
            ) from None
        if key_of(unit, program) != unit.key:
            raise UnitError(
                f"unit {unit.key!r} is another one than program {unit.launch!r} starts now "
                f"({key_of(unit, program)!r})",
                advice="give the launch file that it was planned with, or make a new preview.",
            )
        return program

    def wait_ready(self, key: str) -> None:
        """Wait until its readiness probe says yes, or raise when its deadline passes.

        A task that has ended with 0 by then counts as ready, and so does what is halted.
        """
        spec = self._spec(key)
        folder = self._folders.of(key)
        end = time.monotonic() + spec["ready"]["deadline_s"] + looking.call_seconds(spec)
        while True:
            pid, status = keeper_pid(folder), self._folders.status(key)
            phase, detail = phase_of(status, self._folders.wanted(key), pid, ())
            done = phase == "stopped" and detail == "ended with code 0"
            halted = phase == "paused" and status is not None and status.was_ready
            if phase == "ready" or done or halted:
                return
            late = time.monotonic() > end
            if late or phase not in ("starting", "paused"):
                raise self._not_ready(key, phase, detail, late=late)
            time.sleep(POLL)

    def _not_ready(self, key: str, phase: str, detail: str, *, late: bool) -> UnitError:
        """Say why, with what the process wrote: its log goes when the start is undone."""
        wrote = tail(self._folders.of(key))
        if wrote and "it wrote: " not in detail:
            detail = f"{detail or 'no reason is known'}; it wrote: {wrote}"
        when = " and not ready in time" if late else ""
        return UnitError(
            f"unit {key!r} is {phase.replace('_', ' ')}{when}: {detail or 'no reason is known'}",
            advice="correct its entry in the launch file; one that needs longer gets a longer "
            "`deadline_s` of its probe.",
        )

    # -- stopping ----------------------------------------------------------------------------------

    def stop(self, key: str) -> None:
        """Let it checkpoint and end within its deadlines, then remove it; idempotent."""
        folder = self._folders.of(key)
        spec = self._folders.spec(key)
        if spec is None:
            self._folders.remove(key)
            return
        serial = self._wish(key, state="stopped")
        end = time.monotonic() + looking.stop_seconds(spec)
        takeovers = 0
        while True:
            pid, status = keeper_pid(folder), self._folders.status(key)
            if pid is None:
                if not pids_of(folder, status, None, procs.table()):
                    if status is not None and status.detail:
                        _log.warning("unit %s: %s", key, status.detail)
                    self._folders.remove(key)
                    return
                if takeovers == 3:
                    raise UnitError(
                        f"unit {key!r}: its keepers die",
                        advice=f"see {str(folder / 'keeper.log')!r}.",
                    )
                takeovers += 1
                # it finds what is left, and ends that in order
                start_keeper(key, folder)
            elif (
                status is not None
                and status.phase == "draining"
                and status.serial == serial
                and status.error
            ):
                raise UnitError(
                    f"unit {key!r}: {status.error}",
                    advice="let it end by itself and stop it again, or allow `hard_kill`.",
                )
            if time.monotonic() > end:
                raise UnitError(
                    f"unit {key!r} was not stopped in time: "
                    f"{'' if status is None else status.detail}",
                    advice="stop it again.",
                )
            time.sleep(POLL)

    # -- changing ----------------------------------------------------------------------------------

    def pause(self, key: str) -> None:
        """Halt its processes where that is safe."""
        spec = self._spec(key)
        if not spec["pausable"]:
            raise UnitError(
                f"unit {key!r} may not be halted",
                advice="stop it, or set `pausable` in the launch file if halting it is safe.",
            )
        self._take_over(key)
        serial = self._wish(key, state="paused")
        status = self._granted(key, serial, looking.call_seconds(spec))
        if status.phase != "paused" or status.error:
            self._wish(key, state="running")
            raise UnitError(
                f"unit {key!r} was not halted: {status.error or status.detail}",
                advice="stop it instead.",
            )

    def resume(self, key: str) -> None:
        """Let them go on."""
        spec = self._spec(key)
        self._take_over(key)
        self._wish(key, state="running")
        self._wait(
            key,
            lambda: (s := self._folders.status(key)) is not None and s.phase != "paused",
            "it is still halted",
            looking.call_seconds(spec),
        )

    def set_batch(self, key: str, batch: int) -> None:
        """Change its batch size without a new process, where its launch entry can."""
        spec = self._spec(key)
        if spec["batch"] is None:
            raise UnitError(
                f"unit {key!r} learns its batch size when it starts",
                advice="start another process at the new batch size, and switch to it.",
            )
        self._take_over(key)
        before = self._folders.status(key)
        old = self._folders.wanted(key).batch if before is None else before.batch
        serial = self._wish(key, batch=batch)
        try:
            status = self._granted(key, serial, looking.call_seconds(spec))
            if status.batch != batch:
                raise UnitError(
                    f"unit {key!r} stays at batch {old}: {status.error or status.detail}",
                    advice="check how its batch size is set in the launch file.",
                )
        except UnitError:
            # nobody counts on it any more; and after a crash it would start at it
            self._wish(key, batch=old)
            raise

    def can_set_batch(self, unit: Unit) -> bool:
        """Tell whether its launch entry can change the batch size of a running process."""
        spec = self._folders.spec(unit.key)
        if spec is not None:
            return spec.get("batch") is not None
        return bool(self._program(unit).sets_batch_live)

    def switch(self, old: str | None, new: str | None) -> None:
        """Send requests to `new` instead of `old`, by the launch file's own hook."""
        sides = (("old", old), ("new", new))
        specs = {side: self._folders.spec(key) for side, key in sides if key}
        spec = specs.get("new") or specs.get("old")
        if spec is None or spec["switch"] is None:
            return
        switch_requests(spec, {side: (key, specs.get(side)) for side, key in sides})

    # -- talking to the keeper ---------------------------------------------------------------------

    def _spec(self, key: str) -> dict[str, Any]:
        spec = self._folders.spec(key)
        if spec is None:
            raise UnitError(
                f"there is no unit {key!r}", advice="see what there is: `colocate status`."
            )
        return spec

    def _take_over(self, key: str) -> None:
        """Give a unit whose keeper died a new one, if there is something to keep."""
        folder = self._folders.of(key)
        if keeper_pid(folder) is None and pids_of(
            folder, self._folders.status(key), None, procs.table()
        ):
            start_keeper(key, self._folders.of(key))

    def _wish(self, key: str, **changes: Any) -> int:  # noqa: ANN401 - fields of a wish
        """Write down what should be so, wake the keeper, and return the number of the wish."""
        before, status = self._folders.wanted(key), self._folders.status(key)
        # where one of the files is damaged, the other one knows the number
        serial = max(before.serial, 0 if status is None else status.serial) + 1
        wanted = replace(before, serial=serial, **changes)
        pid = keeper_pid(self._folders.of(key))
        try:
            self._folders.want(key, wanted)
            number = signal.SIGUSR1
        except OSError as error:
            if changes.get("state") != "stopped":
                raise UnitError(
                    f"unit {key!r}: cannot write below {str(self._folders.top)!r}: "
                    f"{error.strerror}",
                    advice="free some space.",
                ) from None
            # a full disk is no reason for letting it run: a signal says the same
            number, wanted = signal.SIGTERM, before
        one = None if not pid else procs.identity(pid)
        # the number was the keeper's when the lock was asked; it must be so still
        if one is not None and keeper_pid(self._folders.of(key)) == pid:
            procs.send(one, number)
        return wanted.serial

    def _granted(self, key: str, serial: int, seconds: float) -> Status:
        """Wait until the keeper has dealt with a wish, and return what is so then."""
        folder = self._folders.of(key)
        end = time.monotonic() + seconds + self._spec(key)["ready"]["deadline_s"]
        while True:
            pid, status = keeper_pid(folder), self._folders.status(key)
            if status is not None and status.serial >= serial:
                return status
            if pid is None or (status is not None and status.phase in FINAL):
                raise UnitError(
                    f"unit {key!r} does not run" + (f": {status.detail}" if status else ""),
                    advice="start it again: `colocate apply`.",
                )
            phase = "starting" if status is None else status.phase
            waits = phase == "backing_off" and self._folders.wanted(key).state == "running"
            if waits or time.monotonic() > end:
                raise UnitError(
                    f"unit {key!r} is {phase.replace('_', ' ')}: "
                    f"{'' if status is None else status.detail}",
                    advice="wait until it is ready.",
                )
            time.sleep(POLL)

    def _wait(self, key: str, so: Callable[[], bool], otherwise: str, seconds: float) -> None:
        """Wait until something is so; raise when the time is up or the keeper is gone."""
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end or (keeper_pid(self._folders.of(key)) is None and not so()):
                raise UnitError(f"unit {key!r}: {otherwise}", advice="try again in a while.")
            time.sleep(POLL)
