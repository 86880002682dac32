"""A node in memory: daemons, GPUs and processes that behave as `colocate.executor.ports` says.

    world = World(gpus=2, dialect="v3")
    world.daemons, world.gpus, world.processes       # the three ports
    world.fail("processes.start", about="web", error=UnitError("no"))
    world.crash_at(5)                                # raises Crash in the fifth mutating call
    world.changes                                    # the mutating calls that took effect
    world.complaints                                 # what no executor may do, and this one did

The world has rules of its own: device memory is finite, a client that starts while its daemon is
away runs beside MPS, a client never gets more than the daemon's default, a daemon with clients
cannot be stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pydantic import TypeAdapter

from colocate.executor.errors import MpsError
from colocate.executor.ports import Dialect, GpuFacts, GpuReading, Limits, UnitPhase
from tests.executor.memory_ports import MemoryDaemons, MemoryGpus, MemoryProcesses
from tests.executor.memory_state import Crash, Daemon, Fault, Kept, Process, make_unit, uuid_of

__all__ = [
    "Crash",
    "Fault",
    "MemoryDaemons",
    "MemoryGpus",
    "MemoryProcesses",
    "World",
    "make_unit",
    "uuid_of",
]


class World:
    """All that is true of the node, and the switches that make it go wrong."""

    def __init__(
        self,
        gpus: int = 2,
        *,
        dialect: Dialect = "v2",
        memory_mib: int = 40960,
        max_clients: int = 48,
        adopt: bool = False,
    ) -> None:
        self.dialect: Dialect = dialect
        self.max_clients = max_clients
        self.adopt = adopt
        self.facts = {
            uuid_of(i): GpuFacts(
                uuid=uuid_of(i),
                name="Memory GPU",
                memory_mib=memory_mib,
                compute_mode="default",
                mig=False,
                driver="000.00",
            )
            for i in range(gpus)
        }
        self.readings: dict[str, GpuReading] = {}
        """What `MemoryGpus.read` returns; without an entry only memory is told."""
        self.alive: dict[str, Daemon] = {}
        self.running: dict[str, Process] = {}
        self.serving: set[str] = set()
        """Keys of the units that requests are sent to."""
        self.seconds = 0.0
        self.calls: list[tuple[str, str]] = []
        """Every call of a port: (operation, subject)."""
        self.changes: list[tuple[str, str]] = []
        """Every call that changed something."""
        self.complaints: list[str] = []
        self.faults: list[Fault] = []
        self.lets_go = True
        """Whether units end when they are asked to."""
        self.on_call: Callable[[str, str], None] | None = None
        """Called first in each call of a port."""
        self._crash_in: int | None = None
        self._crash_after = False
        self._next_pid = 1000
        self.daemons = MemoryDaemons(self)
        self.processes = MemoryProcesses(self)
        self.gpus = MemoryGpus(self)

    # --- switches ---

    def fail(
        self,
        op: str,
        about: str = "",
        *,
        error: BaseException | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Let the next calls of `op` fail."""
        self.faults.append(
            Fault(op, about, error or MpsError(f"injected: {op}"), times=times, after=after)
        )

    def crash_at(self, n: int, *, after: bool = False) -> None:
        """End the executor in its n-th mutating call from now, before or after its effect."""
        self._crash_in, self._crash_after = n, after

    def calm(self) -> None:
        """Take back all faults and crashes that have not happened yet."""
        self.faults.clear()
        self._crash_in = None

    def add_foreign_client(self, gpu: str) -> int:
        """Let a process that is not ours become a client, and return its pid."""
        daemon = self.alive[gpu]
        self._serve(daemon)
        daemon.foreign.append(self.new_pid())
        return daemon.foreign[-1]

    def add_foreign_daemon(self, gpu: str, limits: Limits = Limits()) -> None:  # noqa: B008
        """Let somebody else have started the daemon of a GPU."""
        self.alive[gpu] = Daemon(limits=limits, ours=False)

    def break_server(self, gpu: str) -> None:
        """Put a server into FAULT: its clients are lost."""
        self.alive[gpu].server = "fault"
        for process in self.running.values():
            if process.state.unit.gpu == gpu and process.member:
                process.state = replace(process.state, phase="lost", pids=(), detail="server fault")

    def lose_daemon(self, gpu: str) -> None:
        """Let a daemon die, and its clients with it."""
        self.break_server(gpu)
        del self.alive[gpu]

    def spoil_limits(self, gpu: str) -> None:
        """Let somebody set other limits by hand."""
        daemon = self.alive[gpu]
        daemon.limits = replace(daemon.limits, share_pct=7)

    def takes_clients(self, gpu: str) -> bool:
        """Tell whether a client could join now."""
        return self.alive[gpu].server != "fault"

    def drop_foreign(self, gpu: str) -> None:
        """Let the clients that are not ours end."""
        self.alive[gpu].foreign.clear()

    def end_unit(self, key: str, phase: UnitPhase = "failed", detail: str = "it ended") -> None:
        """Let a unit end by itself."""
        process = self.running[key]
        process.state = replace(process.state, phase=phase, pids=(), detail=detail)

    def kept(self) -> str:
        """Return what a node keeps when the executor's process is killed, as JSON."""
        kept = Kept(
            self.alive, self.running, self.serving, self.changes, self.complaints, self._next_pid
        )
        return TypeAdapter(Kept).dump_json(kept).decode()

    def take_back(self, kept: str) -> None:
        """Be as another process left it."""
        found = TypeAdapter(Kept).validate_json(kept)
        self.alive, self.running, self.serving = found.alive, found.running, found.serving
        self.changes, self.complaints = found.changes, found.complaints
        self._next_pid = found.next_pid

    # --- what tests ask ---

    def used_mib(self, gpu: str) -> float:
        """Return the device memory in use."""
        return sum(
            p.state.unit.memory_gib * 1024
            for p in self.running.values()
            if p.state.unit.gpu == gpu and p.state.pids
        )

    def members(self, gpu: str) -> dict[str, int]:
        """Return the share that each unit's processes really have, by key."""
        return {
            key: p.effective_share_pct
            for key, p in sorted(self.running.items())
            if p.state.unit.gpu == gpu and p.state.pids and p.member
        }

    # --- inside ---

    def new_pid(self) -> int:
        self._next_pid += 1
        return self._next_pid

    def _serve(self, daemon: Daemon) -> None:
        if daemon.server == "none":
            daemon.server, daemon.server_pid = "active", self.new_pid()

    def enter(self, op: str, about: str, *, changes: bool) -> None:
        """Note a call; let it fail or crash before its effect."""
        self.calls.append((op, about))
        if self.on_call is not None:
            self.on_call(op, about)
        if changes and self._crash_in is not None:
            self._crash_in -= 1
            if self._crash_in <= 0 and not self._crash_after:
                self._crash_in = None
                raise Crash
        self._raise_fault(op, about, after=False)
        if changes:
            self.changes.append((op, about))

    def leave(self, op: str, about: str, *, changes: bool) -> None:
        """Let a call fail or crash after its effect."""
        self._raise_fault(op, about, after=True)
        if changes and self._crash_in is not None and self._crash_after and self._crash_in <= 0:
            self._crash_in = None
            raise Crash

    def _raise_fault(self, op: str, about: str, *, after: bool) -> None:
        for fault in self.faults:
            if fault.op == op and fault.about in about and fault.after == after and fault.times > 0:
                fault.times -= 1
                raise fault.error
