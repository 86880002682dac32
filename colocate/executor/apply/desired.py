"""From units to what is asked of this node's GPUs, and from what is there to the same noun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.apply.checks import check_unit
from colocate.executor.apply.target import GpuTarget, Target
from colocate.executor.mps.encode import space_name
from colocate.executor.mps.spaces import space_of
from colocate.executor.ports import Dialect, Limits, Space

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from colocate.executor.apply.observed import Observed
    from colocate.executor.unit import Unit

__all__ = [
    "LeftOut",
    "as_spoken",
    "joined",
    "limits_of",
    "target_of_now",
    "target_of_units",
    "together",
    "with_leftovers",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What of a plan is for other nodes."""

    units: int
    gpus: int


def target_of_units(
    units: Iterable[Unit],
    observed: Observed,
    *,
    gpus: Collection[str] = (),
    known: Collection[str] = (),
    launch_sha256: str | None = None,
) -> tuple[Target, LeftOut]:
    """Return what units ask of this node, and how many are for other nodes.

    Parameters
    ----------
    units
        All units of the plan, of this node or not.
    observed
        What is true now: which GPUs are here, and where something of ours is left over.
    gpus
        UUIDs of all GPUs of the instance: those without units are to be empty.
    known
        Keys of units that were ours, and may have left spaces behind.
    launch_sha256
        Hash of the launch file that the units come from.

    Raises
    ------
    InputError
        When a unit is refused, two units have one key or one place, or none of the GPUs is here.
    """
    checked = sorted((check_unit(unit) for unit in units), key=lambda unit: unit.key)
    _refuse_doubles(checked)
    here = [unit for unit in checked if unit.gpu in observed.facts]
    wanted = {unit.gpu for unit in checked} | set(gpus)
    if wanted and not wanted & observed.facts.keys():
        shown = ", ".join(sorted(wanted)[:3])
        raise InputError(
            f"none of the plan's {len(wanted)} GPUs is on this node "
            f"(it has {len(observed.facts)}; the plan names {shown}...)",
            advice="compare the pools' uuids with 'nvidia-smi -L'.",
        )
    ours = {space_name(key) for key in (*known, *observed.units, *(unit.key for unit in here))}
    scope = {*(wanted & observed.facts.keys()), *_touched(observed)}
    target = Target(
        gpus=tuple(
            GpuTarget(gpu=gpu, limits=_limits_on(gpu, here, observed, ours))
            for gpu in sorted(scope)
        ),
        units=tuple(here),
        launch_sha256=launch_sha256,
    )
    elsewhere = [unit for unit in checked if unit.gpu not in observed.facts]
    return target, LeftOut(units=len(elsewhere), gpus=len({u.gpu for u in elsewhere}))


def target_of_now(observed: Observed, scope: Iterable[str], launch_sha256: str | None) -> Target:
    """Return what is on these GPUs now, as something to go back to.

    Units that have ended are no part of it: nobody wants a failure back.
    """
    here = set(scope) & observed.facts.keys()
    live = [seen for _, seen in sorted(observed.units.items()) if seen.live]
    live = [seen for seen in live if seen.state.unit.gpu in here]
    # A daemon that is not ours is never changed, and so is not put back either.
    kept = {gpu: s.limits for gpu, s in observed.daemons.items() if s.ours}
    return Target(
        gpus=tuple(GpuTarget(gpu=gpu, limits=kept.get(gpu)) for gpu in sorted(here)),
        units=tuple(seen.state.unit for seen in live),
        unready=tuple(
            seen.state.unit.key for seen in live if seen.state.phase not in ("ready", "paused")
        ),
        launch_sha256=launch_sha256,
    )


def together(first: Target, more: Target) -> Target:
    """Return a target with the GPUs of `more` that `first` does not speak of."""
    added = {target.gpu: target for target in more.gpus if target.gpu not in first.scope}
    units = [unit for unit in more.units if unit.gpu in added]
    keys = {unit.key for unit in units}
    return Target(
        gpus=tuple(sorted((*first.gpus, *added.values()), key=lambda target: target.gpu)),
        units=tuple(sorted((*first.units, *units), key=lambda unit: unit.key)),
        unready=(*first.unready, *(key for key in more.unready if key in keys)),
        launch_sha256=first.launch_sha256,
    )


def with_leftovers(target: Target, observed: Observed) -> Target:
    """Return a target that also empties the GPUs where something of ours is left over."""
    left = sorted(_touched(observed) - set(target.scope))
    return together(target, Target(gpus=tuple(GpuTarget(gpu=gpu, limits=None) for gpu in left)))


def limits_of(units: Collection[Unit]) -> Limits:
    """Return what the daemon of a GPU must enforce for these units, spaces included."""
    memory = [unit.memory_limit_mib for unit in units]
    return Limits(
        share_pct=max((unit.share_pct for unit in units), default=100),
        memory_limit_mib=None if None in memory else max((m for m in memory if m), default=None),
        spaces=_in_order(space_of(unit) for unit in units),
    )


def joined(a: Limits, b: Limits) -> Limits:
    """Return limits that are wide enough for the clients of both."""
    memory = [a.memory_limit_mib, b.memory_limit_mib]
    spaces = {space.name: space for space in (*a.spaces, *b.spaces)}
    return Limits(
        share_pct=max(a.share_pct, b.share_pct),
        memory_limit_mib=None if None in memory else max(m for m in memory if m is not None),
        spaces=_in_order(spaces.values()),
    )


def as_spoken(limits: Limits, dialect: Dialect | None) -> Limits:
    """Return the part of the limits that a daemon keeps: the v2 dialect knows no spaces."""
    if dialect == "v2":
        return Limits(share_pct=limits.share_pct, memory_limit_mib=limits.memory_limit_mib)
    return limits


def _limits_on(
    gpu: str, units: list[Unit], observed: Observed, ours: Collection[str]
) -> Limits | None:
    mine = [unit for unit in units if unit.gpu == gpu]
    if not mine:
        return None
    limits, there = limits_of(mine), observed.daemon(gpu).limits
    if there is None:
        return limits
    # A daemon that was taken over may hold spaces of its former owner: they stay.
    theirs = [space for space in there.spaces if space.name not in ours]
    return Limits(
        share_pct=limits.share_pct,
        memory_limit_mib=limits.memory_limit_mib,
        spaces=_in_order((*limits.spaces, *theirs)),
    )


def _touched(observed: Observed) -> set[str]:
    """Return the GPUs of this node that hold something of ours."""
    units = {seen.state.unit.gpu for seen in observed.units.values()}
    daemons = {gpu for gpu, state in observed.daemons.items() if state.alive and state.ours}
    return (units | daemons) & observed.facts.keys()


def _in_order(spaces: Iterable[Space]) -> tuple[Space, ...]:
    return tuple(sorted(spaces, key=lambda space: space.name))


def _refuse_doubles(units: list[Unit]) -> None:
    places: dict[tuple[str, int], Unit] = {}
    for unit in units:
        other = places.setdefault(unit.place, unit)
        if other is not unit:
            raise InputError(
                f"{unit.workload} {unit.ordinal} is planned twice: on {other.gpu} and {unit.gpu}",
                advice="check the plan with 'colocate verify'.",
            )
