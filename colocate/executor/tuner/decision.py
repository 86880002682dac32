"""What to change on one GPU, decided as plain data from the models and the load.

First what helps at once, which is a batch, or halting training; then what takes a new process,
which is a share. A share changes only where it has to, or where training gains enough by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from colocate.executor.tuner.company import Load, OneGpu, Tenant
from colocate.executor.tuner.retune import Answer, relief, retune

__all__ = ["Decision", "decide", "gain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, in this order."""

    halt: bool
    """Whether training is halted at once."""
    relief: tuple[Tenant, ...]
    """Every tenant with the batch that it gets at once."""
    target: Answer
    """Where to go."""
    change: bool
    """Whether to go there; else what `relief` says is good enough."""
    gain: float
    """How much more training there is after than before; infinite where there is none now."""


def decide(
    model: OneGpu,
    tenants: Sequence[Tenant],
    halted: Sequence[bool],
    loads: Mapping[str, Load],
    *,
    bare: Mapping[str, Load] | None = None,
    least_gain: float,
) -> Decision:
    """Return what to change.

    Parameters
    ----------
    model
        The models of the GPU.
    tenants
        Who is there, with present knobs.
    halted
        Which of them the tuner has halted before.
    loads
        What each service has to bear, headroom included.
    bare
        The same without headroom: training is halted only where even this is too much.
    least_gain
        Shares change for no less additional training, where all is in time without.
    """
    running = [t for t, still in zip(tenants, halted, strict=True) if not still]
    eased = list(running)
    in_time = _fits(running) and model.all_in_time(running, loads)
    halt = False
    if not in_time:
        eased_now = relief(model, running, loads)
        eased, in_time = list(eased_now.tenants), _fits(running) and eased_now.in_time
        bearable = in_time
        if not in_time and bare is not None and _fits(running):
            plain = relief(model, running, bare)
            if plain.in_time:
                bearable, eased = True, list(plain.tenants)
        if not bearable and any(t.role == "task" for t in running):
            halt = True
            services = [t for t in running if t.role == "service"]
            eased = [
                *relief(model, services, loads).tenants,
                *(t for t in running if t.role == "task"),
            ]
    first = _in_order(tenants, halted, eased)
    target = retune(model, tenants, loads)
    target = _near(model, first, target, loads, least_gain) or target
    # Halted training that stays halted gains nothing; any that may run again does.
    more = gain(model, [] if halt else eased, target)
    worth_it = more >= 1 + least_gain or (any(halted) and len(target.paused) < sum(halted))
    same = {_knobs(t) for t in eased} == {_knobs(t) for t in target.tenants} and not any(halted)
    change = not same and (not in_time or halt or worth_it)
    return Decision(halt=halt, relief=first, target=target, change=change, gain=more)


def _fits(tenants: Sequence[Tenant]) -> bool:
    return sum(t.share_pct for t in tenants) <= 100


def _near(
    model: OneGpu,
    first: Sequence[Tenant],
    target: Answer,
    loads: Mapping[str, Load],
    least_gain: float,
) -> Answer | None:
    """Return settings that leave the services as they are, where they are nearly as good."""
    if not target.in_time:
        return None
    services = [t for t in first if t.role == "service"]
    left = 100 - sum(t.share_pct for t in services)
    trained = [t for t in target.tenants if t.role == "task"]
    wanted = sum(t.share_pct for t in trained)
    now = [t for t in first if t.role == "task"]
    if 0.9 * left <= sum(t.share_pct for t in now) <= left and len(now) == len(trained):
        tasks = now  # not even training needs a new process
    elif trained:
        tasks = [replace(t, share_pct=max(1, left * t.share_pct // wanted)) for t in trained]
    else:
        return None
    tried = [*services, *tasks]
    if not _fits(tried) or not model.all_in_time(tried, loads):
        return None
    near = replace(target, tenants=tuple(tried))
    return near if gain(model, tried, target) < 1 + least_gain else None


def _in_order(
    tenants: Sequence[Tenant], halted: Sequence[bool], eased: Sequence[Tenant]
) -> tuple[Tenant, ...]:
    """Return all tenants in their order, those that run with their eased knobs."""
    left = {(t.role, t.entry, i): t for i, t in enumerate(eased)}
    found = []
    for tenant, still in zip(tenants, halted, strict=True):
        if still:
            found.append(tenant)
            continue
        key = next(k for k in left if k[:2] == (tenant.role, tenant.entry))
        found.append(left.pop(key))
    return tuple(found)


def _knobs(tenant: Tenant) -> tuple[str, str, int, int]:
    return tenant.role, tenant.entry, tenant.batch, tenant.share_pct


def gain(model: OneGpu, now: Sequence[Tenant], then: Answer) -> float:
    """Return the training of a target over that of the present settings, on average.

    Infinite where a task trains then and not now; 0 where none trains then.
    """
    before = [t for t in now if t.role == "task"]
    after = [t for t in then.tenants if t.role == "task"]
    if not after:
        return 0.0
    if len(after) > len(before):
        return float("inf")
    parts = []
    for task in after:
        was = next((t for t in before if t.entry == task.entry), None)
        new = model.speed(task, [t for t in then.tenants if t is not task])
        if was is None or new is None:
            continue
        before.remove(was)
        old = model.speed(was, [t for t in now if t is not was])
        parts.append(float("inf") if old is None else new.rate / old.rate)
    return sum(parts) / (len(parts) + len(before)) if parts else 0.0
