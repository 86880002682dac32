"""The control daemons of this node: one for each GPU, each in folders of its own.

Never touched: GPUs that are not on this node, daemons that are not ours (unless they may be
adopted), clients that are not ours.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from colocate.errors import InputError
from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps import encode
from colocate.executor.mps.control import ControlError, Exchange
from colocate.executor.mps.dialect import ClientSeen, Dialect, ServerSeen
from colocate.executor.mps.directories import GpuFolders, check_socket_length
from colocate.executor.mps.identity import (
    Record,
    boot_id,
    own_start,
    process_start,
    read_record,
    write_record,
)
from colocate.executor.mps.members import UnitPids, no_units, unit_of
from colocate.executor.mps.others import OTHER_PIPES, Found
from colocate.executor.mps.probe import features
from colocate.executor.mps.reach import Reach
from colocate.executor.mps.turns import turn
from colocate.executor.ports import Client, DaemonState, Gpus, Limits, ServerStatus
from colocate.executor.ports import Dialect as DialectName
from colocate.executor.unit import Unit

__all__ = ["NodeDaemons"]

_WORST: tuple[ServerStatus, ...] = ("fault", "initializing", "active")


class NodeDaemons:
    """The MPS control daemons of this node, as `colocate.executor.ports.Daemons`.

    Parameters
    ----------
    root
        Folder of the executor's state; daemons live below ``mps``.
    binary
        Absolute path of the control program; None looks for it.
    adopt
        Whether a daemon that serves exactly one of our GPUs, runs as this user and was started by
        somebody else may be taken over. It is treated as ours from then on.
    allow_root
        Whether anything may be changed as root.
    gpus
        The GPUs of this node; None asks the driver.
    dialect
        What a daemon that we start is to speak. One that runs keeps its own.
    unit_pids
        Returns the processes of every unit, by which clients are found to be ours.
    other_pipes
        Where daemons of others are looked for.
    deadline_s, start_deadline_s, stop_deadline_s
        How long one command, a start and a stop may take.
    record
        Called with every exchange with a control program.
    """

    def __init__(
        self,
        root: Path,
        binary: Path | str | None = None,
        adopt: bool = False,
        *,
        allow_root: bool = False,
        gpus: Gpus | None = None,
        dialect: DialectName = "v2",
        unit_pids: UnitPids = no_units,
        other_pipes: tuple[Path, ...] = OTHER_PIPES,
        deadline_s: float = 10.0,
        start_deadline_s: float = 30.0,
        stop_deadline_s: float = 30.0,
        record: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._root = root
        self._adopt = adopt
        self._allow_root = allow_root
        self._dialect: DialectName = dialect
        self._unit_pids = unit_pids
        self._start_deadline_s = start_deadline_s
        self._stop_deadline_s = stop_deadline_s
        self._reach = Reach(
            root=root,
            given_binary=binary,
            gpus=gpus,
            other_pipes=other_pipes,
            deadline_s=deadline_s,
            patience_s=stop_deadline_s,
            record=record,
        )

    # --- looking ---------------------------------------------------------------------------------

    def observe(self, gpu: str) -> DaemonState:
        """Ask the daemon of a GPU what is true.

        Raises
        ------
        MpsError
            When the GPU is not on this node, or its daemon hangs or talks nonsense.
        """
        found = self._reach.find(gpu)
        if found is None:
            return _absent(gpu)
        ours = found.whose == "ours" or self._may_adopt(found)
        try:
            spoken = self._reach.speak(gpu, found)
            servers = spoken.servers()
            seen = self._clients(gpu, spoken, servers)
            limits = spoken.limits(servers)
        except MpsError:
            if process_start(found.process.pid) != found.process.start_ticks:
                return _absent(gpu)  # it ended while we were asking
            if ours:
                raise
            # Somebody else's need not talk to us; that it is there is what matters.
            return replace(_absent(gpu), alive=True)
        statuses = {server.status for server in servers}
        return DaemonState(
            gpu=gpu,
            alive=True,
            ours=ours,
            dialect=spoken.name,
            server=next((status for status in _WORST if status in statuses), "none"),
            limits=limits.limits,
            settled=limits.settled,
            clients=self._with_units(seen),
        )

    def pipe_directory(self, gpu: str) -> Path:
        """Return where the daemon of a GPU listens, or will."""
        found = self._reach.find(gpu)
        return self._reach.folders(gpu).pipe if found is None else found.pipe

    def environment(self, unit: Unit) -> Mapping[str, str]:
        """Return what the environment of a unit's processes must hold to be its client.

        ``CUDA_VISIBLE_DEVICES`` holds the UUID, which MPS takes on both sides: a process that finds
        no daemon runs without MPS, and must then not see other GPUs.
        """
        gpu = encode.gpu_uuid(unit.gpu)
        found = self._reach.find(gpu)
        pipe = self._reach.folders(gpu).pipe if found is None else found.pipe
        log = self._reach.folders(gpu).log if found is None else found.log
        if self._dialect_of(gpu, found) == "v3":
            pipe = pipe / encode.SERVER_NAME / encode.space_name(unit.key)
        check_socket_length(pipe / "control")
        values = {
            "CUDA_VISIBLE_DEVICES": gpu,
            "CUDA_MPS_PIPE_DIRECTORY": encode.path_text(pipe),
            "CUDA_MPS_LOG_DIRECTORY": encode.path_text(log),
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": encode.percentage(unit.share_pct),
        }
        if unit.memory_limit_mib is not None:
            # By UUID, and for this GPU only: an entry for a GPU that the process does not see was
            # measured to take every limit away.
            limit = encode.memory_limit(unit.memory_limit_mib)
            values["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{gpu}={limit}"
        return values

    # --- changing --------------------------------------------------------------------------------

    def start(self, gpu: str) -> None:
        """Start the daemon of a GPU; nothing happens when it is there already.

        Raises
        ------
        ForeignError
            When a daemon of somebody else serves this GPU.
        """
        self._refuse_root()
        if (found := self._reach.find(gpu)) is None:
            folders = self._reach.folders(gpu)
            folders.prepare(self._root)
            with self._alone(folders):
                if (found := self._reach.find(gpu)) is None:
                    found = self._start(gpu, folders)
        self._own(gpu, found)
        self._reach.speak(gpu, found).prepare()

    def _start(self, gpu: str, folders: GpuFolders) -> Found:
        """Start a daemon, after it was written down that one is about to be."""
        if self._dialect == "v3" and not features(self._reach.control(folders)).v3:
            raise MpsError(
                f"{self._reach.program()} does not know the v3 dialect",
                advice="use v2, or a driver of r615 or later.",
            )
        write_record(
            folders.record,
            Record(
                gpu=gpu,
                state="starting",
                boot_id=boot_id(),
                since_ticks=own_start(),
                pipe=str(folders.pipe),
                log=str(folders.log),
                dialect=self._dialect,
            ),
        )
        argv = ["-d", "-p", "3"] if self._dialect == "v3" else ["-d"]
        self._reach.control(folders).start(gpu, argv, self._start_deadline_s)
        return self._wait_started(gpu, folders)

    @contextlib.contextmanager
    def _alone(self, folders: GpuFolders) -> Iterator[None]:
        """Keep others of ours from starting the same daemon."""
        limit = 2 * self._start_deadline_s
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(turn(folders.start_lock, time.monotonic() + limit))
            except OSError as failed:
                raise MpsError(
                    f"cannot lock {folders.start_lock}: {failed.strerror or 'held too long'}",
                    advice="see which other process of colocate starts daemons here.",
                ) from None
            yield

    def stop(self, gpu: str) -> None:
        """Stop a daemon of ours that has no clients; nothing happens when it is not there."""
        self._refuse_root()
        found = self._reach.find(gpu)
        if found is None:
            self._forget(gpu)
            return
        self._own(gpu, found)
        spoken = self._reach.speak(gpu, found)
        if clients := spoken.clients(spoken.servers()):
            named = ", ".join(str(client.pid) for client in clients[:5])
            raise ForeignError(
                f"the MPS daemon of {gpu} still has {len(clients)} clients ({named})",
                advice="stop them first; they would not survive it.",
            )
        spoken.quit()
        until = time.monotonic() + self._stop_deadline_s
        while process_start(found.process.pid) == found.process.start_ticks:
            if time.monotonic() > until:
                raise MpsError(
                    f"the MPS daemon of {gpu} (process {found.process.pid}) was told to end and "
                    f"did not within {self._stop_deadline_s:g} s",
                    advice=f"look into {found.log / 'control.log'}.",
                )
            time.sleep(0.02)
        self._forget(gpu)

    def set_limits(self, gpu: str, limits: Limits) -> None:
        """Bring the limits of a GPU to these, and read them back."""
        self._refuse_root()
        self._ours_alive(gpu)[1].set_limits(limits)

    def reset(self, gpu: str) -> None:
        """Shut the MPS server of a GPU down, so that the next client gets a new one.

        Raises
        ------
        ForeignError
            When it serves a client that is not ours.
        """
        self._refuse_root()
        _, spoken = self._ours_alive(gpu)
        clients = self._with_units(spoken.clients(spoken.servers()))
        if strangers := [client.pid for client in clients if client.unit is None]:
            raise ForeignError(
                f"the MPS server of {gpu} serves processes that are not ours: "
                f"{', '.join(map(str, strangers[:5]))}",
                advice="ask their owner to end them; they would not survive it.",
            )
        spoken.shut_servers(force=bool(clients))

    def terminate(self, gpu: str, client: Client) -> None:
        """Ask the server to end the GPU work of a client of ours.

        The process itself stays; once its work is ended it is safe to kill.
        """
        self._refuse_root()
        _, spoken = self._ours_alive(gpu)
        wanted = ClientSeen(client.pid, client.server_pid)
        if wanted not in spoken.clients(spoken.servers()):
            return  # it has left by itself
        if unit_of(client.pid, self._owners()) is None:
            raise ForeignError(
                f"process {client.pid} on {gpu} is not one of ours",
                advice="ask its owner to end it.",
            )
        spoken.terminate(wanted)

    # --- helpers ---------------------------------------------------------------------------------

    def _refuse_root(self) -> None:
        if os.geteuid() == 0 and not self._allow_root:
            raise InputError(
                "this is root, and nothing is changed as root unless told to",
                advice="run as the user of the workloads, or give --allow-root.",
            )

    def _dialect_of(self, gpu: str, found: Found | None) -> DialectName:
        """Return what the daemon of a GPU speaks, or will when it is started."""
        if found is None:
            return self._dialect
        return self._reach.speak(gpu, found).name

    def _may_adopt(self, found: Found) -> bool:
        return self._adopt and found.refusal is None

    def _own(self, gpu: str, found: Found) -> None:
        """See that the daemon is ours, adopt it, or refuse."""
        if found.whose == "ours":
            record = self._reach.folders(gpu).record
            if found.record is not None and found.record != read_record(record):
                write_record(record, found.record)  # a crash came between start and record
            return
        if not self._may_adopt(found):
            raise ForeignError(
                f"the MPS daemon of {gpu} (process {found.process.pid}, in {found.pipe}) is not "
                f"ours{f': {found.refusal}' if found.refusal else ''}",
                advice="end it, or give --adopt."
                if found.refusal is None
                else "ask its owner to end it.",
            )
        folders = self._reach.folders(gpu)
        folders.prepare(self._root)
        write_record(
            folders.record,
            Record(
                gpu=gpu,
                state="running",
                boot_id=boot_id(),
                since_ticks=found.process.start_ticks,
                pipe=str(found.pipe),
                log=str(found.log),
                dialect=self._reach.speak(gpu, found).name,
                adopted=True,
                pid=found.process.pid,
                start_ticks=found.process.start_ticks,
            ),
        )

    def _ours_alive(self, gpu: str) -> tuple[Found, Dialect]:
        found = self._reach.find(gpu)
        if found is None:
            raise ControlError(
                f"no MPS daemon serves {gpu}", kind="no-daemon", advice="start it first."
            )
        self._own(gpu, found)
        return found, self._reach.speak(gpu, found)

    def _wait_started(self, gpu: str, folders: GpuFolders) -> Found:
        """Wait until the daemon's pid file names a living daemon that answers."""
        until = time.monotonic() + self._start_deadline_s
        wait = 0.01
        while True:
            found = self._reach.find(gpu)
            if found is not None and found.whose == "ours":
                try:
                    self._reach.speak(gpu, found)
                except ControlError as failed:
                    if failed.kind != "no-daemon":
                        raise
                else:
                    return found
            if time.monotonic() > until:
                raise MpsError(
                    f"the MPS daemon of {gpu} was started and does not answer after "
                    f"{self._start_deadline_s:g} s",
                    advice=f"look into {folders.log / 'control.log'}.",
                )
            time.sleep(wait)
            wait = min(2 * wait, 0.25)

    def _forget(self, gpu: str) -> None:
        record = self._reach.folders(gpu).record
        if read_record(record) is not None:
            record.unlink(missing_ok=True)

    def _clients(
        self, gpu: str, spoken: Dialect, servers: tuple[ServerSeen, ...]
    ) -> tuple[ClientSeen, ...]:
        """Return the clients of a GPU; in FAULT those that the driver counts, if need be.

        That a server is in FAULT has to be seen even where it answers nothing else.
        """
        try:
            return spoken.clients(servers)
        except ControlError:
            faulted = [server.pid for server in servers if server.status == "fault"]
            if len(faulted) != 1:
                raise
            return tuple(ClientSeen(pid, faulted[0]) for pid in self._reach.mps_pids(gpu))

    def _owners(self) -> dict[int, str]:
        return {pid: key for key, pids in self._unit_pids().items() for pid in pids}

    def _with_units(self, seen: tuple[ClientSeen, ...]) -> tuple[Client, ...]:
        owners = self._owners() if seen else {}
        return tuple(
            Client(pid=client.pid, server_pid=client.server_pid, unit=unit_of(client.pid, owners))
            for client in sorted(seen, key=lambda client: client.pid)
        )


def _absent(gpu: str) -> DaemonState:
    return DaemonState(gpu=gpu, alive=False, ours=False, dialect=None, server="none", limits=None)
