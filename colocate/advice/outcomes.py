"""What an instance would be if a run had been measured and had come out one way.

A pair's slowdown in company and a rate alone are uncertain by a factor exp(z), z ~ N(0, sigma^2):

    sigma = log(1 + e) / q   for slowdowns,   sigma = -log(1 - e) / q   for rates alone

where e is the error at the smallest listed confidence c above a half, and q the normal quantile of
c. Without bounds, what was measured is taken for exact, and what was not for uncertain by a stated
factor; so is, at least, all that has no bound at the confidence of the plan. But a slowdown is no
more uncertain than those that were measured differ from each other, where there are enough of them.

What a table has is known: sigma is 0 for a pair with a run in it, since a fit passes through what
was measured, so that a further run would move it by little more than its own noise; and for a curve
with enough shares at every batch, since a fit follows one more of many points by a small part only.

A run in company shows the slowdowns of all its pairs at once, at every split. A run alone shows the
rate at its batch and share; how much of that carries over to other shares falls in a straight line
to 0 at the nearest shares that were measured before. Error bounds are learnt from what was left out
over a whole table, so no run makes them vanish: one stays as it is until its pair or curve counts
as measured, and is then that of what was measured (`Beliefs.error_after`, `Beliefs.rate_after`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median, stdev
from typing import TYPE_CHECKING

from colocate.advice.campaigns import ENOUGH_SHARES
from colocate.advice.runs import Pair, known_shares
from colocate.entries import service_entries, task_entries
from colocate.instance import Instance
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rates_alone
from colocate.models.slo import slo_model
from colocate.objectives.base import objective
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.profile import (
    BatchPoints,
    ErrorBound,
    PairSlowdown,
    Profile,
    RatePoint,
    TabulatedCurve,
)
from colocate.profile.bounds import Bounds
from colocate.schema import Evidence
from colocate.tables.table import ProfileTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Beliefs", "CurveChange", "Outcome", "log_error"]

NO_ERROR = (ErrorBound(confidence=1 - 2**-30, relative=0.0),)
ENOUGH_PAIRS = 6
"""Measured slowdowns that tell how far slowdowns differ."""
LEAST, MOST = 0.5, 100.0
"""Slowdowns that the format holds."""


def log_error(bounds: Sequence[ErrorBound], *, of_rate: bool) -> float | None:
    """Return sigma, or None where no bound says anything."""
    listed = [b for b in bounds if b.confidence > 0.5]
    if not listed:
        return None
    first = min(listed, key=lambda b: b.confidence)
    if of_rate and first.relative >= 1:
        return None
    log = -math.log1p(-first.relative) if of_rate else math.log1p(first.relative)
    return log / NormalDist().inv_cdf(first.confidence)


class Beliefs:
    """How uncertain the pairs and curves of an instance are, beside a table of measurements."""

    def __init__(
        self, instance: Instance, unknown_error: float, table: ProfileTable | None = None
    ) -> None:
        self.table = ProfileTable.of() if table is None else table
        t = self.table
        beside = zip(
            t["gpu"].tolist(), t["workload"].tolist(), t["neighbour"].tolist(), strict=True
        )
        self.measured: frozenset[Pair] = frozenset(beside)
        """Pairs with a run in the table; nobody is the neighbour of what ran alone."""
        self._known: dict[tuple[str, str], bool] = {}
        self.unknown = math.log1p(unknown_error)
        self.confidence = instance.confidence
        model = instance.interference
        self.model = model
        self.listed: dict[Pair, PairSlowdown] = {
            (p.gpu_type, p.victim, p.neighbour): p for p in model.pairs
        }
        self.profiles = {(p.workload, p.gpu_type): p for p in instance.profiles}
        measured = [math.log(_typical(p)) for p in model.pairs if p.evidence is Evidence.MEASURED]
        self.spread = stdev(measured) if len(measured) >= ENOUGH_PAIRS else math.inf
        known = [_typical(p) for p in model.pairs]
        self.typical = median(known) if known else 1 + unknown_error

    def entry(self, pair: Pair) -> PairSlowdown:
        """Return what is believed of a pair: its entry, the constant, or a typical slowdown."""
        found = self.listed.get(pair)
        if found is not None:
            return found
        value, error = self.model.default_slowdown, self.model.default_error
        if value is None:
            value, error = self.typical, ()
        gpu_type, victim, neighbour = pair
        return PairSlowdown(
            gpu_type=gpu_type,
            victim=victim,
            neighbour=neighbour,
            slowdown=value,
            error=error,
            evidence=Evidence.CONSTANT,
        )

    def of_pair(self, pair: Pair) -> float:
        """Return sigma of a slowdown."""
        if pair in self.measured:
            return 0.0
        entry = self.entry(pair)
        found = self._sigma(entry.error, entry.evidence, of_rate=False)
        return found if entry.evidence is Evidence.MEASURED else min(found, self.spread)

    def of_rate(self, workload: str, gpu_type: str) -> float:
        """Return sigma of a rate alone."""
        profile = self.profiles[workload, gpu_type]
        if self.is_known(profile):
            return 0.0
        return self._sigma(profile.rate_error, profile.evidence, of_rate=True)

    def is_known(self, profile: Profile) -> bool:
        """Return whether the table has enough shares at every batch of a curve."""
        key = gpu_type, workload = profile.gpu_type, profile.workload
        if key not in self._known:
            shares = (known_shares(self.table, gpu_type, workload, b) for b in batches_of(profile))
            self._known[key] = all(len(s) >= ENOUGH_SHARES for s in shares)
        return self._known[key]

    def error_after(self, pair: Pair) -> Bounds:
        """Return the bounds of a pair once it counts as measured: as of others, or as they are."""
        others = [
            p.error
            for p in self.model.pairs
            if p.gpu_type == pair[0] and p.evidence is Evidence.MEASURED
        ]
        return self._no_wider(self.entry(pair).error, others)

    def rate_after(self, profile: Profile) -> Bounds:
        """Return the bounds of a curve once it counts as measured."""
        others = [
            p.rate_error
            for p in self.profiles.values()
            if p is not profile and p.evidence is Evidence.MEASURED
        ]
        return self._no_wider(profile.rate_error, others)

    def _no_wider(self, own: Bounds, others: Sequence[Bounds]) -> Bounds:
        def width(bounds: Bounds) -> float:
            return relative_error(bounds, self.confidence)

        widest = max(others, key=width, default=own)
        return min(own, widest, key=width)

    def _sigma(self, bounds: Sequence[ErrorBound], evidence: Evidence, *, of_rate: bool) -> float:
        found = log_error(bounds, of_rate=of_rate)
        if math.isinf(relative_error(bounds, self.confidence)):
            # Exact or not, the plan cannot rest on it at this confidence.
            return max(found or 0.0, self.unknown)
        if found is None:
            return 0.0 if evidence is Evidence.MEASURED else self.unknown
        return found

    def slower(self, pair: Pair, z: float, error: Bounds = NO_ERROR) -> PairSlowdown:
        """Return the entry of a pair that was measured and came out exp(z) times as slow."""
        entry = self.entry(pair)
        changes = {"error": error, "evidence": Evidence.MEASURED}
        if entry.table is None:
            assert entry.slowdown is not None
            return entry.model_copy(update={**changes, "slowdown": _scaled(entry.slowdown, z)})
        values = tuple(_scaled(s, z) for s in entry.table.slowdown)
        table = entry.table.model_copy(update={"slowdown": values})
        return entry.model_copy(update={**changes, "table": table})


@dataclass(frozen=True)
class CurveChange:
    """A rate alone that came out exp(log) times as high at one batch and share."""

    workload: str
    gpu_type: str
    batch: int
    share_pct: float
    left: float
    """Nearest smaller share that was measured before; not positive when there is none."""
    right: float
    """Nearest larger share that was measured before; infinite when there is none."""
    log: float

    @classmethod
    def everywhere(cls, gpu_type: str, workload: str, batch: int, *, log: float) -> CurveChange:
        """Return a change by the same factor at all shares but the whole GPU.

        Progress is counted in rates on the whole GPU, so a change there as well would not count.
        """
        return cls(workload, gpu_type, batch, math.nextafter(100.0, 0.0), -math.inf, 100.0, log)

    def factors(self, share_pct: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by what the rates at some shares change."""
        import numpy as np

        part = np.ones(share_pct.shape)
        if self.left > 0:
            below = np.maximum(0.0, (share_pct - self.left) / (self.share_pct - self.left))
            part = np.where(share_pct < self.share_pct, below, part)
        if math.isfinite(self.right):
            above = np.maximum(0.0, (self.right - share_pct) / (self.right - self.share_pct))
            part = np.where(share_pct > self.share_pct, above, part)
        found: NDArray[np.float64] = np.exp(self.log * part)
        return found


@dataclass(frozen=True)
class Outcome:
    """What some runs have shown: log factors of slowdowns, and changes of rate curves."""

    pairs: Mapping[Pair, float] = field(default_factory=dict)
    errors: Mapping[Pair, Bounds] = field(default_factory=dict)
    """Bounds of those slowdowns, where they are not exact."""
    curves: tuple[CurveChange, ...] = ()
    rate_errors: Mapping[tuple[str, str], Bounds] = field(default_factory=dict)
    """Bounds of rates alone, by workload and GPU type, where they change."""
    rates_are_sure: bool = False
    """Whether rates alone have no error."""

    def applied(self, instance: Instance, beliefs: Beliefs) -> Instance:
        """Return the instance with what was shown in place of what was believed."""
        if self == Outcome():
            return instance
        entries = dict(beliefs.listed)
        entries.update(
            {
                pair: beliefs.slower(pair, z, self.errors.get(pair, NO_ERROR))
                for pair, z in self.pairs.items()
            }
        )
        profiles = [self._profile(instance, p) for p in instance.profiles]
        model = instance.interference.model_copy(
            update={"pairs": tuple(entries[key] for key in sorted(entries))}
        )
        return instance.replace(profiles=tuple(profiles), interference=model)

    def _profile(self, instance: Instance, profile: Profile) -> Profile:
        """Return a profile with its curve changed, at every share that a plan can give."""
        import numpy as np

        if self.rates_are_sure:
            profile = profile.model_copy(update={"rate_error": NO_ERROR})
        bounds = self.rate_errors.get((profile.workload, profile.gpu_type))
        if bounds is not None:
            profile = profile.model_copy(update={"rate_error": bounds})
        mine = [
            c
            for c in self.curves
            if (c.workload, c.gpu_type) == (profile.workload, profile.gpu_type)
        ]
        if not mine:
            return profile
        counts = {p.sm_count for p in instance.gpu_pools if p.gpu_type == profile.gpu_type}
        shares = np.unique([100.0 * k / n for n in sorted(counts) for k in range(1, n + 1)])
        batches = []
        for batch in batches_of(profile):
            rates = rates_alone(profile, batch, shares)
            assert rates is not None
            for change in mine:
                if change.batch == batch:
                    rates = rates * change.factors(shares)
            points = tuple(
                RatePoint(share_pct=float(s), rate=float(r))
                for s, r in zip(shares, rates, strict=True)
                if r > 0
            )
            if points:
                batches.append(BatchPoints(batch=batch, points=points))
        return profile.model_copy(update={"curve": TabulatedCurve(batches=tuple(batches))})

    def worth(
        self, instance: Instance, beliefs: Beliefs, plan: Plan, shown: Instance | None = None
    ) -> float:
        """Return the objective of a plan that was made before this was known.

        `shown` is the instance to which this was applied; the given one when left out. Where a
        service now misses its SLO, the tasks beside it have to make way, and count as not placed;
        of a gang, every worker.
        """
        judge = _Judge(instance, beliefs, self)
        groups = [judge.group(group) for group in plan.placements]
        if judge.evicted:
            groups = [judge.without_gangs(group) for group in groups]
        changed = plan.model_copy(update={"placements": tuple(groups)})
        return objective(instance.objective).score(shown or instance, changed)


class _Judge:
    """Predictions of placed groups, changed by an outcome."""

    def __init__(self, instance: Instance, beliefs: Beliefs, outcome: Outcome) -> None:
        self.beliefs, self.outcome = beliefs, outcome
        self.slo = slo_model(instance.slo_model)
        self.services, self.tasks = service_entries(instance), task_entries(instance)
        self.pool = {pool.id: pool for pool in instance.gpu_pools}
        self.evicted: set[str] = set()
        """Tasks with gangs, of which some worker had to make way."""

    def group(self, group: PlacementGroup) -> PlacementGroup:
        """Return the group as it would run."""
        services = [
            self.services.get(self._at(self.services.find(s.service))) for s in group.services
        ]
        tasks = [self.tasks.get(self._at(self.tasks.find(t.task))) for t in group.tasks]
        names = [s.profile for s in services] + [t.profile for t in tasks]
        kept = True
        for i, (service, at) in enumerate(zip(services, group.services, strict=True)):
            factor = self._factor(group.pool, names, i, at.batch, at.sms)
            if factor != 1 and at.predicted is not None:
                tau = at.batch / (at.predicted.rate_rps * factor)
                check = self.slo.judge(
                    at.batch,
                    tau,
                    tau,
                    service.rate_rps,
                    service.slo_ms,
                    service.slo_percentile,
                )
                kept = kept and check.allowed
        if not kept:
            gangs = (t.id for t in tasks if t.gang_size > 1)
            self.evicted.update(gangs)
            return group.model_copy(update={"tasks": ()})
        placed = []
        for i, at_task in enumerate(group.tasks, len(services)):
            factor = self._factor(group.pool, names, i, at_task.batch, at_task.sms)
            stated = at_task.predicted
            assert stated is not None
            changed = stated.model_copy(update={"rate": stated.rate * factor})
            placed.append(at_task.model_copy(update={"predicted": changed}))
        return group.model_copy(update={"tasks": tuple(placed)})

    def without_gangs(self, group: PlacementGroup) -> PlacementGroup:
        """Return the group without tasks that had to make way somewhere else."""
        kept = tuple(t for t in group.tasks if t.task not in self.evicted)
        return group if len(kept) == len(group.tasks) else group.model_copy(update={"tasks": kept})

    @staticmethod
    def _at(position: int | None) -> int:
        assert position is not None
        return position

    def _factor(self, pool_id: str, names: Sequence[str], i: int, batch: int, sms: int) -> float:
        """Return by what the rate of workload `i` changes."""
        import numpy as np

        pool = self.pool[pool_id]
        found = 1.0
        for j, other in enumerate(names):
            pair = (pool.gpu_type, names[i], other)
            if j != i and pair in self.outcome.pairs:
                before, after = self.beliefs.entry(pair), self.outcome.pairs[pair]
                found *= _typical(before) / _scaled(_typical(before), after)
        for change in self.outcome.curves:
            if (change.workload, change.gpu_type, change.batch) == (names[i], pool.gpu_type, batch):
                share = np.array([100.0 * sms / pool.sm_count])
                found *= float(change.factors(share)[0])
        return found


def _typical(entry: PairSlowdown) -> float:
    if entry.table is None:
        assert entry.slowdown is not None
        return entry.slowdown
    return median(entry.table.slowdown)


def _scaled(slowdown: float, z: float) -> float:
    """Return exp(z) times a slowdown; what is slower in company does not turn faster."""
    return min(MOST, max(LEAST, min(slowdown, 1.0), slowdown * math.exp(z)))
