"""`World`, with daemons that are the MPS double's own core: real dialects, command by command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.ports import Client, DaemonState, Dialect, Limits, UnitPhase
from colocate.executor.unit import Unit
from tests.executor.world import MemoryProcesses, World
from tests.fakes.core_daemons import CoreDaemons
from tests.fakes.double import READING, READING_V3

__all__ = ["CoreWorld"]


@dataclass
class _Alive:
    ours: bool


class CoreWorld(World):
    """A node in memory whose daemons answer commands as the double does."""

    def __init__(self, gpus: int = 2, *, dialect: Dialect = "v2", **more: Any) -> None:
        super().__init__(gpus, dialect=dialect, **more)
        self.core = CoreDaemons(list(self.facts), dialect, before=self._command)
        self.daemons = _Daemons(self)  # type: ignore[assignment]
        self.processes = _Processes(self)
        self._strangers: dict[str, list[int]] = {}

    @property
    def alive(self) -> dict[str, Any]:
        return {gpu: _Alive(gpu in self.core.ours) for gpu in self.core.cores}

    @alive.setter
    def alive(self, _value: object) -> None:
        pass

    def _command(self, text: str) -> None:
        if not text.startswith((*READING, *READING_V3)):
            self.enter("mps", text, changes=True)

    def share_with_core(self) -> None:
        """Let the daemons know whose processes are whose."""
        self.core.units = {key: p.state.pids for key, p in self.running.items()}

    def add_foreign_client(self, gpu: str) -> int:
        pid = self.new_pid()
        pipe = str(self.core._control(gpu).pipe)
        if self.dialect == "v3":
            pipe += "/gpu/default"
        got = self.core.connect({"CUDA_MPS_PIPE_DIRECTORY": pipe}, pid)
        assert got.error is None, got
        self._strangers.setdefault(gpu, []).append(pid)
        return pid

    def takes_clients(self, gpu: str) -> bool:
        return self.core.observe(gpu).server != "fault"

    def drop_foreign(self, gpu: str) -> None:
        for pid in self._strangers.pop(gpu, []):
            self.core.leave(pid)

    def break_server(self, gpu: str) -> None:
        members = [
            p.state.pids[0]
            for p in self.running.values()
            if p.state.unit.gpu == gpu and p.member and p.state.pids
        ]
        if not members:
            self.spoil_limits(gpu)
        else:
            self.core.fault(members[0])

    def lose_daemon(self, gpu: str) -> None:
        for process in self.running.values():
            if process.state.unit.gpu == gpu and process.member:
                process.state = replace(process.state, phase="lost", pids=(), detail="no daemon")
        del self.core.cores[gpu]
        self.core.ours.discard(gpu)

    def spoil_limits(self, gpu: str) -> None:
        limits = self.core.observe(gpu).limits
        assert limits is not None
        self.core.set_limits(gpu, replace(limits, share_pct=7))

    def end_unit(self, key: str, phase: UnitPhase = "failed", detail: str = "it ended") -> None:
        for pid in self.running[key].state.pids:
            self.core.leave(pid)
        super().end_unit(key, phase, detail)


class _Daemons:
    """The core's port, with the switches of the world."""

    def __init__(self, world: CoreWorld) -> None:
        self._world = world

    def _do(self, op: str, about: str, *arguments: Any) -> Any:
        world = self._world
        world.enter(f"daemons.{op}", about, changes=False)
        world.share_with_core()
        before = len(world.changes)
        found = getattr(world.core, op)(*arguments)
        world.leave(f"daemons.{op}", about, changes=len(world.changes) > before)
        return found

    def observe(self, gpu: str) -> DaemonState:
        return self._do("observe", gpu, gpu)  # type: ignore[no-any-return]

    def start(self, gpu: str) -> None:
        self._do("start", gpu, gpu)

    def stop(self, gpu: str) -> None:
        self._do("stop", gpu, gpu)

    def set_limits(self, gpu: str, limits: Limits) -> None:
        self._do("set_limits", gpu, gpu, limits)

    def reset(self, gpu: str) -> None:
        self._do("reset", gpu, gpu)

    def environment(self, unit: Unit) -> Mapping[str, str]:
        return self._do("environment", unit.key, unit)  # type: ignore[no-any-return]

    def terminate(self, gpu: str, client: Client) -> None:
        self._do("terminate", f"{gpu} {client.pid}", gpu, client)


class _Processes(MemoryProcesses):
    """Processes that become clients of the core."""

    def _join(self, unit: Unit, environment: Mapping[str, str], pid: int) -> tuple[bool, int]:
        world = self._world
        assert isinstance(world, CoreWorld)
        got = world.core.connect(environment, pid)
        if got.error == "CUDA_ERROR_MPS_CONNECTION_FAILED" and unit.gpu not in world.core.cores:
            return False, 100  # it runs without MPS, and nobody tells
        if got.error is not None:
            raise UnitError(f"unit {unit.key}: {got.error}")
        return True, round(got.share)

    def stop(self, key: str) -> None:
        world = self._world
        assert isinstance(world, CoreWorld)
        process = world.running.get(key)
        try:
            super().stop(key)
        finally:
            if process is not None and key not in world.running:
                for pid in process.state.pids:
                    world.core.leave(pid)
