"""The three ports over a `World`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from colocate.executor.errors import ForeignError, MpsError, UnitError
from colocate.executor.mps.encode import space_name
from colocate.executor.ports import (
    Client,
    DaemonState,
    GpuFacts,
    GpuReading,
    Limits,
    UnitPhase,
    UnitState,
)
from colocate.executor.unit import Unit
from tests.executor.memory_state import Daemon, Process

if TYPE_CHECKING:
    from tests.executor.world import World

__all__ = ["MemoryDaemons", "MemoryGpus", "MemoryProcesses"]


class MemoryDaemons:
    """`Daemons` over a `World`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def observe(self, gpu: str) -> DaemonState:
        self._world.enter("daemons.observe", gpu, changes=False)
        daemon = self._world.alive.get(gpu)
        if daemon is None:
            return DaemonState(
                gpu=gpu, alive=False, ours=False, dialect=None, server="none", limits=None
            )
        clients = [
            Client(pid=pid, server_pid=daemon.server_pid, unit=key)
            for key, p in sorted(self._world.running.items())
            if p.state.unit.gpu == gpu and p.member
            for pid in p.state.pids
        ]
        clients += [
            Client(pid=pid, server_pid=daemon.server_pid, unit=None) for pid in daemon.foreign
        ]
        return DaemonState(
            gpu=gpu,
            alive=True,
            ours=daemon.ours or self._world.adopt,
            dialect=self._world.dialect,
            server=daemon.server,
            limits=daemon.limits,
            settled=daemon.settled,
            clients=tuple(clients),
        )

    def start(self, gpu: str) -> None:
        self._world.enter("daemons.start", gpu, changes=gpu not in self._world.alive)
        fresh = gpu not in self._world.alive
        if gpu not in self._world.facts:
            raise MpsError(f"no GPU {gpu}")
        self._world.alive.setdefault(gpu, Daemon())
        self._world.leave("daemons.start", gpu, changes=fresh)

    def stop(self, gpu: str) -> None:
        daemon = self._world.alive.get(gpu)
        self._world.enter("daemons.stop", gpu, changes=daemon is not None)
        if daemon is None:
            return
        if not daemon.ours and not self._world.adopt:
            self._world.complaints.append(f"stopped the daemon of {gpu}, which is not ours")
            raise ForeignError(f"the daemon of {gpu} is not ours")
        if self.observe(gpu).clients:
            self._world.complaints.append(f"stopped the daemon of {gpu} while it has clients")
            raise MpsError(f"the daemon of {gpu} has clients")
        del self._world.alive[gpu]
        self._world.leave("daemons.stop", gpu, changes=True)

    def set_limits(self, gpu: str, limits: Limits) -> None:
        daemon = self._world.alive.get(gpu)
        differs = daemon is None or daemon.limits != limits or not daemon.settled
        self._world.enter("daemons.set_limits", gpu, changes=differs)
        if daemon is None:
            raise MpsError(f"no daemon for {gpu}")
        if limits.spaces and self._world.dialect == "v2":
            raise MpsError("the v2 dialect has no spaces")
        kept = {s.name for s in limits.spaces}
        for key, process in self._world.running.items():
            space = space_name(key)
            in_use = process.state.unit.gpu == gpu and process.member and process.state.pids
            if self._world.dialect == "v3" and in_use and space not in kept:
                self._world.complaints.append(f"removed the space of {key} while it runs")
                raise MpsError(f"space {space} has clients")
        daemon.limits, daemon.settled = limits, True
        self._world.leave("daemons.set_limits", gpu, changes=differs)

    def reset(self, gpu: str) -> None:
        self._world.enter("daemons.reset", gpu, changes=True)
        daemon = self._world.alive.get(gpu)
        if daemon is None:
            raise MpsError(f"no daemon for {gpu}")
        if daemon.foreign:
            self._world.complaints.append(f"reset the server of {gpu} under foreign clients")
        daemon.server, daemon.server_pid, daemon.foreign = "none", 0, []
        for process in self._world.running.values():
            if process.state.unit.gpu == gpu and process.member and process.state.pids:
                process.state = replace(process.state, phase="lost", pids=(), detail="server reset")
        self._world.leave("daemons.reset", gpu, changes=True)

    def environment(self, unit: Unit) -> Mapping[str, str]:
        self._world.enter("daemons.environment", unit.key, changes=False)
        pipe = f"/mps/{unit.gpu}"
        if self._world.dialect == "v3":
            return {"CUDA_MPS_PIPE_DIRECTORY": f"{pipe}/server/{space_name(unit.key)}"}
        made = {
            "CUDA_MPS_PIPE_DIRECTORY": pipe,
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(unit.share_pct),
        }
        if unit.memory_limit_mib is not None:
            made["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={unit.memory_limit_mib}M"
        return made

    def terminate(self, gpu: str, client: Client) -> None:
        self._world.enter("daemons.terminate", f"{gpu} {client.pid}", changes=True)
        daemon = self._world.alive.get(gpu)
        if daemon is not None and client.pid in daemon.foreign:
            self._world.complaints.append(f"terminated client {client.pid}, which is not ours")
            daemon.foreign.remove(client.pid)
        for process in self._world.running.values():
            if client.pid in process.state.pids:
                left = tuple(pid for pid in process.state.pids if pid != client.pid)
                process.state = replace(process.state, pids=left)
        self._world.leave("daemons.terminate", f"{gpu} {client.pid}", changes=True)


class MemoryProcesses:
    """`Processes` over a `World`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def observe(self) -> tuple[UnitState, ...]:
        self._world.enter("processes.observe", "", changes=False)
        return tuple(p.state for _, p in sorted(self._world.running.items()))

    def start(self, unit: Unit, environment: Mapping[str, str]) -> None:
        world = self._world
        known = world.running.get(unit.key)
        fresh = known is None or not known.state.pids
        world.enter("processes.start", unit.key, changes=fresh)
        if not fresh:
            return
        for other in world.running.values():
            same = other.state.unit.place == unit.place and other.state.pids
            if same and unit.role == "task":
                world.complaints.append(f"two processes of task {unit.place} at once")
        capacity = world.facts[unit.gpu].memory_mib
        if world.used_mib(unit.gpu) + unit.memory_gib * 1024 > capacity + 1e-6:
            world.complaints.append(f"out of memory on {unit.gpu} when {unit.key} started")
            raise UnitError(f"unit {unit.key}: out of memory")
        pid = world.new_pid()
        member, share = self._join(unit, environment, pid)
        state = UnitState(unit=unit, phase="starting", pids=(pid,))
        starts = 1 if known is None else known.starts + 1
        world.running[unit.key] = Process(state, dict(environment), member, share, starts)
        world.leave("processes.start", unit.key, changes=True)

    def _join(self, unit: Unit, environment: Mapping[str, str], pid: int) -> tuple[bool, int]:
        """Become a client, if there is a daemon; return whether, and with which share."""
        world = self._world
        daemon = world.alive.get(unit.gpu)
        if daemon is None:
            return False, 100
        if daemon.server == "fault":
            raise UnitError(f"unit {unit.key}: the MPS server is not ready")
        if len(world.daemons.observe(unit.gpu).clients) >= world.max_clients:
            raise UnitError(f"unit {unit.key}: the client limit is reached")
        share = self._share(daemon, unit, environment)
        world._serve(daemon)
        return True, share

    def _share(self, daemon: Daemon, unit: Unit, environment: Mapping[str, str]) -> int:
        if self._world.dialect == "v3":
            name = environment["CUDA_MPS_PIPE_DIRECTORY"].rpartition("/")[2]
            for space in daemon.limits.spaces:
                if space.name == name:
                    return min(space.share_pct, daemon.limits.share_pct)
            raise UnitError(f"unit {unit.key}: there is no space {name}")
        asked = int(environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"])
        return min(asked, daemon.limits.share_pct)

    def wait_ready(self, key: str) -> None:
        self._world.enter("processes.wait_ready", key, changes=False)
        process = self._find(key)
        if not process.state.pids:
            raise UnitError(f"unit {key} does not run: {process.state.detail}")
        if process.state.phase == "starting":
            process.state = replace(process.state, phase="ready")
        self._world.leave("processes.wait_ready", key, changes=False)

    def switch(self, old: str | None, new: str | None) -> None:
        about = f"{old or '-'} -> {new or '-'}"
        self._world.enter("processes.switch", about, changes=True)
        if new is not None:
            if self._find(new).state.phase != "ready":
                self._world.complaints.append(f"switched to {new}, which is not ready")
            self._world.serving.add(new)
        if old is not None:
            self._world.serving.discard(old)
        self._world.leave("processes.switch", about, changes=True)

    def stop(self, key: str) -> None:
        process = self._world.running.get(key)
        self._world.enter("processes.stop", key, changes=process is not None)
        if process is None:
            return
        if process.state.pids and not self._world.lets_go:
            raise UnitError(f"unit {key} ignores SIGTERM")
        if process.state.pids and key in self._world.serving:
            self._world.complaints.append(f"stopped {key} while requests are sent to it")
        del self._world.running[key]
        self._world.serving.discard(key)
        self._world.leave("processes.stop", key, changes=True)

    def pause(self, key: str) -> None:
        self._set_phase("pause", key, "paused")

    def resume(self, key: str) -> None:
        self._set_phase("resume", key, "ready")

    def _set_phase(self, op: str, key: str, phase: UnitPhase) -> None:
        self._world.enter(f"processes.{op}", key, changes=True)
        process = self._find(key)
        if not process.state.pids:
            raise UnitError(f"unit {key} does not run")
        process.state = replace(process.state, phase=phase)
        self._world.leave(f"processes.{op}", key, changes=True)

    def set_batch(self, key: str, batch: int) -> None:
        process = self._find(key)
        self._world.enter("processes.set_batch", key, changes=process.state.unit.batch != batch)
        if not self.can_set_batch(process.state.unit):
            raise UnitError(f"unit {key}: its batch size cannot be changed while it runs")
        process.state = replace(process.state, unit=replace(process.state.unit, batch=batch))
        self._world.leave("processes.set_batch", key, changes=True)

    def can_set_batch(self, unit: Unit) -> bool:
        return not unit.launch.startswith("fixed")

    def _find(self, key: str) -> Process:
        try:
            return self._world.running[key]
        except KeyError:
            raise UnitError(f"no unit {key}") from None


class MemoryGpus:
    """`Gpus` over a `World`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def facts(self) -> Sequence[GpuFacts]:
        self._world.enter("gpus.facts", "", changes=False)
        return tuple(self._world.facts.values())

    def read(self, gpu: str) -> GpuReading:
        self._world.enter("gpus.read", gpu, changes=False)
        if gpu not in self._world.facts:
            raise MpsError(f"no GPU {gpu}")
        reading = self._world.readings.get(gpu, GpuReading(seconds=self._world.seconds))
        return replace(
            reading,
            seconds=self._world.seconds,
            memory_used_mib=self._world.used_mib(gpu),
            memory_total_mib=float(self._world.facts[gpu].memory_mib),
        )

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        self._world.enter("gpus.mps_pids", gpu, changes=False)
        return tuple(
            pid
            for p in self._world.running.values()
            if p.state.unit.gpu == gpu and p.member
            for pid in p.state.pids
        )
