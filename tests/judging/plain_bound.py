"""The bound of a certificate from the formulation: every GPU, set and knob in plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from colocate.instance import GpuPool, Instance, Service, Task
from colocate.plan import Certificate
from colocate.runs import ids_of
from colocate.testing._company import settings_together
from colocate.testing._one_gpu import Worth
from colocate.testing._plain_model import (
    Setting,
    Workload,
    at_most,
    is_coupled,
    may_share,
    progress,
    settings_of,
    workloads_of,
)


class PlainBound:
    """Prices of one certificate, held against one instance."""

    def __init__(self, instance: Instance, certificate: Certificate) -> None:
        self.instance, self.objective = instance, Worth(instance)
        self.sigma = {p.id: p.price for p in certificate.services}
        for s in instance.iter_services():
            if not s.required:
                self.sigma[s.id] = max(0.0, self.sigma.get(s.id, 0.0))
        self.pi = {p.id: max(0.0, p.price) for p in certificate.tasks}
        self.levels: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for x in sorted(certificate.levels, key=lambda x: (x.rate, -x.price)):
            self.levels.setdefault((x.task, x.batch), []).append((x.rate, x.price))
        self.quota: dict[tuple[str, str], float] = {}
        self.quota_worth = 0.0
        for quota in instance.rules.quotas:
            for p in certificate.quotas:
                limit = getattr(quota, p.side)
                if (p.tenant, p.unit) == (quota.tenant, quota.unit) and limit is not None:
                    sign = 1 if p.side == "maximum" else -1
                    kappa = sign * max(0.0, p.price)
                    key = quota.tenant, quota.unit
                    self.quota[key] = self.quota.get(key, 0.0) + kappa
                    self.quota_worth += kappa * limit
        self.columns_priced = 0

    def value(self, task: Task, rate: float) -> float:
        """V_t(r)."""
        return self.objective.of_task(task, rate)

    def omega(self, task: Task) -> float:
        """What one gang is worth beyond what it pays its workers."""
        best = 0.0
        for batch in task.batches or (task.batch,):
            running = -math.inf
            for rate, price in self.levels.get((task.id, batch), ()):
                running = max(running, price)
                if rate > 0:
                    surplus = self.value(task, rate) - task.gang_size * running
                    best = max(best, surplus - self.quota.get((task.tenant, "tasks"), 0.0))
        return best

    def eta(self, task: Task, batch: int, rate: float) -> float:
        """What a gang pays a worker."""
        listed = self.levels.get((task.id, batch), ())
        reached = [price for level, price in listed if level <= rate]
        beyond = self.value(task, rate) - self.quota.get((task.tenant, "tasks"), 0.0)
        return max([*reached, (beyond - self.omega(task)) / task.gang_size])

    def bound(self) -> float:
        """Return the bound in the objective's own sense; nan when some GPU cannot be filled."""
        total = self.quota_worth
        for s in self.instance.iter_services():
            total += s.replicas * (self.sigma.get(s.id, 0.0) - (s.missing_price or 0.0))
        for t in self.instance.iter_tasks():
            if self.instance.objective.name != "throughput":
                total -= t.count * self.objective.of_unplaced(t)
            if t.gang_size == 1:
                total += t.count * self.pi.get(t.id, 0.0)
            else:
                total += t.count * self.omega(t)
        known: dict[tuple[str, frozenset[str]], float] = {}
        for pool in self.instance.gpu_pools:
            for gpu in range(pool.first, pool.first + pool.size):
                if pool.schedulable:
                    pins = frozenset(self.pinned_to(pool.id, gpu))
                    if (pool.id, pins) not in known:
                        known[pool.id, pins] = self.best_column(pool, pins)
                    total += known[pool.id, pins]
        if not math.isfinite(total):
            return math.nan
        return total if self.instance.objective.name == "throughput" else -total

    def pinned_to(self, pool: str, gpu: int) -> Iterator[str]:
        """Yield the services pinned to a GPU."""
        for s in self.instance.services:
            for ref in s.pinned or ():
                if ref.pool == pool and gpu in ids_of(ref.gpus):
                    yield s.id

    def best_column(self, pool: GpuPool, pins: frozenset[str]) -> float:
        """Return the best reduced value of a column on a GPU."""
        instance, rules = self.instance, self.instance.rules
        entries = [
            w
            for w in workloads_of(instance)
            if not (isinstance(w.entry, Service) and w.entry.pinned) or w.id in pins
        ]
        musts = {s.id for s in instance.services if s.id in pins and s.required}
        best = -math.inf if musts else 0.0
        for n in range(1, rules.services_per_gpu + rules.tasks_per_gpu + 1):
            for company in itertools.combinations_with_replacement(entries, n):
                if not may_share(instance, pool, company) or not musts <= {w.id for w in company}:
                    continue
                if any(
                    company.count(w)
                    > (
                        1
                        if w.id in pins
                        else w.entry.replicas
                        if isinstance(w.entry, Service)
                        else w.entry.count
                    )
                    for w in company
                ):
                    continue
                best = max(best, self.best_knobs(pool, company))
        return best

    def best_knobs(self, pool: GpuPool, company: tuple[Workload, ...]) -> float:
        """Return the best reduced value of one set of workloads."""
        if is_coupled(self.instance, pool.gpu_type, company):
            return self.best_knobs_together(pool, company)
        # (memory, multiprocessors, what else counts) -> best worth so far: one after the other.
        State = dict[tuple[float, int, tuple[int, ...]], float]
        state: State = {(0.0, 0, ()): 0.0}
        room = pool.memory_gib - pool.reserve_gib
        room += 1e-9 * max(1.0, room)
        for i, workload in enumerate(company):
            choices: State = {}
            for setting in settings_of(
                instance := self.instance, pool, workload, company[:i] + company[i + 1 :]
            ):
                assert instance is self.instance
                for counted, worth in self.ways(workload, setting):
                    key = setting.memory_gib, setting.knob.taken, counted
                    choices[key] = max(choices.get(key, -math.inf), worth)
            grown: State = {}
            for (gib, sms, counted), worth in state.items():
                for (more_gib, more_sms, more_counted), more in choices.items():
                    self.columns_priced += 1
                    if gib + more_gib <= room and sms + more_sms <= pool.sm_count:
                        key = gib + more_gib, sms + more_sms, _added(counted, more_counted)
                        grown[key] = max(grown.get(key, -math.inf), worth + more)
            state = grown
        fitting = [worth for (_, _, counted), worth in state.items() if self.fits(counted)]
        return max(fitting, default=-math.inf) - self.objective.of_used_gpu

    def ways(self, workload: Workload, setting: Setting) -> list[tuple[tuple[int, ...], float]]:
        """Return what else counts about a workload, and what it is then worth."""
        return [((), self.worth(workload, setting))]

    def fits(self, counted: tuple[int, ...]) -> bool:
        """Whether what else counts about all workloads of a GPU is allowed."""
        del counted
        return True

    def best_knobs_together(self, pool: GpuPool, company: tuple[Workload, ...]) -> float:
        """Return the same where the knobs of one workload decide how fast another is."""
        best = -math.inf
        room = pool.memory_gib - pool.reserve_gib
        for settings in settings_together(self.instance, pool, company):
            self.columns_priced += 1
            if settings is not None and at_most(sum(s.memory_gib for s in settings), room):
                each = [self.ways(w, s) for w, s in zip(company, settings, strict=True)]
                for ways in itertools.product(*each):
                    counted: tuple[int, ...] = ()
                    for more, _ in ways:
                        counted = _added(counted, more)
                    if self.fits(counted):
                        worth = sum(worth for _, worth in ways)
                        best = max(best, worth - self.objective.of_used_gpu)
        return best

    def worth(self, workload: Workload, setting: Setting) -> float:
        """Return the reduced value of one workload at one setting."""
        entry = workload.entry
        if isinstance(entry, Service):
            return (entry.missing_price or 0.0) - self.sigma.get(entry.id, 0.0)
        made = progress(entry, setting.batch, setting.rate)
        if entry.gang_size == 1:
            found = self.value(entry, made) - self.pi.get(entry.id, 0.0)
            found -= self.quota.get((entry.tenant, "tasks"), 0.0)
        else:
            found = self.eta(entry, setting.batch, made)
        price = self.quota.get((entry.tenant, "gpu_share"), 0.0)
        # The percentages of a knob give and take the same; the price decides between them.
        return found - min(price * setting.knob.first, price * setting.knob.last) / 100


def _added(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True)) if first else second
