"""The world behind the ports: one GPU, its units, their keeper, its MPS daemon, and the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from colocate.executor.errors import HeldError, UnitError
from colocate.executor.ports import (
    Client,
    DaemonState,
    GpuFacts,
    GpuReading,
    Limits,
    UnitPhase,
    UnitState,
)
from colocate.executor.simulated.queue import ServiceQueue
from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.unit import Unit

__all__ = ["SimulatedNode", "Truth", "UnitOfNode"]

BACK_OFF_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the models do not know."""

    slower: Callable[[str, float], float] = lambda _workload, _now: 1.0
    """By how much a workload is slower than modelled, by its id and the time."""
    company: float = 1.0
    """By how much slowdowns in company are larger than modelled."""
    start_s: Mapping[str, float] | float = 5.0
    """How long a process takes to get ready."""

    def start(self, workload: str) -> float:
        """Return how long a workload takes to get ready."""
        if isinstance(self.start_s, Mapping):
            return self.start_s[workload]
        return self.start_s


@dataclass(slots=True)
class UnitOfNode:
    """One unit and its keeper."""

    unit: Unit
    phase: UnitPhase
    ready_at: float
    pid: int
    restarts: int = 0
    detail: str = ""


class SimulatedNode:
    """A node with one GPU; it is its own daemons, processes and GPUs."""

    def __init__(
        self,
        gpu: str,
        model: OneGpu,
        queues: Mapping[str, ServiceQueue],
        truth: Truth,
    ) -> None:
        self.gpu = gpu
        self.model = model
        self.queues = dict(queues)
        self.truth = truth
        self.now = 0.0
        self.units: dict[str, UnitOfNode] = {}
        self.serving: dict[str, str] = {}
        """Key of the unit that requests go to, by service."""
        self.server: str = "none"
        self.limits = Limits()
        self.trained: dict[str, float] = {}
        """Samples that each task has trained."""
        self.idle: list[tuple[float, float]] = []
        """Stretches of time in which nothing trained."""
        self.on_second: Callable[[float], None] = lambda _now: None
        """Called each second of a wait: others go on while one waits."""
        self.crashes: list[float] = []
        """When training takes the MPS server down with it, ascending."""
        self._pid = 1000
        self._locked = False
        self._idle_from: float | None = 0.0

    # -- time ----------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Let time pass."""
        while self.now < until:
            end = min(until, self._next_event(), math.floor(self.now) + 1.0)
            end = max(end, self.now + 1e-6)
            self._piece(end)
            self.now = end
            self._events()

    def _next_event(self) -> float:
        ready = [u.ready_at for u in self.units.values() if u.ready_at > self.now]
        return min([*ready, *(c for c in self.crashes[:1] if c > self.now)], default=math.inf)

    def _events(self) -> None:
        if self.crashes and self.crashes[0] <= self.now:
            if self._crash():
                self.crashes.pop(0)
            else:  # nobody trains: it happens when somebody does
                self.crashes[0] = self.now + 1.0
        for u in self.units.values():
            if u.ready_at > self.now:
                continue
            if u.phase == "backing_off":
                # The server takes new clients again once all that it told of the fault are gone.
                self.server = "active"
                u.phase, u.ready_at = "starting", self.now + self.truth.start(u.unit.workload)
                u.pid = self._new_pid()
            elif u.phase == "starting":
                u.phase = "ready"

    def _crash(self) -> bool:
        running = [u for u in self.units.values() if u.phase in ("ready", "starting", "paused")]
        if not any(u.unit.role == "task" and u.phase == "ready" for u in running):
            return False
        self.server = "fault"
        for u in running:
            u.phase, u.ready_at = "backing_off", self.now + BACK_OFF_S
            u.restarts += 1
            u.detail = "killed by signal 6" if u.unit.role == "task" else "MPS server fault"
        return True

    def _piece(self, end: float) -> None:
        """Serve and train for a piece in which nothing changes."""
        working = self._working()
        tenants = [_tenant(u.unit) for u in working]
        trains = False
        for i, u in enumerate(working):
            others = [*tenants[:i], *tenants[i + 1 :]]
            speed = self._rate(u.unit, tenants[i], others)
            if u.unit.role == "task":
                name = u.unit.workload
                self.trained[name] = self.trained.get(name, 0.0) + speed * (end - self.now)
                trains = True
        for name, queue in self.queues.items():
            key = self.serving.get(name)
            at = next((i for i, u in enumerate(working) if u.unit.key == key), None)
            if at is None:
                queue.advance(end, 1, None)
                continue
            unit = working[at].unit
            rate = self._rate(unit, tenants[at], [*tenants[:at], *tenants[at + 1 :]])
            queue.advance(end, unit.batch, unit.batch / rate)
        if trains and self._idle_from is not None:
            self.idle.append((self._idle_from, self.now))
            self._idle_from = None
        elif not trains and self._idle_from is None:
            self._idle_from = self.now

    def _working(self) -> list[UnitOfNode]:
        serving = set(self.serving.values())
        return [
            u
            for u in self.units.values()
            if u.phase == "ready" and (u.unit.role == "task" or u.unit.key in serving)
        ]

    def _rate(self, unit: Unit, tenant: Tenant, others: Sequence[Tenant]) -> float:
        speed = self.model.speed(tenant, others)
        if speed is None:
            raise UnitError(f"nobody knows how fast {unit.key} is")
        slower = self.truth.slower(unit.workload, self.now)
        return speed.rate / slower / (self.truth.company if others else 1.0)

    def longest_idle_s(self) -> float:
        """Return the longest time in which nothing trained."""
        open_end = [] if self._idle_from is None else [(self._idle_from, self.now)]
        return max((b - a for a, b in [*self.idle, *open_end]), default=0.0)

    # -- the node's lock -----------------------------------------------------------------------

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep others from starting and stopping units."""
        if self._locked:
            raise HeldError("another change is under way")
        self._locked = True
        try:
            yield
        finally:
            self._locked = False

    def _new_pid(self) -> int:
        self._pid += 1
        return self._pid

    def find(self, key: str) -> UnitOfNode:
        """Return a unit, or raise `UnitError`."""
        try:
            return self.units[key]
        except KeyError:
            raise UnitError(f"no unit {key}") from None


class SimulatedDaemons:
    """`ports.Daemons` of a simulated node."""

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node

    def observe(self, gpu: str) -> DaemonState:
        """Return the state of the daemon."""
        clients = tuple(
            Client(pid=u.pid, server_pid=1, unit=u.unit.key)
            for u in self.node.units.values()
            if u.phase in ("starting", "ready", "paused")
        )
        return DaemonState(
            gpu=gpu,
            alive=True,
            ours=True,
            dialect="v2",
            server="fault" if self.node.server == "fault" else "active",
            limits=self.node.limits,
            clients=clients,
        )

    def start(self, gpu: str) -> None:
        """Do nothing: it is always there."""

    def stop(self, gpu: str) -> None:
        """Do nothing: it is always there."""

    def set_limits(self, gpu: str, limits: Limits) -> None:
        """Keep the limits."""
        del gpu
        self.node.limits = limits

    def reset(self, gpu: str) -> None:
        """Start a new server."""
        del gpu
        self.node.server = "active"

    def environment(self, unit: Unit) -> Mapping[str, str]:
        """Return what says the share."""
        return {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(unit.share_pct)}

    def terminate(self, gpu: str, client: Client) -> None:
        """End a client."""
        del gpu
        for key, u in list(self.node.units.items()):
            if u.pid == client.pid:
                del self.node.units[key]


class SimulatedProcesses:
    """`ports.Processes` of a simulated node."""

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node

    def observe(self) -> tuple[UnitState, ...]:
        """Return every unit."""
        return tuple(
            UnitState(
                unit=u.unit,
                phase=u.phase,
                pids=() if u.phase == "backing_off" else (u.pid,),
                restarts=u.restarts,
                detail=u.detail,
            )
            for _, u in sorted(self.node.units.items())
        )

    def start(self, unit: Unit, environment: Mapping[str, str]) -> None:
        """Start a unit."""
        del environment
        node = self.node
        if unit.key in node.units:
            return
        used = sum(u.unit.memory_gib for u in node.units.values())
        if used + unit.memory_gib > node.model.pool.memory_gib:
            raise UnitError(f"unit {unit.key}: out of memory")
        if node.server == "fault":
            raise UnitError(f"unit {unit.key}: the MPS server is not ready")
        ready = node.now + node.truth.start(unit.workload)
        node.units[unit.key] = UnitOfNode(unit, "starting", ready, node._new_pid())  # noqa: SLF001

    def wait_ready(self, key: str) -> None:
        """Let time pass until it is ready, with everybody else at work."""
        node = self.node
        while node.find(key).phase in ("starting", "backing_off"):
            before = node.now
            node.advance(min(math.floor(before) + 1.0, max(node.find(key).ready_at, before + 1e-6)))
            if node.now == math.floor(node.now):
                node.on_second(node.now)

    def switch(self, old: str | None, new: str | None) -> None:
        """Send requests elsewhere."""
        if new is not None:
            self.node.serving[self.node.find(new).unit.workload] = new
        elif old is not None:
            for name, key in list(self.node.serving.items()):
                if key == old:
                    del self.node.serving[name]

    def stop(self, key: str) -> None:
        """Remove a unit."""
        self.node.units.pop(key, None)

    def pause(self, key: str) -> None:
        """Halt a unit."""
        found = self.node.find(key)
        if found.phase not in ("ready", "paused"):
            raise UnitError(f"unit {key} is {found.phase}")
        found.phase = "paused"

    def resume(self, key: str) -> None:
        """Let a unit go on."""
        if self.node.find(key).phase == "paused":
            self.node.find(key).phase = "ready"

    def set_batch(self, key: str, batch: int) -> None:
        """Change the batch of a unit."""
        found = self.node.find(key)
        found.unit = replace(found.unit, batch=batch)

    def can_set_batch(self, unit: Unit) -> bool:
        """Services can; a task trains at the batch that it was given."""
        return unit.role == "service"


class SimulatedGpus:
    """`ports.Gpus` of a simulated node."""

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node

    def facts(self) -> Sequence[GpuFacts]:
        """Return the one GPU."""
        return (
            GpuFacts(
                uuid=self.node.gpu,
                name=self.node.model.pool.gpu_type,
                memory_mib=int(self.node.model.pool.memory_gib * 1024),
                compute_mode="default",
                mig=False,
                driver="0",
            ),
        )

    def read(self, gpu: str) -> GpuReading:
        """Return what it says now."""
        del gpu
        used = sum(u.unit.memory_gib for u in self.node.units.values())
        return GpuReading(
            seconds=self.node.now,
            memory_used_mib=1024 * used,
            memory_total_mib=1024 * self.node.model.pool.memory_gib,
        )

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        """Return the clients."""
        del gpu
        return tuple(u.pid for u in self.node.units.values() if u.phase != "backing_off")


def _tenant(unit: Unit) -> Tenant:
    return Tenant(entry=unit.workload, role=unit.role, batch=unit.batch, share_pct=unit.share_pct)
