"""Starting, replacing and stopping single units, for the guard and the tuner.

`apply` brings a whole node to a plan; this changes one unit between two applies, with the same
actions, each read back. Whoever uses it takes the node's lock first.
"""

from __future__ import annotations

from dataclasses import replace

from colocate.errors import ColocateError
from colocate.executor.apply.actions import (
    AwaitUnit,
    SetLimits,
    StartDaemon,
    StartUnit,
    StopUnit,
    Switch,
)
from colocate.executor.apply.desired import as_spoken, joined, limits_of
from colocate.executor.apply.perform import Ports, perform
from colocate.executor.mps.encode import space_name
from colocate.executor.unit import Unit

__all__ = ["close_space", "open_space", "replace_unit", "start_unit", "stop_unit"]


def open_space(ports: Ports, unit: Unit) -> None:
    """See to it that the daemon runs, and that its limits leave room for a unit."""
    perform(StartDaemon(gpu=unit.gpu), ports)
    state = ports.daemons.observe(unit.gpu)
    wanted = limits_of([unit])
    if state.limits is not None:
        wanted = joined(state.limits, wanted)
    wanted = as_spoken(wanted, state.dialect)
    if wanted != state.limits:
        perform(SetLimits(gpu=unit.gpu, limits=wanted), ports)


def close_space(ports: Ports, unit: Unit) -> None:
    """Take away what the daemon keeps of a unit that is gone; a daemon that is gone keeps none."""
    limits = ports.daemons.observe(unit.gpu).limits
    if limits is None:
        return
    spaces = tuple(s for s in limits.spaces if s.name != space_name(unit.key))
    if spaces != limits.spaces:
        perform(SetLimits(gpu=unit.gpu, limits=replace(limits, spaces=spaces)), ports)


def start_unit(ports: Ports, unit: Unit) -> None:
    """Start a unit as a client of its daemon, and send it requests once it is ready."""
    _start(ports, unit)
    if unit.role == "service":
        perform(Switch(old=None, new=unit), ports)


def _start(ports: Ports, unit: Unit) -> None:
    open_space(ports, unit)
    perform(StartUnit(unit=unit), ports)
    perform(AwaitUnit(unit=unit), ports)


def stop_unit(ports: Ports, unit: Unit) -> None:
    """Stop a unit gracefully, and take its limits away."""
    perform(StopUnit(unit=unit), ports)
    close_space(ports, unit)


def replace_unit(ports: Ports, old: Unit, new: Unit) -> None:
    """Put a new process in the place of an old one.

    A service is never away: the new process starts beside the old one, which serves until the new
    one is ready. A task is stopped first, with its checkpoint, because it must not run twice.

    Raises
    ------
    ColocateError
        When the new process does not get ready. The old service goes on serving, and the new one
        is removed; an old task is started again.
    """
    if old.role == "task":
        stop_unit(ports, old)
        try:
            start_unit(ports, new)
        except ColocateError:
            stop_unit(ports, new)
            start_unit(ports, old)
            raise
        return
    try:
        _start(ports, new)
    except ColocateError:
        stop_unit(ports, new)
        raise
    perform(Switch(old=old, new=new), ports)
    stop_unit(ports, old)
