"""Mudi (Chen et al., EuroSys 2025, DOI 10.1145/3689031.3696074): the flattest latency first.

For a service i at batch b beside tasks psi, P_i(b, q, psi) is two lines over the share q, with
slopes k1, k2 that meet at a cutoff (Eq. 1; fitted to six shares, see `_lines`).

    device    the GPU with the smallest mean slope over all b                        (selector)
    start     q = max over b of the cutoffs
    batch     min over b of Iteration_j(b, q), by GP-LCB, of those with the row below    (Eq. 3)
    share     q = 1.10 * min { q : (W_i / b) P_i(b, q, psi) <= SLO_i }                   (Eq. 4)
    no (b, q) that meets the row: training is paused

W is the arrival rate. As printed the row compares a load with a time; with W per second, P and SLO
in seconds it says that one second's arrivals, served one after the other, take at most the SLO.
The services of the paper's own Table 1 miss it at the paper's own load, so `mudi`, which takes it
as printed, pauses nearly everything where SLOs are short. An idle GPU has slope 0. Beyond the
paper's default of one task beside a service, up to three share the rest evenly.

`mudi-fixed` keeps the idea and puts right
1. the row: P_i <= the longest batch time that the instance's SLO model allows at b;
2. the slope: in parts of that longest time for each percent, so that slow services with much time
   do not look bad;
3. batch and share: each batch is tried at the share that it needs, not at the common start, where
   an iteration hardly depends on it;
4. beta_n of GP-LCB, which as printed is 0 from the third of six batches on.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from colocate.solvers.policies._company import Held, Setting
from colocate.solvers.policies._lines import Lines, fit_lines
from colocate.solvers.policies._online import Joined, Policy
from colocate.solvers.policies.gp_lcb import gp_lcb, published_beta, standard_beta

__all__ = ["Mudi", "MudiFixed"]

SAMPLES_PCT = (10, 20, 30, 50, 70, 90)
SAFETY = 1.10


class Mudi(Policy):
    """As published."""

    name: ClassVar[str] = "mudi"
    most_tasks: ClassVar[int] = 3

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Score by slope, then tune batch and share."""
        del setting, task
        if not held.n_services:
            return self.task_alone(held)
        tasks = self.company.own_batches(held)
        lines = self.lines(held, tasks)
        found = self.tuned(held, tasks, lines) if lines else None
        return None if found is None else (self.score(held, lines), found)

    def lines(self, held: Held, tasks: tuple[int, ...]) -> dict[int, Lines]:
        """Return the latency at each batch as two lines."""
        company = self.company
        wanted = {company.at_least(held.gpu, q) for q in SAMPLES_PCT}
        share = company.percentages(held.gpu)
        grid = np.array(sorted(wanted, key=lambda i: int(share[i])), dtype=np.int64)
        batches = company.speed(held).batch.tolist()
        seen = company.look_at_all(held, batches, tasks, company.with_rest(held, grid))
        fitted = (fit_lines(share[grid].astype(float), 1000.0 * row) for row in seen.batch_s)
        return {b: found for b, found in zip(batches, fitted, strict=True) if found is not None}

    def score(self, held: Held, lines: dict[int, Lines]) -> float:
        """Return the mean slope over all batches."""
        del held
        return float(np.mean([found.slope for found in lines.values()]))

    def longest_ms(self, held: Held, batch: int) -> float:
        """Return theta, the longest P that the row allows: SLO * b / W."""
        service = self.company.service(held.service)
        return service.slo_ms * batch / service.rate_rps

    def tuned(self, held: Held, tasks: tuple[int, ...], lines: dict[int, Lines]) -> Setting | None:
        """Choose the batch at the largest cutoff, then the share."""
        start = max(found.cutoff_pct for found in lines.values())
        batches = sorted(lines)
        at_start = np.array([self.company.at_least(held.gpu, start)])

        def iteration(i: int) -> float | None:
            b = batches[i]
            if lines[b].latency_ms(start) > self.longest_ms(held, b):
                return None
            shares = self.company.with_rest(held, at_start)
            return self._iteration(held, (b, *tasks), shares[:, 0])

        best = gp_lcb(np.log2(batches), iteration, published_beta)
        least = {b: lines[b].least_share(self.longest_ms(held, b)) for b in batches}
        batch = batches[best.best] if best else min(batches, key=lambda b: (least[b], b))
        if not math.isfinite(least[batch]):
            return None
        return self.raised(held, tasks, [batch], min(100.0, SAFETY * least[batch]))

    def _iteration(
        self, held: Held, batch: tuple[int, ...], grid: np.typing.NDArray[np.int64]
    ) -> float | None:
        """Return what the tasks need for a sample each; None where one does not run."""
        progress = self.company.look(held, batch, grid[:, None]).progress[:, 0]
        if not (grid >= 0).all() or not (progress > 0).all():
            return None
        return float((1.0 / progress).sum())


class MudiFixed(Mudi):
    """The same idea with its defects put right."""

    name: ClassVar[str] = "mudi-fixed"

    def score(self, held: Held, lines: dict[int, Lines]) -> float:
        """Return the mean slope, in parts of the time that there is."""
        parts = []
        for b, found in lines.items():
            longest = self.longest_ms(held, b)
            if longest > 0:
                parts.append(found.slope / longest)
        return float(np.mean(parts)) if parts else math.inf

    def longest_ms(self, held: Held, batch: int) -> float:
        """Return the longest batch time that the instance's SLO model allows."""
        return self.company.longest_ms(held, batch)

    def tuned(self, held: Held, tasks: tuple[int, ...], lines: dict[int, Lines]) -> Setting | None:
        """Choose among batches at the share that each needs."""
        batches = sorted(lines)
        settings: dict[int, Setting] = {}

        def iteration(i: int) -> float | None:
            b = batches[i]
            least = lines[b].least_share(self.longest_ms(held, b))
            if not math.isfinite(least):
                return None
            found = self.raised(held, tasks, [b], min(100.0, SAFETY * least))
            if found is None:
                return None
            settings[i] = found
            return self._iteration(held, found.batch, np.array(found.grid))

        best = gp_lcb(np.log2(batches), iteration, standard_beta)
        return None if best is None else settings[best.best]
