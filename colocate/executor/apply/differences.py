"""Where what is true and what is asked for are not the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colocate.executor.apply.desired import as_spoken

if TYPE_CHECKING:
    from colocate.executor.apply.observed import Observed, SeenUnit
    from colocate.executor.apply.serving import Serving
    from colocate.executor.apply.target import Target
    from colocate.executor.ports import Limits
    from colocate.executor.unit import Unit

__all__ = ["Difference", "differences", "foreign_clients", "limits_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as asked for."""

    gpu: str
    what: str
    """The daemon, or the key of a unit."""
    found: str
    wanted: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.gpu}: {self.what}: found {self.found}, wanted {self.wanted}"


def differences(observed: Observed, target: Target, serving: Serving) -> tuple[Difference, ...]:
    """Compare the GPUs of the target, one by one.

    Parameters
    ----------
    observed
        What is true.
    target
        What is asked for.
    serving
        Which units requests are sent to.
    """
    found: list[Difference] = []
    for gpu in target.scope:
        if gpu not in observed.facts:
            found.append(
                Difference(gpu=gpu, what="GPU", found="not on this node", wanted="a GPU here")
            )
            continue
        found += _daemon(gpu, observed, target)
        wanted = {unit.key: unit for unit in target.units_on(gpu)}
        for key, unit in wanted.items():
            seen = observed.units.get(key)
            if seen is None or seen.state.unit.gpu != gpu:
                found.append(Difference(gpu=gpu, what=key, found="nothing", wanted=_unit(unit)))
            else:
                found += _unit_differs(unit, seen, target, serving)
        found += [
            Difference(
                gpu=gpu, what=seen.state.unit.key, found=seen.state.phase, wanted="not to be here"
            )
            for seen in observed.units_on(gpu)
            if seen.state.unit.key not in wanted
        ]
    return tuple(found)


def foreign_clients(observed: Observed, target: Target) -> tuple[Difference, ...]:
    """Return the clients that are not ours, on GPUs of the target that are to hold units."""
    return tuple(
        Difference(
            gpu=gpu,
            what="daemon",
            found=f"client {client.pid}, which is not ours",
            wanted="clients of the plan only",
        )
        for gpu in target.scope
        if gpu in observed.facts and target.units_on(gpu)
        for client in observed.foreign(gpu)
    )


def limits_words(limits: Limits | None) -> str:
    """Return limits in a few words."""
    if limits is None:
        return "no limits"
    memory = "" if limits.memory_limit_mib is None else f", {limits.memory_limit_mib} MiB"
    spaces = "".join(f", {s.name} {s.share_pct} %" for s in limits.spaces)
    return f"{limits.share_pct} %{memory}{spaces}"


def _daemon(gpu: str, observed: Observed, target: Target) -> Iterator[Difference]:
    daemon, limits = observed.daemon(gpu), target.limits(gpu)
    if limits is None:
        if daemon.alive and daemon.ours:
            yield Difference(gpu=gpu, what="daemon", found="a daemon of ours", wanted="none")
        return
    if not daemon.alive:
        yield Difference(gpu=gpu, what="daemon", found="none", wanted=limits_words(limits))
        return
    spoken = as_spoken(limits, daemon.dialect)
    if daemon.limits != spoken:
        yield Difference(
            gpu=gpu,
            what="daemon",
            found=limits_words(daemon.limits),
            wanted=limits_words(spoken),
        )
    elif not daemon.settled:
        yield Difference(
            gpu=gpu, what="server", found="other limits than its daemon", wanted="the same"
        )
    if daemon.server == "fault":
        yield Difference(gpu=gpu, what="server", found="FAULT", wanted="active")


def _unit_differs(
    unit: Unit, seen: SeenUnit, target: Target, serving: Serving
) -> Iterator[Difference]:
    def differs(found: str, wanted: str) -> Difference:
        return Difference(gpu=unit.gpu, what=unit.key, found=found, wanted=wanted)

    state = seen.state
    if seen.finished:
        return
    if not seen.live or seen.server_fault:
        detail = f" ({state.detail})" if state.detail else ""
        yield differs(f"{state.phase}{detail}", "ready")
        return
    if unit.key in target.unready:
        return
    if state.phase not in ("ready", "paused"):
        yield differs(state.phase, "ready")
    elif seen.beside_mps:
        yield differs("a process beside MPS", "a client of MPS")
    if state.unit.batch != unit.batch:
        yield differs(f"batch {state.unit.batch}", f"batch {unit.batch}")
    if unit.role == "service" and unit.key not in serving.sure:
        yield differs("no requests sent to it", "requests sent to it")


def _unit(unit: Unit) -> str:
    return f"{unit.role} at batch {unit.batch}, share {unit.share_pct} %"
