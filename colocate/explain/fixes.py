"""The least that has to give, along each statement, so that there is a plan.

A ladder is a row of changes from the gentlest to the strongest, each allowing all that the one
before allows. The gentlest that is enough is found by galloping and bisection; that there is a
plan with it was checked by solving.

Where no change of one statement is enough, the instance has further conflicts: they are found one
after the other, one change is chosen for each, and the changes are made as gentle as possible
together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from colocate.explain.changes import (
    AddGpus,
    AnyBatch,
    Change,
    DropAntiAffinity,
    DropConstraint,
    DropRule,
    MakeOptional,
    OneUser,
    Release,
    SetClients,
    SetConfidence,
    SetGangSize,
    SetLeastShare,
    SetMemory,
    SetQuota,
    SetRate,
    SetReplicas,
    SetRule,
    SetSlo,
    Unpin,
)
from colocate.explain.core import Core, Group, find_core
from colocate.explain.draft import Draft
from colocate.explain.feasible import Answer, Checker
from colocate.explain.parts import (
    ANY_LATENCY_MS,
    MOST_CLIENTS,
    MOST_TOGETHER,
    Part,
    gpus_enough,
    replicas_due,
    workers_due,
)
from colocate.instance import Instance, Quota

__all__ = ["Fix", "find_fixes"]

LOADS = (0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Parts of a load that are tried: a lighter load is not always easier to serve in time."""
PREFERRED = ("slo", "gpus", "memory", "services_per_gpu", "tasks_per_gpu", "floor", "quota")
"""Statements that give way first where several conflicts are settled together."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Changes with which there is a plan."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Changes of one statement, by index from the gentlest to the strongest."""

    size: int
    at: Callable[[int], Change]

    @property
    def strongest(self) -> Change:
        """The last change."""
        return self.at(self.size - 1)

    def gentlest(self, enough: Callable[[Change], bool]) -> Change | None:
        """Return the first change that is enough, None when the last is not."""
        if not self.size or not enough(self.strongest):
            return None
        low, high, step = -1, self.size - 1, 1
        while low + step < high:
            if enough(self.at(low + step)):
                high = low + step
                break
            low += step
            step *= 2
        while high - low > 1:
            middle = (low + high) // 2
            if enough(self.at(middle)):
                high = middle
            else:
                low = middle
        return self.at(high)


def find_fixes(
    checker: Checker, groups: Sequence[Group], core: Core
) -> tuple[list[Fix], list[Core]]:
    """Return what would settle the conflict, and further conflicts that came to light."""

    def enough(change: Change) -> bool:
        return checker.without((), (change,)) is Answer.YES

    found = []
    for part in core.parts:
        for ladder in ladders(checker.instance, part):
            change = ladder.gentlest(enough)
            if change is not None:
                found.append(Fix((change,)))
        if part.kind == "slo":
            lighter = _lighter(checker.instance, part.name, enough)
            found += [Fix((lighter,))] if lighter is not None else []
    if found:
        return found, []
    return _joint(checker, groups, core)


def _joint(checker: Checker, groups: Sequence[Group], core: Core) -> tuple[list[Fix], list[Core]]:
    chosen: list[Ladder] = []
    given_way: list[Part] = []
    conflicts = [core]
    while True:
        strongest = [ladder.strongest for ladder in chosen]
        answer = checker.without((), strongest)
        if answer is Answer.YES:
            break
        if answer is Answer.UNKNOWN or len(chosen) > len(groups):
            return [], conflicts[1:]
        if chosen:
            check = partial(_with, checker, strongest)
            rest = [g for g in groups if not any(p in given_way for p in g)]
            conflicts.append(find_core(rest, check))
        picked = _pick(checker, groups, conflicts[-1], strongest)
        if picked is None:
            return [], conflicts[1:]
        given_way.append(picked[0])
        chosen.append(picked[1])
    return [Fix(_gentle(checker, chosen))], conflicts[1:]


def _with(checker: Checker, changes: Sequence[Change], parts: Iterator[Part]) -> Answer:
    return checker.without(parts, changes)


def _pick(
    checker: Checker, groups: Sequence[Group], core: Core, changes: Sequence[Change]
) -> tuple[Part, Ladder] | None:
    """Return the statement of a conflict that gives way, and how: it must end this conflict."""
    rest = [p for g in groups if g not in core.groups for p in g]

    def rank(part: Part) -> int:
        return PREFERRED.index(part.kind) if part.kind in PREFERRED else len(PREFERRED)

    for part in sorted(core.parts, key=rank):
        for ladder in ladders(checker.instance, part):
            if checker.without(rest, [*changes, ladder.strongest]) is Answer.YES:
                return part, ladder
    return None


def _gentle(checker: Checker, chosen: Sequence[Ladder]) -> tuple[Change, ...]:
    """Make changes that are enough together as gentle as possible, one after the other."""
    changes: list[Change | None] = [ladder.strongest for ladder in chosen]

    def enough_at(i: int, change: Change | None) -> bool:
        trial = [c for j, c in enumerate(changes) if j != i and c is not None]
        if change is not None:
            trial.insert(i, change)
        return checker.without((), trial) is Answer.YES

    for i, ladder in enumerate(chosen):
        if enough_at(i, None):
            changes[i] = None
        else:
            changes[i] = ladder.gentlest(partial(enough_at, i)) or ladder.strongest
    return tuple(c for c in changes if c is not None)


# -- the ladder of each kind of statement ----------------------------------------------------------


def ladders(instance: Instance, part: Part) -> list[Ladder]:
    """Return the ladders along which a statement can give way; a short case for each kind."""
    name, draft = part.name, Draft(instance)
    match part.kind:
        case "gpus":
            return [Ladder(gpus_enough(draft), lambda i: AddGpus(name, i + 1))]
        case "memory":
            now = instance.pool(name).memory_gib
            return [Ladder(9000, lambda i: SetMemory(name, now + _three_digits(i, 0.01)))]
        case "clients":
            clients = instance.pool(name).max_clients
            return [Ladder(MOST_CLIENTS - clients, lambda i: SetClients(name, clients + i + 1))]
        case "unschedulable":
            return [_one(Release(name))]
        case "slo":
            return _slower(draft, name)
        case "required":
            return _fewer_replicas(draft, name)
        case "pin":
            return [_one(Unpin(name))]
        case "batches":
            return [_one(AnyBatch(name))]
        case "least_share":
            share = draft.services[name].min_share_pct if name in draft.services else 2
            return [Ladder(share - 1, lambda i: SetLeastShare(name, share - 1 - i))]
        case "gang":
            row = draft.tasks.get(name) or draft.task_table
            size = 1 if row is None else row.gang_size
            return [Ladder(size - 1, lambda i: SetGangSize(name, size - 1 - i))]
        case "services_per_gpu" | "tasks_per_gpu" | "workloads_per_gpu" | "tenants_per_gpu":
            return [_looser_rule(draft, part.kind)]
        case "floor" | "quota":
            return [_other_quota(instance, part)]
        case "users":
            return [_one(OneUser())]
        case "anti_affinity":
            return [_one(DropAntiAffinity(part.index))]
        case "confidence":
            return [_less_sure(instance)]
        case "constraint":
            return [_one(DropConstraint(part.index))]
        case "blast_radius" | "move_budget" | "locked":
            return [_one(DropRule(part.kind))]
        case "task_count" | "placed":
            return []


def _one(change: Change) -> Ladder:
    return Ladder(1, lambda _: change)


def _three_digits(i: int, first: float) -> float:
    """Return the i-th number of three digits from `first` on, a power of ten."""
    decade, digits = divmod(i, 900)
    return float(f"{digits + 100}e{decade - 2 + round(math.log10(first))}")


def _above(value: float) -> Callable[[int], float]:
    """Return the numbers of three digits above a value, by index."""
    decade = 10.0 ** math.floor(math.log10(value))
    first = next(i for i in range(1800) if _three_digits(i, decade) > value * (1 + 1e-9))
    return lambda i: _three_digits(first + i, decade)


def _slower(draft: Draft, name: str) -> list[Ladder]:
    if name not in draft.services:
        return []
    slo = draft.services[name].slo_ms
    above = _above(slo)
    size = int(900 * (math.log10(ANY_LATENCY_MS) - math.log10(slo))) - 900
    return [Ladder(max(0, size), lambda i: SetSlo(name, above(i)))]


def _lighter(instance: Instance, name: str, enough: Callable[[Change], bool]) -> SetRate | None:
    """Return a lighter load of a service that is enough, about as heavy as possible."""
    service = next((s for s in instance.services if s.id == name), None)
    if service is None:
        return None
    rate, heavy = service.rate_rps, 1.0
    for part in LOADS:
        if enough(SetRate(name, _rounded_down(rate * part))):
            break
        heavy = part
    else:
        return None
    light = part
    for _ in range(5):
        middle = (heavy + light) / 2
        if enough(SetRate(name, _rounded_down(rate * middle))):
            light = middle
        else:
            heavy = middle
    return SetRate(name, _rounded_down(rate * light))


def _rounded_down(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / unit) * unit:.3g}")


def _fewer_replicas(draft: Draft, name: str) -> list[Ladder]:
    service = draft.services.get(name)
    if service is None or service.pinned is not None:
        return [_one(MakeOptional(name))]
    n = service.replicas
    return [Ladder(n, lambda i: SetReplicas(name, n - 1 - i) if i < n - 1 else MakeOptional(name))]


def _looser_rule(draft: Draft, name: Any) -> Ladder:  # noqa: ANN401 - one of the four names
    now: int = getattr(draft.source.rules, name)
    due = {
        "services_per_gpu": min(MOST_TOGETHER, replicas_due(draft)),
        "tasks_per_gpu": min(MOST_TOGETHER, workers_due(draft)),
        "workloads_per_gpu": 2 * MOST_TOGETHER,
        "tenants_per_gpu": 2 * MOST_TOGETHER,
    }
    return Ladder(max(0, due[name] - now), lambda i: SetRule(name, now + i + 1))


def _other_quota(instance: Instance, part: Part) -> Ladder:
    """Return lower floors, or higher quotas, in whole tasks or whole percent of a GPU."""
    quota = next(q for q in instance.rules.quotas if (q.tenant, q.unit) == (part.name, part.unit))
    step = 1.0 if quota.unit == "tasks" else 0.01
    change = partial(SetQuota, quota.tenant, quota.unit)
    if part.kind == "floor":
        n = math.ceil((quota.minimum or 0.0) / step - 1e-6) - 1
        return Ladder(
            n + 1, lambda i: change("minimum", round((n - i) * step, 2) if i < n else None)
        )
    first = math.floor((quota.maximum or 0.0) / step + 1e-6) + 1
    more = _ever_placed(instance, quota)
    return Ladder(more + 1, lambda i: change("maximum", round((first + i) * step, 2)))


def _ever_placed(instance: Instance, quota: Quota) -> int:
    tasks = sum(t.count for t in instance.tasks if t.tenant == quota.tenant)
    table = instance.task_table
    if table is not None:
        tasks += sum(table.count) if isinstance(table.count, tuple) else table.count * table.rows
    return tasks if quota.unit == "tasks" else 100 * min(instance.gpu_count, tasks)


def _less_sure(instance: Instance) -> Ladder:
    listed = {b.confidence for p in instance.profiles for b in p.rate_error}
    below = sorted((c for c in {*listed, 0.5} if c < instance.confidence), reverse=True)
    return Ladder(len(below), lambda i: SetConfidence(below[i]))
