"""Figure 7: do error bounds hold as often as they say, for new workloads and for new cells?

Predictions are made once for each measurement, by models that have not seen its group. A split then
divides the workloads (or the cells) into those that calibrate a threshold and those that are held
out, and counts how many held-out cells lie within it. An infinite threshold covers everything; how
often it was infinite is printed beside. Units and cells of one set are exchangeable under random
splits by construction, so what is tested is the method, not luck with the data.

The plain method beside it takes ranks over the cells alone, whatever workload they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from colocate.datasets.loaders import (
    load_igniter,
    load_muxserve,
    load_peace,
    load_rapp,
    load_spread,
)
from colocate.datasets.loaders.muxserve import phase_of
from colocate.models.fitting.company import prepare
from colocate.models.fitting.company_residuals import residuals_of
from colocate.models.fitting.conformal import by_cell, by_new_unit
from colocate.models.fitting.error_bounds import LEVELS, owners, rate_scores
from colocate.models.fitting.rates import fit_rates
from colocate.models.fitting.residuals import Residuals
from colocate.tables import ProfileTable

__all__ = ["CalibrationSet", "Coverage", "coverage_of_cells", "coverage_of_units", "figures"]

SPLITS = 200
HELD_OUT = 0.2
"""Part of the workloads, and of the cells, that a split holds out."""
MANY_CELLS, MANY_UNITS = 1000, 8
"""From here on a set is large enough for the mean to be within two points."""

Floats = NDArray[np.float64]
Labels = NDArray[Any]


class CalibrationSet(NamedTuple):
    """Held-out predictions of one data set."""

    name: str
    by_unit: Residuals
    by_cell: Residuals
    """The same with every cell once."""

    @property
    def units(self) -> list[str]:
        """The workloads without which predictions were made."""
        return sorted({name for label in owners(self.by_unit) for name in label.split("+")})

    @property
    def large(self) -> bool:
        """Whether the mean coverage can be told within two points."""
        return self.by_cell.measured.size >= MANY_CELLS and len(self.units) >= MANY_UNITS


class Coverage(NamedTuple):
    """How many held-out cells were within the threshold, over all splits."""

    mean: float
    infinite: float
    """Part of the splits without a finite threshold."""
    by_unit: dict[str, float]
    """Over the predictions that were made without it."""
    plain: float
    """With ranks over the cells alone."""
    threshold: float
    """The median."""

    @property
    def worst(self) -> str:
        """The unit that was covered least, with its coverage."""
        unit = min(self.by_unit, key=lambda u: self.by_unit[u])
        return f"{unit} {100 * self.by_unit[unit]:.1f} %"

    def interval(self, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
        """Return the 95 % interval of the mean over units, by drawing units again."""
        values = np.array([self.by_unit[u] for u in sorted(self.by_unit)])
        rng = np.random.default_rng(seed)
        means = values[rng.integers(0, values.size, (draws, values.size))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)


def coverage_of_units(held: CalibrationSet, level: float, splits: int = SPLITS) -> Coverage:
    """Hold out a fifth of the workloads, in every role, again and again."""
    found = held.by_unit
    own = _members(owners(found), held.units)
    involved = own | _members(found.victim, held.units) | _members(found.neighbour, held.units)
    scores, labels = rate_scores(found), owners(found)
    rng = np.random.default_rng(7)

    def split() -> Split:
        out = rng.permutation(len(held.units))[: max(1, round(HELD_OUT * len(held.units)))]
        known = ~involved[:, out].any(axis=1)
        roles = [found.victim[known], found.neighbour[known]]
        return (
            own[:, out].any(axis=1),
            known,
            by_new_unit(scores[known], labels[known], level, involved=roles),
        )

    return _coverage(held.units, own, scores, level, (split() for _ in range(splits)))


def coverage_of_cells(held: CalibrationSet, level: float, splits: int = SPLITS) -> Coverage:
    """Hold out a fifth of the cells, again and again."""
    found = held.by_cell
    scores, own = rate_scores(found), _members(owners(found), held.units)
    rng = np.random.default_rng(7)

    def split() -> Split:
        left = np.zeros(scores.size, dtype=bool)
        left[rng.permutation(scores.size)[: round(HELD_OUT * scores.size)]] = True
        return left, ~left, by_cell(scores[~left], level)

    return _coverage(held.units, own, scores, level, (split() for _ in range(splits)))


Split = tuple[NDArray[np.bool_], NDArray[np.bool_], float]
"""Which scores are held out, which calibrate, and the threshold."""


def _members(labels: Labels, units: list[str]) -> NDArray[np.bool_]:
    """Return [score, unit] whether a label names a unit."""
    names = [set(label.split("+")) for label in labels]
    return np.array([[unit in n for unit in units] for n in names])


def _coverage(
    units: list[str],
    own: NDArray[np.bool_],
    scores: Floats,
    level: float,
    splits: Iterator[Split],
) -> Coverage:
    means, plain, thresholds = [], [], []
    inside, times = np.zeros(scores.size), np.zeros(scores.size)
    for left, known, threshold in splits:
        covered = scores <= threshold
        means.append(covered[left].mean())
        plain.append((scores[left] <= by_cell(scores[known], level)).mean())
        thresholds.append(threshold)
        inside += covered & left
        times += left
    return Coverage(
        float(np.mean(means)),
        float(np.mean(np.isinf(thresholds))),
        {
            unit: float(inside[rows].sum() / times[rows].sum())
            for unit, rows in zip(units, own.T, strict=True)
            if times[rows].any()
        },
        float(np.mean(plain)),
        float(np.median(thresholds)),
    )


def figures(data: Path) -> list[Figure]:
    """Return figure 7 for every data set, both ways of splitting and all levels."""
    found = []
    for held in residual_sets(data):
        for what, measure in (("workload", coverage_of_units), ("cell", coverage_of_cells)):
            found += [_figure(held, what, level, measure(held, level)) for level in LEVELS]
    return found


def residual_sets(data: Path) -> list[CalibrationSet]:
    """Return predictions of every data set by models that have not seen them."""
    grid = load_peace(data / "peace_v100_batch2_mps")
    grid = grid.take(np.array([text != "100" for text in grid["neighbour_share_pct"]]))
    igniter = load_igniter(data / "igniter_v100_mps")
    spread = data / "spread_2080ti_train_mps"
    runs = [load_spread(spread, campaign=campaign) for campaign in ("SC", "SC_bk")]
    llama = load_muxserve(data / "muxserve_a100_llm_mps")
    rapp = load_rapp(data / "rapp_hasgpu_v100_mps")
    return [
        _pairs("V100 pairs", grid),
        _alone("2080 Ti", runs, (5, 20, 40, 60, 100), _network, fewest=15),
        _alone("LLaMA", [llama], (30, 60, 100), _phase),
        _alone("iGniter alone", [igniter], (20, 50, 80), str),
        _pairs("iGniter pairs", igniter),
        _alone("RaPP", [rapp], (5, 20, 100), str, end_batches=True),
    ]


def _network(name: str) -> str:
    """Return the network: ConvNeXtS and ConvNeXtT of this set are numerically the same."""
    return "ConvNeXt" if name.startswith("ConvNeXt") else name


def _phase(name: str) -> str:
    """Return model, GPUs and phase: lengths of the sequence are not workloads of their own here."""
    phase = phase_of(name)
    return f"{phase.model}-tp{phase.tp}-{phase.phase}"


def _pairs(name: str, table: ProfileTable) -> CalibrationSet:
    found = residuals_of(prepare(table, "V100"), "workload")
    return CalibrationSet(name, found, found.take(found.unit == found.victim))


def _alone(
    name: str,
    tables: list[ProfileTable],
    shares: tuple[float, ...],
    unit: Callable[[str], str],
    *,
    fewest: int = 2,
    end_batches: bool = False,
) -> CalibrationSet:
    """Fit curves to a few shares (of the smallest and largest batch only) and predict the others.

    Curves that lack one of these shares, or have fewer than `fewest`, take no part.
    """
    parts = []
    for table in tables:
        chosen, known = _few(table, shares, fewest, end_batches=end_batches)
        fits = fit_rates(chosen.take(known))
        rest = chosen.take(~known)
        predicted = fits.predict(rest["workload"], rest["gpu"], rest["batch"], rest["share_pct"])
        label = np.array([unit(workload) for workload in rest["workload"]], dtype=object)
        nobody = np.full(predicted.size, "", dtype=object)
        parts.append(Residuals(predicted, rest.rates, label, nobody, label))
    found = Residuals.join(parts)
    return CalibrationSet(name, found, found)


def _few(
    table: ProfileTable, shares: tuple[float, ...], fewest: int, *, end_batches: bool
) -> tuple[ProfileTable, NDArray[np.bool_]]:
    """Return the rows alone of curves that have the shares, and which of them are known."""
    table = table.take(table.alone)
    at_share = np.isin(table["share_pct"], shares)
    keep, known = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
    for workload in np.unique(table["workload"].astype(str)):
        rows = np.flatnonzero(table["workload"] == workload)
        batch = table["batch"][rows]
        for b in np.unique(batch):
            own = rows[batch == b]
            is_end = not end_batches or b in (batch.min(), batch.max())
            seen = np.unique(table["share_pct"][own])
            if np.isin(shares, seen).all() and seen.size >= fewest:
                keep[own] = True
                known[own] = at_share[own] & is_end
    return table.take(keep), known[keep]


def _figure(held: CalibrationSet, what: str, level: float, got: Coverage) -> Figure:
    note = (
        f"mean {100 * got.mean:.1f} %, worst {got.worst}, "
        f"bound {100 * np.expm1(got.threshold):.3g} %, infinite in {100 * got.infinite:.0f} %"
    )
    name = f"7 {held.name}, by {what}, {100 * level:g} %"
    if held.large:
        return Figure(
            f"{name}: |coverage - nominal|",
            100 * abs(got.mean - level),
            2.0,
            "points",
            baseline="ranks over cells",
            baseline_value=100 * abs(got.plain - level),
            note=note,
        )
    low, high = got.interval()
    if got.infinite == 1:
        few = f"too few units ({len(held.units)}): the threshold is always infinite"
        return Figure(f"{name}: no bound", 0.0, None, "points", note=few)
    return Figure(
        f"{name}: nominal to interval",
        100 * max(0.0, low - level, level - high),
        0.0,
        "points",
        note=f"[{100 * low:.1f}, {100 * high:.1f}], {note}",
    )
