"""What advice promises is what a fit with the advised runs brings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from colocate.advice import next_measurements
from colocate.advice.campaigns import ENOUGH_SHARES, is_measured, known_splits, pair_campaign
from colocate.advice.next_measurements import Advice
from colocate.advice.outcomes import Beliefs
from colocate.advice.runs import Run, Tenant
from colocate.instance import Instance
from colocate.models.bounds import relative_error
from colocate.models.fitting import fit
from colocate.models.slo import slo_model
from colocate.plan import Plan
from colocate.schema import Evidence
from colocate.solve import solve
from colocate.tables import ProfileTable

SPLITS = (20, 35, 50, 65, 80)
SMS = 20


class Lab:
    """Services and tasks with true rates; each odd pair is slowed in a way of its own."""

    def __init__(self, seed: int, known: float = 0.5, thin: str = "", noise: float = 0.02) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.noise = noise
        self.services, self.tasks = ["s0", "s1"], ["t0", "t1", "t2", "t3"]
        names = [*self.services, *self.tasks]
        scale = {n: 2e-3 if n[0] == "s" else 1e-2 for n in names}
        self.batch = {n: 4 if n[0] == "s" else 8 for n in names}
        self.fixed = {n: scale[n] * rng.uniform(0.2, 1) for n in names}
        self.work = {n: scale[n] * rng.uniform(0.5, 2) for n in names}
        self.busy = {n: rng.uniform(0.1, 0.8) for n in names}
        self.slow = {
            (v, n): (1 + 0.6 * self.busy[v] * self.busy[n]) * math.exp(abs(rng.normal(0, 0.15)))
            for v in names
            for n in names
        }
        self.rows: list[dict[str, Any]] = []
        for name in names:
            for p in (20, 60) if name == thin else (10, 20, 40, 70, 100):
                self.measure([(name, p)])
        pairs = [(a, b) for a in self.services for b in self.tasks]
        for k in rng.permutation(len(pairs))[: round(known * len(pairs))]:
            for p in SPLITS:
                self.measure([(pairs[k][0], p), (pairs[k][1], 100 - p)])

    def alone(self, name: str, share: float) -> float:
        return float(self.batch[name] / (self.fixed[name] + self.work[name] * 100 / share))

    def rate(self, name: str, share: float, beside: list[str]) -> float:
        return self.alone(name, share) / math.prod(self.slow[name, n] for n in beside)

    def measure(self, company: list[tuple[str, int]]) -> None:
        for name, p in company:
            others = [c for c in company if c[0] != name]
            told = 1.0 if not others and p == 100 else math.nan
            beside = [n for n, _ in others]
            self.rows.append(
                {
                    "workload": name,
                    "role": "inference" if name[0] == "s" else "training",
                    "gpu": "V",
                    "batch": float(self.batch[name]),
                    "share_pct": float(p),
                    "neighbour": "+".join(beside),
                    "neighbour_batch": "+".join(str(self.batch[n]) for n in beside),
                    "neighbour_share_pct": "+".join(str(q) for _, q in others),
                    "rate": self.rate(name, p, beside) * math.exp(self.noise * self.rng.normal()),
                    "memory_gib": 2.0,
                    "sm_activity_pct": 90 * self.busy[name] * told,
                    "dram_activity_pct": 80 * self.busy[name] * told,
                }
            )

    def follow(self, runs: tuple[Run, ...]) -> None:
        for run in runs:
            self.measure([(t.workload, t.share_pct) for t in run.tenants])

    @property
    def table(self) -> ProfileTable:
        return ProfileTable.of(**{name: [r[name] for r in self.rows] for name in self.rows[0]})

    def instance(self, confidence: float) -> Instance:
        models = fit.fit_models(self.table)
        services = []
        for n in self.services:
            load = 0.35 * self.alone(n, 100)
            slo_ms = 1000 * (4 / load + 4 / (0.5 * self.alone(n, 100)))
            services.append({"id": n.upper(), "profile": n, "rate_rps": load, "slo_ms": slo_ms})
        pool = {"id": "p", "gpu_type": "V", "count": 2, "memory_gib": 32.0, "sm_count": SMS}
        found = Instance.model_validate(
            {
                "name": "lab",
                "slo_model": {"name": "fill"},
                "confidence": confidence,
                "objective": {"name": "throughput"},
                "gpu_pools": [pool],
                "services": services,
                "tasks": [{"id": n.upper(), "profile": n, "batch": 8} for n in self.tasks],
                "profiles": [p.model_dump(exclude_none=True) for p in models.profiles],
            }
        )
        assert models.interference is not None
        return found.replace(interference=models.interference)

    def worth(self, instance: Instance, plan: Plan) -> float:
        """Return what a plan makes in truth; tasks beside a service that is late make nothing."""
        judge, total = slo_model(instance.slo_model), 0.0
        asked = {s.id: s for s in instance.services}
        for group in plan.placements:
            served = [(s, s.service.lower()) for s in group.services]
            trained = [(t, t.task.lower()) for t in group.tasks]
            names = [n for _, n in served] + [n for _, n in trained]

            def true(name: str, sms: int, names: list[str] = names) -> float:
                return self.rate(name, 100 * sms / SMS, [n for n in names if n != name])

            held = []
            for at, name in served:
                tau, s = at.batch / true(name, at.sms), asked[at.service]
                held.append(
                    judge.judge(at.batch, tau, tau, s.rate_rps, s.slo_ms, s.slo_percentile).allowed
                )
            if all(held):
                total += group.count * sum(true(n, t.sms) / self.alone(n, 100) for t, n in trained)
        return total


def entries(instance: Instance, run: Run) -> list[Any]:
    pairs = {(p.gpu_type, p.victim, p.neighbour): p for p in instance.interference.pairs}
    return [pairs[pair] for pair in run.pairs]


def of_pairs(advice: tuple[Advice, ...]) -> Advice:
    return next(a for a in advice if len(a.run.tenants) == 2)


def test_what_becomes_of_a_bound_is_what_a_fit_makes_of_it() -> None:
    """One split leaves evidence and bound; the runs that are advised together change them."""
    lab = Lab(10, known=0.75)
    before = lab.instance(0.8)
    found = of_pairs(next_measurements(lab.table, before, 5))
    assert len(found.runs) == 3
    lab.follow(found.runs[:1])
    one = lab.instance(0.8)
    lab.follow(found.runs[1:])
    all_of_them = lab.instance(0.8)
    beliefs = Beliefs(before, 0.3)
    for pair in found.run.pairs:
        assert is_measured(known_splits(lab.table, pair))
    for old, first, last in zip(
        *(entries(i, found.run) for i in (before, one, all_of_them)), strict=True
    ):
        assert old.evidence is first.evidence is Evidence.REGRESSED
        assert last.evidence is Evidence.MEASURED
        promised = beliefs.error_after((last.gpu_type, last.victim, last.neighbour))
        stays, now = relative_error(first.error, 0.8), relative_error(last.error, 0.8)
        assert stays > now
        assert relative_error(promised, 0.8) == pytest.approx(now, abs=0.02)


def test_a_thin_curve_is_promised_the_bound_that_it_gets() -> None:
    lab = Lab(1, thin="t1")
    before = lab.instance(0.8)
    advice = next_measurements(lab.table, before, 5)
    alone = [a for a in advice if len(a.run.tenants) == 1]
    assert {a.run.tenants[0].workload for a in alone} <= {"t1"}
    thin = before.profile("t1", "V")
    assert thin is not None
    assert thin.rate_error == ()
    promised = Beliefs(before, 0.3, lab.table).rate_after(thin)
    assert 0 < relative_error(promised, 0.8) < 0.2
    lab.measure([("t1", 100)])
    after = lab.instance(0.8).profile("t1", "V")
    assert after is not None
    assert after.evidence is Evidence.MEASURED
    assert relative_error(after.rate_error, 0.8) == pytest.approx(
        relative_error(promised, 0.8), abs=0.02
    )


def test_a_curve_counts_as_measured_from_as_many_shares_as_a_fit_says() -> None:
    assert ENOUGH_SHARES == fit.ENOUGH_SHARES


def test_known_pairs_are_not_advised_again() -> None:
    """All pairs that a plan can use have five splits: more of them would only add noise."""
    lab = Lab(2, known=1.0)
    for confidence in (0.5, 0.8):
        assert next_measurements(lab.table, lab.instance(confidence), 3) == ()


def test_runs_that_a_pair_lacks_complete_it_and_no_more() -> None:
    lab = Lab(3, known=0.0)
    run = Run("V", (Tenant("s0", "inference", 4, 30), Tenant("t0", "training", 8, 70)))
    for measured, lacking in (((), 3), ((50,), 2), ((50, 80), 1), ((35, 40, 50), 2), (SPLITS, 1)):
        lab = Lab(3, known=0.0)
        for p in measured:
            lab.measure([("s0", p), ("t0", 100 - p)])
        runs = pair_campaign(lab.table, run)
        assert len(runs) == lacking
        assert runs[0] == run
        lab.follow(runs)
        assert all(is_measured(known_splits(lab.table, pair)) for pair in run.pairs)


@pytest.mark.deep
def test_promised_gains_at_the_mean_are_realised_within_a_factor_of_three() -> None:
    """Measure what is advised, fit and plan again, and judge both plans by the truth."""
    promised, realised = [], []
    for seed in range(24):
        lab = Lab(seed)
        before = lab.instance(0.5)
        plan = solve(before).plan
        assert plan is not None
        advice = next_measurements(lab.table, before, 1)
        if not advice:
            continue
        lab.follow(advice[0].runs)
        after = lab.instance(0.5)
        better = solve(after).plan
        assert better is not None
        promised.append(advice[0].gain)
        realised.append(lab.worth(after, better) - lab.worth(before, plan))
    assert len(promised) >= 12
    assert np.mean(realised) > 0
    assert 1 / 3 < np.mean(realised) / np.mean(promised) < 3
