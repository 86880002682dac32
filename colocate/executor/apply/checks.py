"""What a unit and its limits must look like before they go near a daemon or a file name."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from colocate.errors import InputError, clean_text
from colocate.executor.ports import Limits, Space
from colocate.executor.unit import Unit

__all__ = ["CheckedLimits", "CheckedUnit", "GpuUuid", "check_limits", "check_unit", "check_uuid"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_UUID = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SPACE = re.compile(r"[a-z0-9_]{1,64}")
_MOST_MIB = 2**24


def check_unit(unit: Unit) -> Unit:
    """Return the unit, or refuse it: nothing is repaired.

    Raises
    ------
    InputError
        When a name could mean something to a shell, a file system or a daemon, or a number is out
        of its range.
    """
    for field, pattern in (("key", _KEY), ("workload", _ID), ("launch", _ID), ("gpu", _UUID)):
        value = getattr(unit, field)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise _refused(unit, field, "letters, digits, dots, dashes and underscores")
    if unit.role not in ("service", "task"):
        raise _refused(unit, "role", "'service' or 'task'")
    _whole(unit, "ordinal", 0, 2**40)
    _whole(unit, "share_pct", 1, 100)
    _whole(unit, "batch", 1, 2**40)
    if unit.memory_limit_mib is not None:
        _whole(unit, "memory_limit_mib", 1, _MOST_MIB)
    if not 0 <= unit.memory_gib <= _MOST_MIB:
        raise _refused(unit, "memory_gib", f"a number from 0 to {_MOST_MIB}")
    return unit


def check_uuid(gpu: str) -> str:
    """Return the UUID of a GPU, or refuse it."""
    if _UUID.fullmatch(gpu) is None:
        raise InputError(
            f"{clean_text(gpu, 60)!r} is not the UUID of a GPU",
            advice="write it as nvidia-smi -L shows it, such as "
            "GPU-8f2a3d10-1111-2222-3333-444455556666.",
        )
    return gpu


def check_limits(limits: Limits) -> Limits:
    """Return the limits, or refuse them."""
    _check_caps("limits", limits)
    names = [space.name for space in limits.spaces]
    if names != sorted(set(names)):
        raise InputError("the spaces of a GPU must have different names, in order")
    for space in limits.spaces:
        if _SPACE.fullmatch(space.name) is None:
            raise InputError(f"{clean_text(space.name, 80)!r} is not the name of a space")
        _check_caps(f"space {space.name}", space)
    return limits


def _check_caps(what: str, caps: Limits | Space) -> None:
    if not 1 <= caps.share_pct <= 100:
        raise InputError(f"{what}: share_pct {caps.share_pct} is not from 1 to 100")
    if caps.memory_limit_mib is not None and not 1 <= caps.memory_limit_mib <= _MOST_MIB:
        raise InputError(f"{what}: memory_limit_mib {caps.memory_limit_mib} is out of range")


def _whole(unit: Unit, field: str, low: int, high: int) -> None:
    value = getattr(unit, field)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refused(unit, field, f"a whole number from {low} to {high}")


def _refused(unit: Unit, field: str, wanted: str) -> InputError:
    return InputError(
        f"unit {clean_text(str(unit.key), 80)!r}: {field} "
        f"{clean_text(str(getattr(unit, field)), 80)!r} is refused; it must be {wanted}",
        advice="correct the id in the instance or the launch file.",
    )


def _as_value_error(message: InputError) -> ValueError:
    return ValueError(message.message)


def _unit_in_file(unit: Unit) -> Unit:
    try:
        return check_unit(unit)
    except InputError as refused:
        raise _as_value_error(refused) from None


def _limits_in_file(limits: Limits) -> Limits:
    try:
        return check_limits(limits)
    except InputError as refused:
        raise _as_value_error(refused) from None


def _uuid_in_file(gpu: str) -> str:
    try:
        return check_uuid(gpu)
    except InputError as refused:
        raise _as_value_error(refused) from None


CheckedUnit = Annotated[Unit, AfterValidator(_unit_in_file)]
"""A unit in a file of the executor's own."""
CheckedLimits = Annotated[Limits, AfterValidator(_limits_in_file)]
GpuUuid = Annotated[str, AfterValidator(_uuid_in_file)]
