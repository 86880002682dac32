"""Figures 2 and 4 (pairs) of the model benchmarks: rates in company, and how fast they are told.

Every part of the fit, from its candidates to its noise, is chosen anew from what is left in the
training part of each fold. Rates alone at the same batch and share are given, as in the trials that
the targets come from; they are smoothed over the share, which uses no measurement in company. V100:
the nine partitioned splits; the unpartitioned column takes no part.

`aggressor left out`   no cell with it as neighbour is in training; cells with it as victim are
`absent in both roles` no cell with it in any role is in training
`pair left out`        no cell of the two workloads together is in training, in either direction
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from colocate.datasets.loaders import load_igniter, load_peace
from colocate.models.company import Company, Queries
from colocate.models.fitting.company import fit_company, prepare
from colocate.models.fitting.company_blocks import queries
from colocate.models.fitting.company_cells import Cells
from colocate.models.fitting.company_regression import groups_of
from colocate.models.fitting.company_residuals import residuals_of
from colocate.models.fitting.residuals import Residuals
from colocate.tables import ProfileTable

GPU = "V100"
POINTS = 400_000


def figures(data: Path) -> list[Figure]:
    """Return the figures for the folder of public data."""
    grid = load_peace(data / "peace_v100_batch2_mps")
    whole = np.array([text == "100" for text in grid["neighbour_share_pct"]])
    grid = grid.take(~whole)
    igniter = load_igniter(data / "igniter_v100_mps")
    return [
        *_grid(grid),
        *_igniter(igniter),
        *_speed("V100 grid", grid),
    ]


def _grid(table: ProfileTable) -> list[Figure]:
    ready = prepare(table, GPU)
    protocols = (
        ("aggressor left out", "neighbour", 2.6, 6.0),
        ("absent in both roles", "workload", 2.8, 6.5),
        ("pair left out", "pair", 2.0, 4.8),
    )
    found = []
    for name, group, mean, p90 in protocols:
        errors = 100 * residuals_of(ready, group, refit=True).errors  # type: ignore[arg-type]
        every = np.concatenate(list(groups_of(ready.cells, group).values()))  # type: ignore[arg-type]
        ignoring = 100 * _ignoring(ready.cells.take(every), table)
        linear = 100 * _linear(ready, group).errors
        note = f"linear on telemetry {linear.mean():.2f} / {np.percentile(linear, 90):.2f}"
        for what, value, target, plain in (
            ("mean", errors.mean(), mean, ignoring.mean()),
            ("p90", np.percentile(errors, 90), p90, np.percentile(ignoring, 90)),
        ):
            found.append(
                Figure(
                    f"2 V100 grid, {name}, {what}",
                    float(value),
                    target,
                    baseline="ignoring interference",
                    baseline_value=float(plain),
                    note=note,
                )
            )
    return found


def _igniter(table: ProfileTable) -> list[Figure]:
    ready = prepare(table, GPU)
    found = []
    for name, group, target in (("pair", "pair", 3.4), ("aggressor", "neighbour", 2.7)):
        left = residuals_of(ready, group, refit=True)  # type: ignore[arg-type]
        # what was measured is a latency, so the error is that of a latency
        errors = 100 * np.abs(left.measured / left.predicted - 1)
        constant = 100 * _constant(ready.cells, group).mean()
        rate_error = _ignoring(ready.cells, table)
        ignoring = 100 * (rate_error / (1 + rate_error)).mean()
        found.append(
            Figure(
                f"4 iGniter pairs, {name} left out, mean",
                float(errors.mean()),
                target,
                baseline="constant",
                baseline_value=float(constant),
                note=f"ignoring interference {ignoring:.2f}",
            )
        )
    return found


def _ignoring(cells: Cells, table: ProfileTable) -> np.ndarray:
    """Return errors of the measured rate alone, neither smoothed nor fitted."""
    alone = {
        (w, b, p): r
        for w, b, p, r, a in zip(
            table["workload"],
            table["batch"],
            table["share_pct"],
            table.rates,
            table.alone,
            strict=True,
        )
        if a
    }
    settings = zip(cells.victim, cells.victim_batch, cells.victim_share, strict=True)
    rate = np.array([alone[cells.names[v], b, p] for v, b, p in settings])
    return np.abs(rate - cells.rate) / cells.rate


def _constant(cells: Cells, group: str) -> np.ndarray:
    """Return errors of one slowdown for all, the median of what is left in training."""
    errors = []
    for rows in groups_of(cells, group).values():  # type: ignore[arg-type]
        rest = np.setdiff1d(np.arange(cells.size), rows)
        log = np.median(cells.log_slowdown[rest])
        errors.append(np.abs(np.expm1(log - cells.log_slowdown[rows])))
    return np.concatenate(errors)


def _linear(ready, group: str) -> Residuals:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Return errors of least squares of the slowdown on activities, alone and times the shares."""
    cells = ready.cells
    f = ready.traits.features(queries(cells))
    own = [f[f"{side}_{what}"] for side in ("victim", "neighbour") for what in ("sm", "dram")]
    share = cells.neighbour_share / 100
    x = np.stack([np.ones(cells.size), share, *own, *(c * share for c in own[2:])], axis=1)
    slowdown, parts = np.exp(cells.log_slowdown), []
    for unit, rows in groups_of(cells, group).items():  # type: ignore[arg-type]
        rest = np.setdiff1d(np.arange(cells.size), rows)
        fit = np.linalg.lstsq(x[rest], slowdown[rest], rcond=None)[0]
        label = np.full(rows.size, unit, dtype=object)
        parts.append(
            Residuals(cells.alone[rows] / (x[rows] @ fit), cells.rate[rows], label, label, label)
        )
    return Residuals.join(parts)


def _speed(name: str, table: ProfileTable) -> list[Figure]:
    start = time.perf_counter()
    model = fit_company(table, GPU).model
    fitting = time.perf_counter() - start
    company = Company(model)
    rng = np.random.default_rng(0)
    n = len(company.names)
    victim, neighbour = rng.integers(0, n, (2, POINTS))
    batch, share = np.full(POINTS, 2.0), rng.uniform(10, 90, POINTS)
    found = [
        Figure(
            f"10 fitting slowdowns in company, {name}", fitting, unit="s", target=5.0, note="1 core"
        )
    ]
    for what, other, target in (
        ("tabulated pairs", 100 - share, 1e6),
        ("cold", 0.6 * (100 - share), 1e5),
    ):
        q = Queries(victim, neighbour, batch, batch, share, other)
        best = np.inf
        for _ in range(3):
            start = time.perf_counter()
            company.predict(q)
            best = min(best, time.perf_counter() - start)
        found.append(
            Figure(
                f"10 slowdowns per second, {what}",
                POINTS / best,
                target,
                unit="1/s",
                smaller_is_better=False,
            )
        )
    return found


if __name__ == "__main__":
    import sys

    from benchmarks.figures import table

    print(table(figures(Path(sys.argv[1]))))
