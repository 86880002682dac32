"""What can be done to a node, as data: it is written down before it is done, and read back after.

Each action is harmless when what it asks for is true already, so that it may be repeated after a
crash.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from colocate.executor.apply.checks import CheckedLimits, CheckedUnit, GpuUuid
from colocate.schema import Frozen, ListOf

__all__ = [
    "Action",
    "AwaitUnit",
    "ResetServer",
    "SetBatch",
    "SetLimits",
    "StartDaemon",
    "StartUnit",
    "Step",
    "StopDaemon",
    "StopUnit",
    "Switch",
    "action_of",
    "gpus_of",
    "words",
]


class StartDaemon(Frozen):
    """Start the control daemon of a GPU."""

    do: Literal["start_daemon"] = "start_daemon"
    gpu: GpuUuid


class StopDaemon(Frozen):
    """Stop the control daemon of a GPU."""

    do: Literal["stop_daemon"] = "stop_daemon"
    gpu: GpuUuid


class SetLimits(Frozen):
    """Set what the daemon of a GPU enforces for clients that start from now on."""

    do: Literal["set_limits"] = "set_limits"
    gpu: GpuUuid
    limits: CheckedLimits


class ResetServer(Frozen):
    """Shut down an MPS server that is in FAULT; its clients are lost already."""

    do: Literal["reset_server"] = "reset_server"
    gpu: GpuUuid


class StartUnit(Frozen):
    """Start a unit's process."""

    do: Literal["start_unit"] = "start_unit"
    unit: CheckedUnit


class AwaitUnit(Frozen):
    """Wait until a unit is ready and its GPU's daemon lists it as a client."""

    do: Literal["await_unit"] = "await_unit"
    unit: CheckedUnit


class Switch(Frozen):
    """Send requests to `new` instead of `old`."""

    do: Literal["switch"] = "switch"
    old: CheckedUnit | None
    new: CheckedUnit | None


class StopUnit(Frozen):
    """Let a unit checkpoint, drain and end."""

    do: Literal["stop_unit"] = "stop_unit"
    unit: CheckedUnit


class SetBatch(Frozen):
    """Change the batch size of a running unit."""

    do: Literal["set_batch"] = "set_batch"
    unit: CheckedUnit
    batch: Annotated[int, Field(ge=1)]


Action = Annotated[
    StartDaemon
    | StopDaemon
    | SetLimits
    | ResetServer
    | StartUnit
    | AwaitUnit
    | Switch
    | StopUnit
    | SetBatch,
    Field(discriminator="do"),
]


class Step(Frozen):
    """One action, and what takes it back."""

    action: Action
    undo: Annotated[tuple[Action, ...], ListOf] = ()
    """In the order in which they are to be done."""
    downtime: bool = False
    """Whether a service does not answer from here until its next process is ready."""
    remark: Annotated[str, Field(max_length=300)] = ""
    """What an operator should know about it."""


_ADAPTER: TypeAdapter[Action] = TypeAdapter(Action)


def action_of(text: str) -> Action:
    """Read an action from JSON."""
    return _ADAPTER.validate_json(text, strict=True)


def gpus_of(action: Action) -> tuple[str, ...]:
    """Return the GPUs that an action touches."""
    if isinstance(action, StartDaemon | StopDaemon | SetLimits | ResetServer):
        return (action.gpu,)
    if isinstance(action, Switch):
        units = (action.old, action.new)
        return tuple(sorted({unit.gpu for unit in units if unit is not None}))
    return (action.unit.gpu,)


def words(action: Action) -> str:
    """Say what an action does, in a few words."""
    match action:
        case StartDaemon():
            return "start the MPS daemon"
        case StopDaemon():
            return "stop the MPS daemon"
        case SetLimits(limits=limits):
            memory = "" if limits.memory_limit_mib is None else f", {limits.memory_limit_mib} MiB"
            spaces = "" if not limits.spaces else f" ({len(limits.spaces)} spaces in v3)"
            return f"set limits: at most {limits.share_pct} %{memory}{spaces}"
        case ResetServer():
            return "reset the MPS server, which is in FAULT"
        case StartUnit(unit=u):
            return f"start {u.key} ({u.role}, share {u.share_pct} %, batch {u.batch})"
        case AwaitUnit(unit=u):
            return f"wait until {u.key} is ready"
        case Switch(old=None, new=new) if new is not None:
            return f"send requests to {new.key}"
        case Switch(old=old, new=None) if old is not None:
            return f"send no more requests to {old.key}"
        case Switch(old=old, new=new) if old is not None and new is not None:
            return f"send requests to {new.key} instead of {old.key}"
        case StopUnit(unit=u):
            first = "drain and" if u.role == "service" else "checkpoint and"
            return f"{first} stop {u.key}"
        case SetBatch(unit=u, batch=batch):
            return f"set the batch size of {u.key} to {batch}"
    return action.do
