"""What one GPU can hold, and every way to set the knobs of it that is worth trying.

Used by the oracle. Enumerates straight from the instance by the formulas of `_plain_model`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from colocate.errors import TooLargeError, UnsupportedError
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.runs import iter_ids
from colocate.testing._company import settings_together
from colocate.testing._plain_model import (
    Setting,
    Workload,
    at_least,
    at_most,
    is_coupled,
    may_share,
    progress,
    reference_rate,
    settings_of,
    workloads_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Item", "OneGpu", "Outcome", "Pace", "Shares", "Steps", "Worth"]


class Steps:
    """Counts the work done and refuses to go on beyond a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, n: int = 1) -> None:
        """Count n more steps."""
        self.taken += n
        if self.taken > self.limit:
            raise TooLargeError(
                f"the enumeration takes more than {self.limit} steps",
                advice="use a smaller instance, or raise max_steps.",
            )


class Item(NamedTuple):
    """Something that is counted: an entry's replicas or tasks, or the workers of one gang."""

    workload: Workload
    gang: int
    """Which gang of its entry."""
    limit: int
    is_gang: bool


class Pace(NamedTuple):
    """How a worker of a gang trains."""

    batch: int
    progress: float

    def is_as_good_as(self, other: Pace) -> bool:
        """Return whether it can stand for the other: a gang trains at one batch."""
        return self.batch == other.batch and self.progress >= other.progress


class Shares(NamedTuple):
    """Least and largest sum of whole percentages of one tenant's workers."""

    least: int
    largest: int


class Outcome(NamedTuple):
    """One way to set the knobs of what a GPU holds."""

    value: float
    """Worth of the replicas and of the tasks without a gang."""
    gang_paces: tuple[Pace, ...]
    """Of each gang worker on the GPU, in the order of the items."""
    shares: tuple[Shares, ...]
    """One for each tenant with a quota of shares."""
    settings: tuple[Setting, ...]


_PARAMETERS: dict[str, set[str]] = {
    "throughput": set(),
    "iteration_time": {"unplaced_s"},
    "degradation": {"unplaced"},
    "active_gpus": {"unserved_gpus", "least_rate"},
    "finish_time_fairness": {"unplaced"},
    "max_slowdown": {"unplaced"},
}


class Worth:
    """What placed tasks are worth under the instance's objective."""

    def __init__(self, instance: Instance) -> None:
        spec = instance.objective
        wanted = _PARAMETERS.get(spec.name)
        if wanted is None or set(spec.params) != wanted:
            raise UnsupportedError(
                f"the oracle knows no objective {spec.name!r} with parameters {spec.params}",
                path="$.objective",
                advice="compare this instance with verify alone.",
            )
        self.name = spec.name
        self.params = {k: float(v) for k, v in spec.params.items() if isinstance(v, int | float)}
        gpus = sum(pool.size for pool in instance.gpu_pools if pool.schedulable)
        workers = sum(t.count * t.gang_size for t in instance.iter_tasks())
        self.even_share = min(1.0, gpus / workers) if gpus and workers else 1.0
        self.reference = {t.id: reference_rate(instance, t) for t in instance.iter_tasks()}

    @property
    def is_worst(self) -> bool:
        """Whether the objective is the largest of its parts, and not their sum."""
        return self.name in ("max_slowdown", "finish_time_fairness")

    @property
    def nothing(self) -> float:
        """What changes no value."""
        return math.inf if self.is_worst else 0.0

    def both(self, one: float, other: float) -> float:
        """Return the value of two parts together."""
        return min(one, other) if self.is_worst else one + other

    def of_task(self, task: Task, slowest: float) -> float:
        """Return what a placed task is worth at a progress against leaving it out.

        Of a worst case there is no difference to be had: how badly off it is, turned.
        """
        if self.is_worst:
            return -self.of_placed(task, slowest)
        if self.name == "throughput":
            return self.of_placed(task, slowest)
        return self.of_unplaced(task) - self.of_placed(task, slowest)

    def of_placed(self, task: Task, slowest: float) -> float:
        """Return what a placed task adds to the objective, in its own sense."""
        if self.name == "throughput":
            return task.weight * task.gang_size * self.normalised(task, slowest)
        if self.name == "iteration_time":
            return task.weight * task.batch / slowest
        if self.name == "degradation":
            return task.weight / self.normalised(task, slowest)
        if self.name == "max_slowdown":
            return min(task.weight / self.normalised(task, slowest), self.of_unplaced(task))
        if self.name == "finish_time_fairness":
            return min(task.weight * self._rho(task, slowest), self.of_unplaced(task))
        served = at_least(self.normalised(task, slowest), self.params["least_rate"])
        return 0.0 if served else self.of_unplaced(task)

    def _rho(self, task: Task, slowest: float) -> float:
        """Return when it ends over when it would end on an even share, or how fast it is."""
        even = self.even_share * self.reference[task.id]
        if task.remaining_samples is None:
            return even / slowest
        attained, k = task.attained_gpu_s or 0.0, task.gang_size
        ends = attained / k + task.remaining_samples / (k * slowest)
        would_end = attained / k + task.remaining_samples / (k * even)
        return ends / would_end if would_end > 0 else 1.0

    def of_unplaced(self, task: Task) -> float:
        """Return what a task that is left out adds to the objective, in its own sense."""
        if self.name == "throughput":
            return 0.0
        charge = {
            "iteration_time": "unplaced_s",
            "degradation": "unplaced",
            "finish_time_fairness": "unplaced",
            "max_slowdown": "unplaced",
        }
        return task.weight * self.params[charge.get(self.name, "unserved_gpus")]

    @property
    def of_used_gpu(self) -> float:
        """What a GPU that holds anything adds to the objective, in its own sense."""
        return 1.0 if self.name == "active_gpus" else 0.0

    def normalised(self, task: Task, rate: float) -> float:
        """Return progress over that of the task alone on a whole GPU of its fastest type."""
        return rate / self.reference[task.id]


class OneGpu:
    """What GPUs can hold, remembered by pool and by the pinned services at home there."""

    def __init__(self, instance: Instance, worth: Worth, steps: Steps) -> None:
        self.instance = instance
        self.worth = worth
        self.steps = steps
        self.items = list(_items(instance, steps))
        quotas = instance.rules.quotas
        self.share_tenants = sorted({q.tenant for q in quotas if q.unit == "gpu_share"})
        self._pinned = {
            s.id: {(ref.pool, i) for ref in s.pinned for i in iter_ids(ref.gpus)}
            for s in instance.iter_services()
            if s.pinned is not None
        }
        self._offers: dict[tuple[str, tuple[str, ...]], list[tuple[int, ...]]] = {}
        self._settings: dict[tuple[str, str, tuple[str, ...]], list[Setting]] = {}
        self._outcomes: dict[tuple[str, tuple[int, ...]], list[Outcome]] = {}

    def offers(self, pool: GpuPool, gpu: int) -> list[tuple[int, ...]]:
        """Return what this GPU can hold, as ascending indices of items."""
        if not pool.schedulable:
            return []
        at_home = tuple(s for s, gpus in sorted(self._pinned.items()) if (pool.id, gpu) in gpus)
        key = (pool.id, at_home)
        if key not in self._offers:
            self._offers[key] = list(self._extend(pool, at_home, (), 0))
        return self._offers[key]

    def _extend(
        self, pool: GpuPool, at_home: Sequence[str], held: tuple[int, ...], start: int
    ) -> Iterator[tuple[int, ...]]:
        for i in range(start, len(self.items)):
            item = self.items[i]
            is_pinned = item.workload.id in self._pinned
            if is_pinned and item.workload.id not in at_home:
                continue
            if held.count(i) >= (1 if is_pinned or item.is_gang else item.limit):
                continue
            self.steps.take()
            larger = (*held, i)
            # The rules of one GPU only ever forbid more when more is put on it.
            if may_share(self.instance, pool, [self.items[j].workload for j in larger]):
                if self.outcomes(pool, larger):
                    yield larger
                # Not so the slowdown: a table entry below 1 lets a neighbour speed a service up.
                yield from self._extend(pool, at_home, larger, i)

    def outcomes(self, pool: GpuPool, held: tuple[int, ...]) -> list[Outcome]:
        """Return the undominated ways to set the knobs of what a GPU holds."""
        key = (pool.id, held)
        if key not in self._outcomes:
            items = [self.items[i] for i in held]
            company = [item.workload for item in items]
            found: list[Outcome] = []
            for settings in self._ways(pool, company):
                _keep(found, self._outcome(items, settings))
            self._outcomes[key] = found
        return self._outcomes[key]

    def as_it_is(
        self, pool: GpuPool, gpu: int, stays: Sequence[tuple[int, int, int]]
    ) -> list[Outcome]:
        """Return the one outcome of a locked GPU; none when it may not stay as it is."""
        stays = sorted(stays)
        items = [self.items[i] for i, _, _ in stays]
        company = [item.workload for item in items]
        at_home = [(pool.id, gpu) in self._pinned[w.id] for w in company if w.id in self._pinned]
        if not (pool.schedulable and all(at_home) and may_share(self.instance, pool, company)):
            return []
        ways: Iterable[tuple[Setting, ...] | None]
        if is_coupled(self.instance, pool.gpu_type, company):
            ways = settings_together(self.instance, pool, company)
        else:
            alone = [
                list(settings_of(self.instance, pool, w, [*company[:i], *company[i + 1 :]]))
                for i, w in enumerate(company)
            ]
            ways = itertools.product(*alone)
        for settings in ways:
            if settings is None or not self._fits(pool, settings):
                continue
            if sum(s.knob.taken for s in settings) > pool.sm_count:
                continue
            if all(
                s.batch == batch and s.knob.first <= share <= s.knob.last
                for s, (_, batch, share) in zip(settings, stays, strict=True)
            ):
                exactly = tuple(
                    replace(s, knob=replace(s.knob, first=share, last=share))
                    for s, (_, _, share) in zip(settings, stays, strict=True)
                )
                return [self._outcome(items, exactly)]
        return []

    def _ways(self, pool: GpuPool, company: Sequence[Workload]) -> Iterator[tuple[Setting, ...]]:
        """Yield the ways to set the knobs of a company that fit and are worth trying."""
        if not is_coupled(self.instance, pool.gpu_type, company):
            choices = [
                self._choices(pool, w, [*company[:i], *company[i + 1 :]])
                for i, w in enumerate(company)
            ]
            yield from self._fitting(pool, choices)
            return
        # Each workload's knobs decide how fast the others are: nothing is left out beforehand.
        for settings in settings_together(self.instance, pool, company):
            self.steps.take()
            if settings is not None and self._fits(pool, settings):
                yield settings

    def _choices(
        self, pool: GpuPool, workload: Workload, neighbours: Sequence[Workload]
    ) -> list[Setting]:
        """Return the settings of one workload that are worth trying.

        A setting is left out when another takes no more multiprocessors and memory and is as fast.
        How fast a service is, beyond its SLO, is worth nothing. Where a quota counts shares, every
        share of its tenant's workers is tried.
        """
        # Only the profiles of the neighbours matter, and not their order.
        beside = tuple(sorted(n.entry.profile for n in neighbours))
        key = (pool.id, workload.id, beside)
        if key not in self._settings:
            self._settings[key] = self._undominated(pool, workload, neighbours)
        return self._settings[key]

    def _undominated(
        self, pool: GpuPool, workload: Workload, neighbours: Sequence[Workload]
    ) -> list[Setting]:
        task = workload.entry if isinstance(workload.entry, Task) else None
        counted = task is not None and task.tenant in self.share_tenants
        # A gang can use a worker only at the batch of the others.
        several = task is not None and task.gang_size > 1

        def beats(old: Setting, new: Setting) -> bool:
            if task is None:
                return True
            better = progress(task, old.batch, old.rate) >= progress(task, new.batch, new.rate)
            return better and (old.batch == new.batch or not several)

        kept: list[Setting] = []
        for new in settings_of(self.instance, pool, workload, neighbours):
            self.steps.take()
            if counted or not any(
                old.knob.taken <= new.knob.taken
                and old.memory_gib <= new.memory_gib
                and beats(old, new)
                for old in kept
            ):
                kept.append(new)
        return kept

    def _fitting(
        self, pool: GpuPool, choices: Sequence[Sequence[Setting]]
    ) -> Iterator[tuple[Setting, ...]]:
        def extend(chosen: tuple[Setting, ...], taken: int) -> Iterator[tuple[Setting, ...]]:
            if len(chosen) == len(choices):
                if self._fits(pool, chosen):
                    yield chosen
                return
            for setting in choices[len(chosen)]:
                self.steps.take()
                if taken + setting.knob.taken <= pool.sm_count:
                    yield from extend((*chosen, setting), taken + setting.knob.taken)

        yield from extend((), 0)

    @staticmethod
    def _fits(pool: GpuPool, settings: Sequence[Setting]) -> bool:
        """Return whether the memory is enough."""
        return at_most(sum(s.memory_gib for s in settings), pool.memory_gib - pool.reserve_gib)

    def _outcome(self, held: Sequence[Item], settings: tuple[Setting, ...]) -> Outcome:
        value = math.inf if self.worth.is_worst else -self.worth.of_used_gpu
        gang_paces = []
        least = dict.fromkeys(self.share_tenants, 0)
        largest = dict.fromkeys(self.share_tenants, 0)
        for item, setting in zip(held, settings, strict=True):
            entry = item.workload.entry
            if isinstance(entry, Service):
                if not self.worth.is_worst:  # counted where it is known what is missing
                    value += entry.missing_price or 0.0
                continue
            made = progress(entry, setting.batch, setting.rate)
            if item.is_gang:
                gang_paces.append(Pace(setting.batch, made))
            else:
                value = self.worth.both(value, self.worth.of_task(entry, made))
            if entry.tenant in least:
                least[entry.tenant] += setting.knob.first
                largest[entry.tenant] += setting.knob.last
        shares = tuple(Shares(least[t], largest[t]) for t in self.share_tenants)
        return Outcome(value, tuple(gang_paces), shares, settings)


def _items(instance: Instance, steps: Steps) -> Iterator[Item]:
    for workload in workloads_of(instance):
        entry = workload.entry
        if isinstance(entry, Service):
            yield Item(workload, 0, entry.replicas, is_gang=False)
        elif entry.gang_size == 1:
            yield Item(workload, 0, entry.count, is_gang=False)
        else:
            steps.take(entry.count)
            for gang in range(entry.count):
                yield Item(workload, gang, entry.gang_size, is_gang=True)


def _keep(found: list[Outcome], new: Outcome) -> None:
    """Add an outcome unless one with the same shares is as good; drop those that it beats."""

    def beats(a: Outcome, b: Outcome) -> bool:
        return (
            a.shares == b.shares
            and a.value >= b.value
            and all(x.is_as_good_as(y) for x, y in zip(a.gang_paces, b.gang_paces, strict=True))
        )

    if not any(beats(old, new) for old in found):
        found[:] = [old for old in found if not beats(new, old)]
        found.append(new)
