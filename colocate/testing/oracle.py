"""The truth about small instances, by enumeration of individual GPUs, tasks and knobs.

The oracle reads the `Instance` and nothing else: no classes, no columns, no compiled arrays. It is
exponential on purpose and refuses what is too large. It goes from GPU to GPU, tries everything that
a GPU can hold at every batch and share, and remembers what is placed so far. What is remembered is
merged in three ways, each of which loses nothing:

- Replicas of one service, and tasks of one entry without gangs, differ in nothing but their
  ordinal, so they are counted. Gangs are kept apart one by one; the workers of a gang are counted.
- Of two ways to have placed the same things, with the same shares for every tenant with a quota of
  shares and every started gang at the same batch, one is dropped when it is worth no more and no
  started gang makes more progress: every objective here rises with that of the slowest worker.
- Percentages that give and take the same multiprocessors are consecutive (or single), so that sums
  of them take every whole number between the least and the largest sum.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from colocate.errors import UnsupportedError
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.runs import iter_ids
from colocate.testing._one_gpu import OneGpu, Outcome, Pace, Shares, Steps, Worth
from colocate.testing._plain_model import Setting, at_least, at_most, progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Assignment", "OracleAnswer", "solve_by_enumeration"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica or worker on one GPU."""

    pool: str
    gpu: int
    kind: Literal["service", "task"]
    id: str
    ordinal: int
    batch: int
    share_pct: int
    rate: float
    """Samples per second in company."""


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What is true of an instance."""

    status: Literal["optimal", "infeasible"]
    objective: float | None
    assignments: tuple[Assignment, ...] = ()
    """One plan that attains the objective; there may be others."""


def solve_by_enumeration(instance: Instance, *, max_steps: int = 3_000_000) -> OracleAnswer:
    """Return the best plan of a small instance, or that there is none.

    Parameters
    ----------
    instance
        Any instance within the built-in rules, objectives and SLO models.
    max_steps
        Bound on the work; a million steps take a few seconds.

    Raises
    ------
    TooLargeError
        When the enumeration would take more steps.
    UnsupportedError
        When the instance uses a rule, objective or SLO model that the oracle does not know.
    """
    _refuse_unknown(instance)
    return _Enumeration(instance, max_steps).answer()


def _refuse_unknown(instance: Instance) -> None:
    rules = instance.rules
    used = {
        "$.rules.moves": rules.moves is not None,
        "$.constraints": bool(instance.constraints),
    }
    for path, is_used in used.items():
        if is_used:
            raise UnsupportedError(
                f"the oracle does not know the rule {path.rpartition('.')[2]!r}",
                path=path,
                advice="compare this instance with verify alone.",
            )


class _Point(NamedTuple):
    """One way to have filled the GPUs so far."""

    value: float
    slowest: tuple[Pace, ...]
    """Of each started gang; `_IDLE` for gangs that are not started or complete."""
    before: _Point | None
    held: tuple[int, ...]
    """What the last GPU holds, as indices of items."""
    settings: tuple[Setting, ...]


class _Key(NamedTuple):
    """What is placed so far."""

    placed: tuple[int, ...]
    """Of each item."""
    shares: tuple[Shares, ...]
    """Of each tenant with a quota of shares."""
    on_node: tuple[tuple[str, int, int], ...]
    """Node, service item and replicas there, where a node may hold only so many."""


_Layer = dict[_Key, list[_Point]]
_IDLE = Pace(0, math.inf)


class _Enumeration:
    def __init__(self, instance: Instance, max_steps: int) -> None:
        self.instance = instance
        self.steps = Steps(max_steps)
        self.worth = Worth(instance)
        self.one_gpu = OneGpu(instance, self.worth, self.steps)
        self.items = self.one_gpu.items
        self.gangs = {i: g for g, i in enumerate(self._gang_items())}
        self._stays = dict(self._locked())

    def _locked(self) -> Iterator[tuple[tuple[str, int], list[tuple[int, int, int]]]]:
        """Yield each locked GPU with what it holds: item, batch and percentage."""
        index = {(item.workload.id, item.gang): i for i, item in enumerate(self.items)}
        size = {t.id: t.gang_size for t in self.instance.iter_tasks()}
        holds: dict[tuple[str, int], list[tuple[int, int, int]]] = {
            (ref.pool, gpu): [] for ref in self.instance.rules.locked for gpu in iter_ids(ref.gpus)
        }
        for group in self.instance.current or ():
            services = [(s.service, s.replicas, s.batch, s.share_pct) for s in group.services]
            tasks = [(t.task, t.workers, t.batch, t.share_pct) for t in group.tasks]
            for name, runs, batch, share in (*services, *tasks):
                k = size.get(name, 1)
                for gpu, ordinal in zip(iter_ids(group.gpus), iter_ids(runs), strict=True):
                    if (group.pool, gpu) in holds:
                        item = index[name, ordinal // k if k > 1 else 0]
                        holds[group.pool, gpu].append((item, batch, share))
        yield from holds.items()

    def _gang_items(self) -> Iterator[int]:
        return (i for i, item in enumerate(self.items) if item.is_gang)

    def answer(self) -> OracleAnswer:
        """Fill GPU after GPU and return the best of what is allowed at the end."""
        gpus = [
            (pool, pool.first + i) for pool in self.instance.gpu_pools for i in range(pool.size)
        ]
        no_shares = (Shares(0, 0),) * len(self.one_gpu.share_tenants)
        start = _Point(self.worth.nothing, (_IDLE,) * len(self.gangs), None, (), ())
        layer: _Layer = {_Key((0,) * len(self.items), no_shares, ()): [start]}
        for n, (pool, gpu) in enumerate(gpus):
            layer = self._fill(layer, pool, gpu, gpus_left=len(gpus) - n - 1)
        allowed = [
            (self.worth.both(p.value, self._of_the_rest(key)), p)
            for key, points in layer.items()
            if self._is_allowed(key)
            for p in points
        ]
        if not allowed:
            return OracleAnswer("infeasible", None)
        _, best = max(allowed, key=lambda found: found[0])
        assignments = self._assignments(gpus, best)
        return OracleAnswer("optimal", self._objective(assignments), tuple(assignments))

    # -- from GPU to GPU -----------------------------------------------------------------------

    def _fill(self, layer: _Layer, pool: GpuPool, gpu: int, *, gpus_left: int) -> _Layer:
        following: _Layer = {}
        stays = self._stays.get((pool.id, gpu))
        if stays is None:
            ways: Sequence[tuple[int, ...]] = ((), *self.one_gpu.offers(pool, gpu))
        else:
            ways = [tuple(sorted(i for i, _, _ in stays))]
        for key, points in layer.items():
            for held in ways:
                placed = list(key.placed)
                for i in held:
                    placed[i] += 1
                if any(placed[i] > self.items[i].limit for i in held):
                    continue
                # A gang has at most one worker on each GPU that is left.
                if any(0 < placed[i] < self.items[i].limit - gpus_left for i in self.gangs):
                    continue
                empty = Outcome(self.worth.nothing, (), (), ())
                on_node = self._on_node(key.on_node, pool, held)
                if on_node is None:
                    continue
                if not held:
                    outcomes: Sequence[Outcome] = (empty,)
                elif stays is None:
                    outcomes = self.one_gpu.outcomes(pool, held)
                else:
                    outcomes = self.one_gpu.as_it_is(pool, gpu, stays)
                for outcome in outcomes:
                    shares = _added(key.shares, outcome.shares)
                    front = following.setdefault(_Key(tuple(placed), shares, on_node), [])
                    for point in points:
                        self.steps.take()
                        extended = self._extended(point, placed, held, outcome)
                        if extended is not None:
                            _keep(front, extended)
        return following

    def _on_node(
        self, before: tuple[tuple[str, int, int], ...], pool: GpuPool, held: tuple[int, ...]
    ) -> tuple[tuple[str, int, int], ...] | None:
        """Count what one more GPU holds; None where its node would hold too much."""
        radius = self.instance.rules.blast_radius
        if radius is None:
            return before
        node = f"pool/{pool.id}" if pool.node is None else f"node/{pool.node}"
        counts = {(where, i): n for where, i, n in before}
        for i in held:
            if isinstance(self.items[i].workload.entry, Service):
                counts[node, i] = counts.get((node, i), 0) + 1
                if counts[node, i] > radius.max_replicas_per_node:
                    return None
        return tuple((where, i, n) for (where, i), n in sorted(counts.items()))

    def _extended(
        self, point: _Point, placed: Sequence[int], held: tuple[int, ...], outcome: Outcome
    ) -> _Point | None:
        """Return the point with one more GPU filled, None where a gang would have two batches."""
        value = self.worth.both(point.value, outcome.value)
        slowest = list(point.slowest)
        gang_items = [i for i in held if i in self.gangs]
        for i, pace in zip(gang_items, outcome.gang_paces, strict=True):
            g = self.gangs[i]
            if slowest[g].batch not in (_IDLE.batch, pace.batch):
                return None
            slowest[g] = Pace(pace.batch, min(slowest[g].progress, pace.progress))
            if placed[i] == self.items[i].limit:
                task = self.items[i].workload.entry
                assert isinstance(task, Task)
                value = self.worth.both(value, self.worth.of_task(task, slowest[g].progress))
                slowest[g] = _IDLE
        return _Point(value, tuple(slowest), point, held, outcome.settings)

    # -- the whole plan ------------------------------------------------------------------------

    def _of_the_rest(self, key: _Key) -> float:
        """Return what is not placed adds to a worst case; to a sum it adds nothing."""
        value = self.worth.nothing
        if self.worth.is_worst:
            for n, item in zip(key.placed, self.items, strict=True):
                entry = item.workload.entry
                if n < item.limit:
                    bad = (
                        entry.missing_price or 0.0
                        if isinstance(entry, Service)
                        else self.worth.of_unplaced(entry)
                    )
                    value = min(value, -bad)
        return value

    def _is_allowed(self, key: _Key) -> bool:
        """Return whether the rules over the whole plan hold."""
        tasks_of: dict[str, int] = {}
        for n, item in zip(key.placed, self.items, strict=True):
            entry = item.workload.entry
            if isinstance(entry, Service):
                if entry.required and n < item.limit:
                    return False
            elif item.is_gang and 0 < n < item.limit:
                return False
            else:
                whole = n // item.limit if item.is_gang else n
                tasks_of[entry.tenant] = tasks_of.get(entry.tenant, 0) + whole
        for quota in self.instance.rules.quotas:
            lowest, highest = _sides(quota.minimum, quota.maximum)
            if quota.unit == "gpu_share":
                shares = key.shares[self.one_gpu.share_tenants.index(quota.tenant)]
                if _sum_within(shares, lowest, highest) is None:
                    return False
            elif not _within(tasks_of.get(quota.tenant, 0), lowest, highest):
                return False
        return True

    def _assignments(self, gpus: Sequence[tuple[GpuPool, int]], last: _Point) -> list[Assignment]:
        points = []
        point: _Point | None = last
        while point is not None:
            points.append(point)
            point = point.before
        placed = [0] * len(self.items)
        found: list[Assignment] = []
        chosen: list[Setting] = []
        for (pool, gpu), filled in zip(gpus, reversed(points[:-1]), strict=True):
            for i, setting in zip(filled.held, filled.settings, strict=True):
                workload = self.items[i].workload
                ordinal = self.items[i].gang * self.items[i].limit + placed[i]
                placed[i] += 1
                chosen.append(setting)
                found.append(
                    Assignment(
                        pool=pool.id,
                        gpu=gpu,
                        kind=workload.kind,
                        id=workload.id,
                        ordinal=ordinal,
                        batch=setting.batch,
                        share_pct=setting.knob.first,
                        rate=setting.rate,
                    )
                )
        return self._with_floors(found, chosen)

    def _with_floors(
        self, assignments: Sequence[Assignment], settings: Sequence[Setting]
    ) -> list[Assignment]:
        """Raise percentages, within what changes nothing else, until the floors of shares hold."""
        found = list(assignments)
        for quota in self.instance.rules.quotas:
            if quota.unit != "gpu_share":
                continue
            mine = [
                n
                for n, a in enumerate(found)
                if a.kind == "task" and self.instance.task(a.id).tenant == quota.tenant
            ]
            sums = Shares(
                sum(settings[n].knob.first for n in mine), sum(settings[n].knob.last for n in mine)
            )
            wanted = _sum_within(sums, *_sides(quota.minimum, quota.maximum))
            assert wanted is not None
            missing = wanted - sums.least
            for n in mine:
                extra = min(missing, settings[n].knob.last - settings[n].knob.first)
                missing -= extra
                found[n] = dataclasses.replace(found[n], share_pct=found[n].share_pct + extra)
        return found

    def _objective(self, assignments: Sequence[Assignment]) -> float:
        """Return the objective of a plan, by its definition and not by the sums made on the way."""
        workers: dict[tuple[str, int], list[float]] = {}
        replicas: dict[str, int] = {}
        for a in assignments:
            if a.kind == "service":
                replicas[a.id] = replicas.get(a.id, 0) + 1
            else:
                task = self.instance.task(a.id)
                made = progress(task, a.batch, a.rate)
                workers.setdefault((a.id, a.ordinal // task.gang_size), []).append(made)
        if self.worth.is_worst:
            return self._worst(workers, replicas)
        missing = sum(
            (s.missing_price or 0.0) * (s.replicas - replicas.get(s.id, 0))
            for s in self.instance.iter_services()
        )
        total = 0.0
        for task in self.instance.iter_tasks():
            for gang in range(task.count):
                rates = workers.get((task.id, gang))
                if rates is None:
                    total += self.worth.of_unplaced(task)
                else:
                    total += self.worth.of_placed(task, min(rates))
        total += self.worth.of_used_gpu * len({(a.pool, a.gpu) for a in assignments})
        return total - missing if self.worth.name == "throughput" else total + missing

    def _worst(
        self, workers: dict[tuple[str, int], list[float]], replicas: dict[str, int]
    ) -> float:
        """Return how badly off the worst is, by its definition."""
        bad = [
            s.missing_price or 0.0
            for s in self.instance.iter_services()
            if replicas.get(s.id, 0) < s.replicas
        ]
        for task in self.instance.iter_tasks():
            for gang in range(task.count):
                rates = workers.get((task.id, gang))
                if rates is None:
                    bad.append(self.worth.of_unplaced(task))
                else:
                    bad.append(self.worth.of_placed(task, min(rates)))
        return max(bad, default=0.0)


def _keep(front: list[_Point], new: _Point) -> None:
    """Add a point unless another is as good; drop those that it beats."""

    def beats(a: _Point, b: _Point) -> bool:
        return a.value >= b.value and all(
            x.is_as_good_as(y) for x, y in zip(a.slowest, b.slowest, strict=True)
        )

    if not any(beats(old, new) for old in front):
        front[:] = [old for old in front if not beats(new, old)]
        front.append(new)


def _added(shares: tuple[Shares, ...], more: tuple[Shares, ...]) -> tuple[Shares, ...]:
    if not more:
        return shares
    return tuple(
        Shares(a.least + b.least, a.largest + b.largest) for a, b in zip(shares, more, strict=True)
    )


def _sides(minimum: float | None, maximum: float | None) -> tuple[float, float]:
    return (-math.inf if minimum is None else minimum, math.inf if maximum is None else maximum)


def _within(value: float, lowest: float, highest: float) -> bool:
    # An absent side is infinite, and the tolerance of an infinite limit is not a number.
    above = lowest == -math.inf or at_least(value, lowest)
    return above and (highest == math.inf or at_most(value, highest))


def _sum_within(shares: Shares, lowest: float, highest: float) -> int | None:
    """Return the least sum of percentages that a quota in whole GPUs allows, or None."""
    for percent in range(shares.least, shares.largest + 1):
        if _within(percent / 100, lowest, highest):
            return percent
    return None
