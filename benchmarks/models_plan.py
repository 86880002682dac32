"""Figure 9: plans from models that have not seen the pairs they place, judged by measurements.

On the V100 grid, six services on a GPU each and five tasks, at most one beside each service, with
splits of 10:90 ... 90:10. A service has to keep q of its measured rate alone on the whole GPU; a
task counts with its rate over its rate alone on the whole GPU. For each set of four shares

- every workload's rate alone is fitted to its four shares;
- slowdowns of a service and a task beside each other come from a model fitted to the pairs that
  contain neither of the two, and so do their error bounds;
- the plan is solved exactly, at a confidence (with bounds) and with the mean (without);
- what the plan chose is looked up in the measured grid.

`value` is the measured value of the plan over that of the best plan on the measured grid; pairs
that miss q count in full, so value is never shown without the fraction of placed pairs that meet q.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

import colocate as co
from benchmarks.figures import Figure
from colocate.datasets.loaders import load_peace
from colocate.instance import GpuPool, Instance, Rules, Service, SmCount, Task
from colocate.models.company import Company
from colocate.models.company_tables import pair_slowdowns
from colocate.models.fitting.calibration import calibrate_alone, calibrate_company
from colocate.models.fitting.company import fit_company, prepare
from colocate.models.fitting.fit import fitted_rates_alone
from colocate.models.fitting.rates import RateFits, fit_rates
from colocate.profile import Interference, MemoryPoint, PairSlowdown, Profile
from colocate.profile.bounds import Bounds
from colocate.result import Reason
from colocate.schema import Component
from colocate.tables import ProfileTable

GPU = "V100"
SMS = 80
SPLITS = tuple(range(10, 100, 10))
SHARE_SETS = (
    (10, 30, 60, 100),
    (10, 40, 70, 100),
    (10, 20, 50, 100),
    (20, 40, 70, 100),
    (10, 30, 80, 100),
    (10, 20, 60, 100),
)
QUALITIES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
STRICT = (0.85, 0.9)
CONFIDENCE = 0.9


class Grid(NamedTuple):
    """What was measured."""

    alone: dict[str, float]
    """Rate alone on the whole GPU."""
    company: dict[tuple[str, str, int], float]
    """(workload, neighbour, own share) to rate."""
    services: tuple[str, ...]
    tasks: tuple[str, ...]


class Score(NamedTuple):
    """One plan, judged."""

    value: float
    """Over the measured optimum."""
    met: int
    nearly: int
    placed: int


def figures(data: Path) -> list[Figure]:
    """Return the figures for the folder of public data."""
    table = load_peace(data / "peace_v100_batch2_mps")
    table = table.take([text != "100" for text in table["neighbour_share_pct"]])
    grid = _grid(table)
    bounded: dict[float, list[Score]] = {}
    plain: dict[float, list[Score]] = {}
    for shares in SHARE_SETS:
        profiles, pairs = _models(table, grid, shares)
        for q in (*QUALITIES, *STRICT):
            for confidence, scores in ((CONFIDENCE, bounded), (0.5, plain)):
                score = _score(grid, _instance(grid, profiles, pairs, q, confidence), q)
                scores.setdefault(q, []).append(score)
    return [
        *_summary("q 0.5-0.8", [s for q in QUALITIES for s in bounded[q]],
                  [s for q in QUALITIES for s in plain[q]], targets=True),
        *(f for q in STRICT for f in _summary(f"q {q:g}", bounded[q], plain[q], targets=False)),
    ]  # fmt: skip


def _summary(
    name: str, bounded: list[Score], plain: list[Score], *, targets: bool
) -> Iterator[Figure]:
    for what, target in (
        ("value", 0.96),
        ("pairs that meet q", 95.0),
        ("pairs that meet 0.97 q", 99.0),
    ):
        unit = "" if what == "value" else "%"
        value, beside = (_mean(scores, what) for scores in (bounded, plain))
        placed = np.mean([s.placed for s in bounded])
        yield Figure(
            f"9 plans, {name}, {what}",
            value,
            target if targets else None,
            unit,
            smaller_is_better=False,
            baseline="without bounds",
            baseline_value=beside,
            note=f"{placed:.2f} of 5 tasks placed",
        )


def _mean(scores: list[Score], what: str) -> float:
    if what == "value":
        return float(np.mean([s.value for s in scores]))
    met = sum(s.met if what == "pairs that meet q" else s.nearly for s in scores)
    return 100 * met / max(1, sum(s.placed for s in scores))


def _grid(table: ProfileTable) -> Grid:
    alone, company = {}, {}
    for row in range(len(table)):
        name, share = table["workload"][row], round(table["share_pct"][row])
        beside = table.neighbours(row)
        if beside:
            company[name, beside[0].workload, share] = float(table["rate"][row])
        elif share == 100:
            alone[name] = float(table["rate"][row])
    names = sorted(alone)
    return Grid(
        alone,
        company,
        tuple(n for n in names if n.endswith("-inf")),
        tuple(n for n in names if n.endswith("-train")),
    )


def _models(
    table: ProfileTable, grid: Grid, shares: tuple[int, ...]
) -> tuple[list[Profile], list[PairSlowdown]]:
    """Fit rates to four shares, and each pair's slowdowns to the pairs without its workloads."""
    few = table.take(table.alone & np.isin(table["share_pct"], shares))
    fits = fit_rates(few)
    alone = calibrate_alone(fits)
    profiles = [
        Profile(
            workload=fit.workload,
            gpu_type=fit.gpu,
            role="training" if fit.workload in grid.tasks else "inference",
            curve=fit.curve(),
            rate_error=alone.low,
            memory=(MemoryPoint(batch=2, memory_gib=1.0),),
        )
        for fit in fits.fits.values()
    ]
    pairs = []
    for service in grid.services:
        for task in grid.tasks:
            pairs += _pair(table, few, fits, alone.low, service, task)
    return profiles, pairs


def _pair(
    table: ProfileTable,
    few: ProfileTable,
    fits: RateFits,
    alone: Bounds,
    service: str,
    task: str,
) -> list[PairSlowdown]:
    either = [service, task]
    kept = ~table.alone & ~np.isin(table["workload"], either) & ~np.isin(table["neighbour"], either)
    known = ProfileTable.join([few, table.take(kept)])
    solo = fitted_rates_alone(fits, GPU)
    ready = prepare(known, GPU, solo)
    fit = fit_company(known, GPU, ready=ready)
    bounds = calibrate_company(ready, fit, alone)
    company = Company(fit.model)
    return [
        *pair_slowdowns(company, [service], [task], errors=bounds.errors),
        *pair_slowdowns(company, [task], [service], errors=bounds.errors),
    ]


def _instance(
    grid: Grid, profiles: list[Profile], pairs: list[PairSlowdown], q: float, confidence: float
) -> Instance:
    """State the question: keep q of the rate alone, as a limit on the time of a batch."""
    counts = tuple(SmCount(share_pct=p, sms=SMS * p // 100) for p in (*SPLITS, 100))
    return Instance(
        name="v100-grid",
        gpu_pools=(
            GpuPool(id="v100", gpu_type=GPU, count=len(grid.services), memory_gib=32.0,
                    sm_count=SMS, measured_sms=counts),
        ),
        services=tuple(
            # One sample per second under the literal row of Mudi: latency = 1000 / rate.
            Service(id=name, profile=name, replicas=1, rate_rps=1.0,
                    slo_ms=1000.0 / (q * grid.alone[name]), slo_percentile=99.0, required=True)
            for name in grid.services
        ),
        tasks=tuple(Task(id=name, profile=name, batch=2, count=1) for name in grid.tasks),
        profiles=tuple(profiles),
        interference=Interference(pairs=tuple(pairs)),
        rules=Rules(services_per_gpu=1, tasks_per_gpu=1),
        slo_model=Component(name="mudi"),
        confidence=confidence,
        objective=Component(name="throughput"),
    )  # fmt: skip


def _score(grid: Grid, instance: Instance, q: float) -> Score:
    result = co.solve(instance, "brute_force")
    assert result.termination.reason is Reason.OPTIMAL
    assert result.plan is not None, result.termination
    value, met, nearly, placed = 0.0, 0, 0, 0
    for placement in result.plan.placements:
        for task in placement.tasks:
            service = placement.services[0]
            share = service.share_pct
            kept = grid.company[service.service, task.task, share] / grid.alone[service.service]
            # The grid was measured with nothing left over: the task has the rest of the GPU.
            rate = grid.company[task.task, service.service, 100 - share]
            value += rate / grid.alone[task.task]
            met += kept >= q - 1e-9
            nearly += kept >= 0.97 * q - 1e-9
            placed += 1
    return Score(value / _optimum(grid, q), met, nearly, placed)


def _optimum(grid: Grid, q: float) -> float:
    best = np.zeros((len(grid.services), len(grid.tasks)))
    for i, service in enumerate(grid.services):
        for j, task in enumerate(grid.tasks):
            for share in SPLITS:
                if grid.company[service, task, share] >= q * grid.alone[service]:
                    rate = grid.company[task, service, 100 - share] / grid.alone[task]
                    best[i, j] = max(best[i, j], rate)
    rows, columns = linear_sum_assignment(-best)
    return float(best[rows, columns].sum())


if __name__ == "__main__":
    import sys

    from benchmarks.figures import table as as_text

    print(as_text(figures(Path(sys.argv[1]))))
