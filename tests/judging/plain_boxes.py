"""The bound of a tree of boxes from the formulation, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

from colocate.certificate import Certificate, Leaf, Split
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.testing._plain_model import Setting, Workload, progress
from tests.judging.plain_bound import PlainBound

__all__ = ["PlainBox", "plain_tree_bound"]

LISTS = ("services", "tasks", "levels", "quotas")


def plain_tree_bound(instance: Instance, certificate: Certificate) -> float:
    """Return the weakest bound of all boxes, or that without boxes where it is better."""
    sign = 1 if instance.objective.name == "throughput" else -1
    bounds = []
    for path, leaf in certificate.leaves():
        bound = PlainBox(instance, certificate, path, leaf).bound()
        bounds.append(-math.inf if math.isnan(bound) else sign * bound)
    return sign * min(max(bounds), sign * PlainBound(instance, certificate).bound())


class PlainBox(PlainBound):
    """One box and its prices."""

    def __init__(
        self,
        instance: Instance,
        certificate: Certificate,
        path: Sequence[tuple[Split, bool]],
        leaf: Leaf,
    ) -> None:
        own = {n: getattr(leaf, n) for n in LISTS if getattr(leaf, n) is not None}
        super().__init__(instance, certificate.model_copy(update=own))
        self.statements = [
            (split, above, (-1 if above else 1) * max(0.0, price))
            for (split, above), price in zip(path, leaf.splits, strict=True)
        ]
        self.company: tuple[Workload, ...] = ()
        self.pool: GpuPool | None = None

    def charge_of_task(self, task: Task, batch: int, rate: float) -> float:
        """What a placed task that trains so is charged as a task."""
        return sum(
            charge
            for split, _, charge in self.statements
            if split.counts == "tasks"
            and task.id in split.of
            and split.batch in (None, batch)
            and (split.faster_than is None or rate > split.faster_than)
            and (split.not_faster_than is None or rate <= split.not_faster_than)
        )

    def beyond(self, task: Task, batch: int, rate: float) -> float:
        """The most that a task is worth after its charges at any progress up to this."""
        ends = [e for s, _, _ in self.statements for e in (s.faster_than, s.not_faster_than)]
        return max(
            self.value(task, r) - self.charge_of_task(task, batch, r)
            for r in {rate, *(end for end in ends if end is not None and 0 < end < rate)}
        )

    def omega(self, task: Task) -> float:
        """What one gang is worth beyond what it pays its workers and is charged."""
        best = 0.0
        for batch in task.batches or (task.batch,):
            running = -math.inf
            for rate, price in self.levels.get((task.id, batch), ()):
                running = max(running, price)
                if rate > 0:
                    worth = self.value(task, rate) - self.charge_of_task(task, batch, rate)
                    quota = self.quota.get((task.tenant, "tasks"), 0.0)
                    best = max(best, worth - task.gang_size * running - quota)
        return best

    def eta(self, task: Task, batch: int, rate: float) -> float:
        """What a gang pays a worker."""
        listed = self.levels.get((task.id, batch), ())
        reached = [price for level, price in listed if level <= rate]
        quota = self.quota.get((task.tenant, "tasks"), 0.0)
        even = (self.beyond(task, batch, rate) - quota - self.omega(task)) / task.gang_size
        return max([*reached, even])

    def best_knobs(self, pool: GpuPool, company: tuple[Workload, ...]) -> float:
        """Return the best reduced value of a set, less what the set is charged."""
        self.company, self.pool = company, pool
        charge = 0.0
        for split, above, each in self.statements:
            named = [w for w in company if w.id in split.of]
            replicas = [w for w in named if isinstance(w.entry, Service)]
            workers = [w for w in named if isinstance(w.entry, Task)]
            if split.counts == "gpus" and self.holds(split):
                charge += each
                if not above and split.at_most == 0:
                    return -math.inf
            plain = (split.batch, split.faster_than, split.not_faster_than) == (None,) * 3
            if split.counts == "tasks" and plain and not above and len(workers) > split.at_most:
                return -math.inf
            if split.counts == "replicas":
                charge += each * len(replicas)
                if not above and len(replicas) > split.at_most:
                    return -math.inf
        return super().best_knobs(pool, company) - charge

    def holds(self, split: Split) -> bool:
        """Whether the set of co-tenants at hand counts."""
        assert self.pool is not None
        return (not split.pools or self.pool.id in split.pools) and all(
            sum(w.id in some.ids for w in self.company) >= some.at_least for some in split.holding
        )

    def limits(self) -> list[Split]:
        """Splits that limit how many workers on one GPU are slow, or in fast gangs."""
        return [
            split
            for split, above, _ in self.statements
            if split.counts == "tasks"
            and not above
            and (split.batch, split.faster_than, split.not_faster_than) != (None,) * 3
            and (split.faster_than is None or split.not_faster_than is None)
        ]

    def ways(self, workload: Workload, setting: Setting) -> list[tuple[tuple[int, ...], float]]:
        """Return for which of the limits a workload counts, and what it is then worth at most."""
        entry, limits = workload.entry, self.limits()
        if isinstance(entry, Service):
            return [((0,) * len(limits), self.worth(workload, setting))]
        made = progress(entry, setting.batch, setting.rate)
        found: list[tuple[tuple[int, ...], float]] = [((), math.inf)]
        for split in limits:
            if entry.id not in split.of or split.batch not in (None, setting.batch):
                found = [((*counted, 0), cap) for counted, cap in found]
            elif split.faster_than is None:
                slow = split.not_faster_than is None or made <= split.not_faster_than
                found = [((*counted, int(slow)), cap) for counted, cap in found]
            else:
                fast, end = int(made > split.faster_than), split.faster_than
                found = [
                    way
                    for counted, cap in found
                    for way in (((*counted, fast), cap), ((*counted, 0), min(cap, end)))
                ]
        # Nobody is in a gang that makes no progress.
        return [(n, self.worth(workload, setting, cap)) for n, cap in found if cap > 0]

    def fits(self, counted: tuple[int, ...]) -> bool:
        """Whether so many workers on one GPU may count for each of the limits."""
        return all(n <= s.at_most for n, s in zip(counted, self.limits(), strict=True))

    def worth(self, workload: Workload, setting: Setting, cap: float = math.inf) -> float:
        """Return the reduced value of one workload at one setting, paid up to some progress."""
        entry = workload.entry
        if isinstance(entry, Service):
            return (entry.missing_price or 0.0) - self.sigma.get(entry.id, 0.0)
        made = min(cap, progress(entry, setting.batch, setting.rate))
        if entry.gang_size == 1:
            found = self.beyond(entry, setting.batch, made) - self.pi.get(entry.id, 0.0)
            found -= self.quota.get((entry.tenant, "tasks"), 0.0)
        else:
            found = self.eta(entry, setting.batch, made)
        price = self.quota.get((entry.tenant, "gpu_share"), 0.0)
        by_share = [
            (split.share_from, charge)
            for split, _, charge in self.statements
            if split.counts == "workers"
            and entry.id in split.of
            and split.batch in (None, setting.batch)
            and self.holds(split)
        ]
        return found - min(
            price * q / 100 + sum(charge for share, charge in by_share if q >= share)
            for q in range(setting.knob.first, setting.knob.last + 1)
        )

    def bound(self) -> float:
        """Return the bound in the objective's own sense; nan when some GPU cannot be filled."""
        back = sum(charge * (split.at_most + above) for split, above, charge in self.statements)
        sign = 1 if self.instance.objective.name == "throughput" else -1
        return super().bound() + sign * back
