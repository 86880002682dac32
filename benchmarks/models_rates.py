"""Figures of the rate curves: what was not measured against what was, on public data.

Error is |predicted - measured| / measured: of the rate on the V100 grid, which has rates, elsewhere
of the time of a batch. The points that are scored have no part in the fit or in any choice it
makes. Fixed shares are stated here; random ones always hold the smallest and the largest share,
between which one predicts, and the baselines get the same points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.figures import Figure, table
from colocate.datasets.loaders import load_hasgpu, load_igniter, load_muxserve, load_rapp
from colocate.datasets.loaders.igniter import load_igniter_solo
from colocate.datasets.loaders.peace import load_peace_solo
from colocate.datasets.loaders.spread import load_spread
from colocate.models.fitting.rates import RateFits, fit_rates
from colocate.tables.table import ProfileTable

__all__ = ["figures"]

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]
Plain = Callable[[Floats, Floats, Floats], Floats]
"""From shares and times to the times at other shares."""

SEEDS = 20
FIXED_V100 = (10, 30, 60, 100)
FIXED_SPREAD = (5, 20, 40, 60, 100)
"""About even over the logarithm, as far as most curves rise."""
FIXED_IGNITER, SCORED_IGNITER = (20, 50, 80), (40, 60)
FIXED_LLAMA = (30, 60, 100)
FIXED_SURFACE = (5, 20, 100)
"""At the smallest and the largest batch; what is between both in batch and share is scored."""


class Scores(NamedTuple):
    """Errors in per cent at the scored rows."""

    rows: NDArray[np.int64]
    curve: NDArray[np.int64]
    """Which curve (workload, batch) a row belongs to."""
    ours: Floats
    plain: Floats

    def by_curve(self) -> tuple[Floats, Floats]:
        """Return the mean error of each curve."""
        n = np.bincount(self.curve)
        with np.errstate(invalid="ignore"):
            ours = np.bincount(self.curve, self.ours) / n
            plain = np.bincount(self.curve, self.plain) / n
        return ours, plain


def curve_numbers(rows: ProfileTable) -> NDArray[np.int64]:
    """Return which curve each row belongs to."""
    names = [f"{w}|{b:g}" for w, b in zip(rows["workload"], rows["batch"], strict=True)]
    numbers: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return numbers


def score(
    all_rows: ProfileTable, known: Rows, scored: Rows, plain: Plain, *, of_rate: bool = False
) -> tuple[Scores, RateFits]:
    """Fit the known rows and score others, with a plain curve through the same points beside."""
    fits = fit_rates(all_rows.take(known))
    asked = all_rows.take(scored)
    said = fits.predict(asked["workload"], asked["gpu"], asked["batch"], asked["share_pct"])
    curve = curve_numbers(all_rows)
    plainly = np.full(len(all_rows), np.nan)
    for c in np.unique(curve[scored]).tolist():
        here, of = known & (curve == c), scored & (curve == c)
        share, rate = all_rows["share_pct"], all_rows.rates
        plainly[of] = 1 / plain(share[here], 1 / rate[here], share[of])
    measured = asked.rates

    def error(predicted: Floats) -> Floats:
        ratio = predicted / measured if of_rate else measured / predicted
        return 100 * np.abs(ratio - 1)

    at = np.flatnonzero(scored)
    return Scores(at, curve[scored], error(said), error(plainly[scored])), fits


def straight_rate(share: Floats, seconds: Floats, asked: Floats) -> Floats:
    """Join the rates by straight lines."""
    order = np.argsort(share)
    found: Floats = 1 / np.interp(asked, share[order], 1 / seconds[order])
    return found


def hyperbola(share: Floats, seconds: Floats, asked: Floats, cap: float = 100.0) -> Floats:
    """Fit t = a + w / min(p, cap) with the least squares of relative errors."""
    found, _ = _hyperbola(share, seconds, cap)
    return found[0] + found[1] / np.minimum(asked, cap)


def _hyperbola(share: Floats, seconds: Floats, cap: float) -> tuple[Floats, float]:
    design = np.stack([np.ones(share.size), 1 / np.minimum(share, cap)], axis=1)
    return nnls(design / seconds[:, None], np.ones(share.size))


def capped_hyperbola(share: Floats, seconds: Floats, asked: Floats) -> Floats:
    """Fit a hyperbola that is flat from some share on."""
    caps = np.arange(20.0, 101.0, 5.0)
    best = min(caps.tolist(), key=lambda cap: (round(_hyperbola(share, seconds, cap)[1], 9), cap))
    return hyperbola(share, seconds, asked, best)


def at_shares(rows: ProfileTable, shares: Sequence[float]) -> Rows:
    """Return the rows at these shares, or at those measured next to them."""
    known = np.zeros(len(rows), dtype=bool)
    curve = curve_numbers(rows)
    for c in range(curve.max() + 1):
        measured = np.unique(rows["share_pct"][curve == c])
        nearest = [measured[np.argmin(np.abs(measured - p))] for p in shares]
        known |= (curve == c) & np.isin(rows["share_pct"], nearest)
    return known


def random_shares(rows: ProfileTable, seed: int, count: int) -> Rows:
    """Return the rows at `count` shares of each curve: its ends, and others by chance."""
    rng = np.random.default_rng(seed)
    known = np.zeros(len(rows), dtype=bool)
    curve = curve_numbers(rows)
    for c in range(curve.max() + 1):
        measured = np.unique(rows["share_pct"][curve == c])
        inner = rng.choice(measured[1:-1], count - 2, replace=False)
        chosen = [measured[0], measured[-1], *inner]
        known |= (curve == c) & np.isin(rows["share_pct"], chosen)
    return known


def v100_grid(data: Path) -> list[Figure]:
    """Figure 1."""
    rows = load_peace_solo(data / "peace_v100_batch2_mps" / "solo.csv")
    curve = curve_numbers(rows)
    activity = rows["sm_activity_pct"]
    active = np.array([np.nanmax(activity[curve == c]) for c in range(curve.max() + 1)])
    heavy = active >= 30
    known = at_shares(rows, FIXED_V100)
    fixed, _ = score(rows, known, ~known, straight_rate, of_rate=True)
    ours, plain = fixed.by_curve()
    drawn = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        inner = rng.choice(np.arange(20.0, 100.0, 10.0), 2, replace=False)
        known = np.isin(rows["share_pct"], [10, 100, *inner])
        found, _ = score(rows, known, ~known, straight_rate, of_rate=True)
        drawn.append((found.ours.mean(), found.plain.mean()))
    mean_drawn, mean_plain = np.mean(drawn, axis=0)
    name = "1 V100 grid, shares 10 30 60 100, mean error"
    line = "straight lines"
    return [
        Figure(f"{name}: SM activity >= 30 %", ours[heavy].mean(), 1.5, baseline=line,
               baseline_value=plain[heavy].mean(), note=f"{heavy.sum()} workloads"),
        Figure(f"{name}: launch-bound", ours[~heavy].mean(), 4.2, baseline=line,
               baseline_value=plain[~heavy].mean(), note=f"{(~heavy).sum()} workloads"),
        Figure(f"{name}: all", ours.mean(), 2.3, baseline=line, baseline_value=plain.mean()),
        Figure("1 V100 grid, 20 random share sets (10, two, 100), mean error", mean_drawn, 2.6,
               baseline=line, baseline_value=mean_plain),
    ]  # fmt: skip


def training_curves(data: Path) -> list[Figure]:
    """Figure 3."""
    rows = load_spread(data / "spread_2080ti_train_mps")
    curve = curve_numbers(rows)
    shares = [np.unique(rows["share_pct"][curve == c]).size for c in range(curve.max() + 1)]
    rows = rows.take(np.array(shares)[curve] >= 15)
    known = at_shares(rows, FIXED_SPREAD)
    fixed, _ = score(rows, known, ~known, capped_hyperbola)
    ours, plain = fixed.by_curve()
    drawn = []
    for seed in range(SEEDS):
        known = random_shares(rows, seed, 5)
        found, _ = score(rows, known, ~known, capped_hyperbola)
        drawn.append(found.by_curve())
    each = np.array(drawn)  # [seed, ours or plain, curve]
    per_curve = each.mean(axis=0)
    named = " ".join(map(str, FIXED_SPREAD))
    base = "capped hyperbola"

    def pair(
        name: str, values: tuple[Floats, Floats], targets: tuple[float, float]
    ) -> list[Figure]:
        return [
            Figure(f"{name}, median curve", np.median(values[0]), targets[0], baseline=base,
                   baseline_value=np.median(values[1]), note=f"{values[0].size} curves"),
            Figure(f"{name}, p90 of curves", np.percentile(values[0], 90), targets[1],
                   baseline=base, baseline_value=np.percentile(values[1], 90)),
        ]  # fmt: skip

    figures = pair(f"3 2080 Ti, shares {named}", (ours, plain), (3.0, 5.0))
    figures += pair(
        "3 2080 Ti, 5 random shares, curve means over 20 draws",
        (per_curve[0], per_curve[1]), (3.6, 6.0),
    )  # fmt: skip
    single = np.median(each, axis=2).mean(axis=0), np.percentile(each, 90, axis=2).mean(axis=0)
    for name, value in zip(("median", "p90"), single, strict=True):
        figures.append(
            Figure(f"3 2080 Ti, 5 random shares, {name} of each draw", value[0],
                   baseline=base, baseline_value=value[1], note="reported")
        )  # fmt: skip
    return figures


def igniter(data: Path) -> list[Figure]:
    """Figure 4, alone."""
    folder = data / "igniter_v100_mps"
    rows = load_igniter_solo(folder / "solo.csv")
    known = np.isin(rows["share_pct"], FIXED_IGNITER)
    found, _ = score(rows, known, np.isin(rows["share_pct"], SCORED_IGNITER), hyperbola)
    return [
        Figure("4 iGniter alone, 40 60 % from 20 50 80 %, mean error", found.ours.mean(), 1.5,
               baseline="hyperbola", baseline_value=found.plain.mean(),
               note=f"{found.ours.size} points")
    ]  # fmt: skip


def llama(data: Path) -> list[Figure]:
    """Figure 5."""
    rows = load_muxserve(data / "muxserve_a100_llm_mps")
    figures = []
    phases = np.array([str(w).rsplit("-", 1)[1] for w in rows["workload"]])
    for phase, median, p90 in (("prefill", 1.7, 7.0), ("decode", 2.5, 7.8)):
        some = rows.take(phases == phase)
        curve = curve_numbers(some)
        full = np.array([
            np.isin(FIXED_LLAMA, some["share_pct"][curve == c]).all()
            for c in range(curve.max() + 1)
        ])  # fmt: skip
        some = some.take(full[curve])
        known = np.isin(some["share_pct"], FIXED_LLAMA)
        found, _ = score(some, known, ~known, hyperbola)
        name = f"5 LLaMA {phase} from 30 60 100 %"
        figures += [
            Figure(f"{name}, median cell", np.median(found.ours), median, baseline="hyperbola",
                   baseline_value=np.median(found.plain), note=f"{found.ours.size} cells"),
            Figure(f"{name}, p90 of cells", np.percentile(found.ours, 90), p90,
                   baseline="hyperbola", baseline_value=np.percentile(found.plain, 90)),
        ]  # fmt: skip
    return figures


def injected(data: Path, injections: int = 40, seed: int = 0) -> list[Figure]:
    """Figure 5, second half: one wrong cell among those that are fitted.

    Both phases of one model on one number of GPUs are fitted together, as one would; the model and
    the cell are drawn anew for each injection. The curve with the wrong cell is scored at the
    shares that were left out, against the untouched measurements.
    """
    rows = load_muxserve(data / "muxserve_a100_llm_mps")
    groups = np.array([str(w).split("-len")[0] for w in rows["workload"]])
    rng = np.random.default_rng(seed)
    own, plain_own, others = [], [], []
    fitted: dict[str, tuple[ProfileTable, Rows, Floats, Scores]] = {}
    for _ in range(injections):
        group = str(rng.choice(np.unique(groups)))
        if group not in fitted:
            some = rows.take(groups == group)
            curve = curve_numbers(some)
            full = np.array([
                np.isin(FIXED_LLAMA, some["share_pct"][curve == c]).all()
                for c in range(curve.max() + 1)
            ])  # fmt: skip
            some = some.take(full[curve])
            known = np.isin(some["share_pct"], FIXED_LLAMA)
            found, fits = score(some, known, ~known, hyperbola)
            before = fits.predict(some["workload"], some["gpu"], some["batch"], some["share_pct"])
            fitted[group] = some, known, before, found
        some, known, before, _ = fitted[group]
        curve = curve_numbers(some)
        cell = int(rng.choice(np.flatnonzero(known)))
        latency = some["latency_ms"].copy()
        latency[cell] *= float(rng.choice([0.3, 3.0]))
        wrong = some.replace(latency_ms=latency)
        fits = fit_rates(wrong.take(known))
        after = fits.predict(some["workload"], some["gpu"], some["batch"], some["share_pct"])
        mine = curve == curve[cell]
        scored = mine & ~known
        own.append(100 * np.abs(some.rates[scored] / after[scored] - 1).mean())
        share, seconds = some["share_pct"], 1 / wrong.rates
        naive = hyperbola(share[mine & known], seconds[mine & known], share[scored])
        plain_own.append(100 * np.abs(some.rates[scored] * naive - 1).mean())
        change = 100 * np.abs(after / before - 1)[~mine]
        others.append(float(change.max()))
    name = f"5 LLaMA, one cell x 0.3 or 3 ({injections} injections)"
    return [
        Figure(f"{name}: that curve, mean error", float(np.mean(own)), 6.0, baseline="hyperbola",
               baseline_value=float(np.mean(plain_own)),
               note=f"median {np.median(own):.1f}, worst {np.max(own):.1f}"),
        Figure(f"{name}: largest change elsewhere, median", float(np.median(others)), 3.0,
               note=f"worst {np.max(others):.1f}"),
    ]  # fmt: skip


def surfaces(data: Path) -> list[Figure]:
    """Figure 6: batches and shares that were both never measured, from six points."""
    folder = data / "rapp_hasgpu_v100_mps"
    ours, plain, figures, networks = [], [], [], 0
    for name, rows in (("RaPP", load_rapp(folder)), ("HAS-GPU", load_hasgpu(folder))):
        known = np.zeros(len(rows), dtype=bool)
        scored = np.zeros(len(rows), dtype=bool)
        for workload in np.unique(rows["workload"]):
            of = rows["workload"] == workload
            batches = np.unique(rows["batch"][of])
            ends = np.isin(rows["batch"], batches[[0, -1]])
            at = np.isin(rows["share_pct"], FIXED_SURFACE)
            if batches.size < 3 or np.count_nonzero(of & ends & at) != 6:
                continue
            networks += 1
            known |= of & ends & at
            scored |= of & ~ends & ~at
        fits = fit_rates(rows.take(known))
        asked = rows.take(scored)
        said = fits.predict(asked["workload"], asked["gpu"], asked["batch"], asked["share_pct"])
        error = 100 * np.abs(asked.rates / said - 1)
        mean_ms = {
            w: rows["latency_ms"][known & (rows["workload"] == w)].mean()
            for w in np.unique(asked["workload"])
        }
        constant = np.array([mean_ms[w] for w in asked["workload"]])
        plainly = 100 * np.abs(constant / asked["latency_ms"] - 1)
        ours.append(error)
        plain.append(plainly)
        figures.append(
            Figure(f"6 {name} alone, unseen batch and share, mean error", error.mean(),
                   baseline="constant", baseline_value=plainly.mean(),
                   note=f"median {np.median(error):.2f}, p90 {np.percentile(error, 90):.2f}")
        )  # fmt: skip
    e, c = np.concatenate(ours), np.concatenate(plain)
    name = "6 RaPP and HAS-GPU, unseen batch and share from 6 points"
    note = f"{networks} networks, {e.size} cells"
    return [
        Figure(f"{name}, mean", e.mean(), 4.0, baseline="constant", baseline_value=c.mean(),
               note=note),
        Figure(f"{name}, p90", np.percentile(e, 90), 9.0, baseline="constant",
               baseline_value=np.percentile(c, 90)),
        Figure(f"{name}, median", np.median(e), 2.2, baseline="constant",
               baseline_value=np.median(c)),
        *figures,
    ]  # fmt: skip


def fitting_time(data: Path) -> list[Figure]:
    """The part of figure 10 that is rates: every table above, with all its points."""
    started = time.perf_counter()
    folder = data / "rapp_hasgpu_v100_mps"
    for rows in (
        load_peace_solo(data / "peace_v100_batch2_mps" / "solo.csv"),
        load_spread(data / "spread_2080ti_train_mps"),
        load_igniter(data / "igniter_v100_mps"),
        load_muxserve(data / "muxserve_a100_llm_mps"),
        load_rapp(folder),
        load_hasgpu(folder),
    ):
        fits = fit_rates(rows)
        for fit in fits.fits.values():
            fit.curve()
    return [Figure("10 fitting the rates of all tables", time.perf_counter() - started, 25.0, "s")]


def figures(data: Path) -> list[Figure]:
    """Return all figures of the rate curves."""
    return [
        *v100_grid(data),
        *training_curves(data),
        *igniter(data),
        *llama(data),
        *injected(data),
        *surfaces(data),
        *fitting_time(data),
    ]


if __name__ == "__main__":
    import sys

    print(table(figures(Path(sys.argv[1]))))
