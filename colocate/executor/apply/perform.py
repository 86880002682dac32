"""Doing one action, and reading back that it is true.

Whatever a port sets it has read back when it returns; what is read back here is what no port can
know by itself. In the end everything is read back once more, by one look at the whole node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colocate.executor.apply.actions import (
    Action,
    AwaitUnit,
    ResetServer,
    SetBatch,
    SetLimits,
    StartDaemon,
    StartUnit,
    StopDaemon,
    StopUnit,
    Switch,
)
from colocate.executor.apply.desired import as_spoken
from colocate.executor.apply.differences import limits_words
from colocate.executor.apply.observed import is_finished
from colocate.executor.errors import ForeignError, MpsError, UnitError

if TYPE_CHECKING:
    from colocate.executor.ports import Daemons, DaemonState, Gpus, Processes, UnitState
    from colocate.executor.unit import Unit

__all__ = ["Ports", "perform"]

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world, as the executor may use it."""

    daemons: Daemons
    processes: Processes
    gpus: Gpus
    member_timeout_s: float = 60.0
    """How long a ready unit may take to become a client of MPS, and a stopped one to be none."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def perform(action: Action, ports: Ports) -> None:
    """Make what an action asks for true, and read it back; harmless when it is true already.

    Raises
    ------
    ColocateError
        When it cannot be done, or does not read back as asked.
    """
    match action:
        case StartDaemon(gpu=gpu):
            ports.daemons.start(gpu)
        case StopDaemon(gpu=gpu):
            _stop_daemon(gpu, ports)
        case SetLimits():
            _set_limits(action, ports)
        case ResetServer(gpu=gpu):
            _reset(gpu, ports)
        case StartUnit(unit=unit):
            _start(unit, ports)
        case AwaitUnit(unit=unit):
            ports.processes.wait_ready(unit.key)
            _await_member(unit, ports)
        case Switch(old=old, new=new):
            ports.processes.switch(
                None if old is None else old.key, None if new is None else new.key
            )
        case StopUnit(unit=unit):
            _stop(unit, ports)
        case SetBatch(unit=unit, batch=batch):
            _set_batch(unit, batch, ports)


def _expect(true: bool, message: str) -> None:
    if not true:
        raise MpsError(message, advice="look into the daemon's log folder.")


def _no_strangers(state: DaemonState, what: str) -> None:
    strangers = [client.pid for client in state.clients if client.unit is None]
    if strangers:
        shown = ", ".join(map(str, strangers[:10]))
        raise ForeignError(
            f"GPU {state.gpu}: {what} would end clients that are not ours (pid {shown})",
            advice="end them yourself first; colocate never does.",
        )


def _stop_daemon(gpu: str, ports: Ports) -> None:
    state = ports.daemons.observe(gpu)
    if not state.alive:
        return
    _no_strangers(state, "stopping the MPS daemon")
    ports.daemons.stop(gpu)


def _set_limits(action: SetLimits, ports: Ports) -> None:
    before = ports.daemons.observe(action.gpu)
    _expect(before.alive, f"GPU {action.gpu}: its MPS daemon is not there")
    wanted = as_spoken(action.limits, before.dialect)
    if before.limits != wanted or not before.settled:
        ports.daemons.set_limits(action.gpu, wanted)
    after = ports.daemons.observe(action.gpu)
    found = limits_words(after.limits) + ("" if after.settled else ", and others in its server")
    _expect(
        after.limits == wanted and after.settled,
        f"GPU {action.gpu}: set limits {limits_words(wanted)}, read back {found}",
    )


def _reset(gpu: str, ports: Ports) -> None:
    state = ports.daemons.observe(gpu)
    if state.server != "fault":
        return
    _no_strangers(state, "resetting the MPS server")
    ports.daemons.reset(gpu)
    after = ports.daemons.observe(gpu)
    _expect(after.server != "fault", f"GPU {gpu}: its MPS server is still in FAULT")


def _find(key: str, ports: Ports) -> UnitState | None:
    return next((state for state in ports.processes.observe() if state.unit.key == key), None)


def _start(unit: Unit, ports: Ports) -> None:
    before = _find(unit.key, ports)
    if before is not None and is_finished(before):
        return
    if before is not None and before.phase in ("draining", "stopped", "failed", "lost"):
        # It is on its way out, or gone: starting it now would be taken for done.
        _stop(unit, ports)
    ports.processes.start(unit, ports.daemons.environment(unit))
    after = _find(unit.key, ports)
    if after is not None and is_finished(after):
        return
    if after is None or after.phase in ("stopped", "failed", "lost"):
        detail = "it is not there" if after is None else f"{after.phase} {after.detail}".strip()
        raise UnitError(
            f"unit {unit.key} did not start: {detail}",
            advice="start its command by hand with the same environment.",
        )


def _await_member(unit: Unit, ports: Ports) -> None:
    """Make sure that MPS serves it: a client that cannot reach the daemon runs without limits."""
    deadline = ports.clock() + ports.member_timeout_s
    while not any(c.unit == unit.key for c in ports.daemons.observe(unit.gpu).clients):
        state = _find(unit.key, ports)
        if state is not None and is_finished(state):
            return
        if state is None or state.phase in ("stopped", "failed", "lost"):
            raise UnitError(f"unit {unit.key} ended as soon as it was ready")
        if ports.clock() >= deadline:
            raise UnitError(
                f"unit {unit.key} is ready, but after {ports.member_timeout_s:g} s MPS does not "
                "list it as a client: it runs without any limit",
                advice="let its readiness probe wait until the model is on the GPU, "
                "or raise --member-timeout.",
            )
        ports.sleep(_POLL_S)


def _stop(unit: Unit, ports: Ports) -> None:
    try:
        ports.processes.stop(unit.key)
    except UnitError:
        # It does not end by itself: ask the server to end its clients, which is safe for the others
        # (killing a client is not), and try once more.
        if not _terminate(unit, ports):
            raise
        ports.processes.stop(unit.key)
    if _find(unit.key, ports) is not None:
        raise UnitError(f"unit {unit.key} was stopped, and is still there")
    deadline = ports.clock() + ports.member_timeout_s
    while any(c.unit == unit.key for c in ports.daemons.observe(unit.gpu).clients):
        if ports.clock() >= deadline:
            raise UnitError(f"unit {unit.key} was stopped, and is still a client of MPS")
        ports.sleep(_POLL_S)


def _terminate(unit: Unit, ports: Ports) -> bool:
    clients = [c for c in ports.daemons.observe(unit.gpu).clients if c.unit == unit.key]
    for client in clients:
        ports.daemons.terminate(unit.gpu, client)
    return bool(clients)


def _set_batch(unit: Unit, batch: int, ports: Ports) -> None:
    ports.processes.set_batch(unit.key, batch)
    after = _find(unit.key, ports)
    if after is None or after.unit.batch != batch:
        found = "nothing" if after is None else str(after.unit.batch)
        raise UnitError(f"unit {unit.key}: set batch size {batch}, read back {found}")
