"""GSLICE (Dhakal, Kulkarni, Ramakrishnan; SoCC 2020): shares and batches that correct themselves.

The paper is about services beside services; beside a task, its controller does this:

    start at 50 %;  R = rate of the service in company - arrivals,  f = |R| / rate
    share <- share * (1 + f)  where R < 0,   share / (1 + f)  where R >= 0,   at most the knee
    until it stays: then the share at which the service just keeps up with its arrivals
    knee: where the curve of its rate bends most, the largest distance above the chord
    batch: the largest that keeps the SLO

The rest is the task's. Which task goes beside which service is not its concern: any GPU, by lot, as
the comparisons in the Mudi paper have it. A share at which a service just keeps up is too little
for an SLO; the controller goes on from there to the least allowed share.

Rebuilt from the abstract and from how others describe it; the constants are those of the
descriptions, not of the authors' code.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.solvers.policies._company import Held, Setting
from colocate.solvers.policies._online import Joined, Policy

__all__ = ["Gslice", "knee", "settled"]

START_PCT = 50.0
SETTLED = 0.01
ROUNDS = 50


def knee(share_pct: NDArray[np.float64], rate: NDArray[np.float64]) -> float:
    """Return the share at which a curve lies highest above the line from its start to its end."""
    x = (share_pct - share_pct[0]) / ((share_pct[-1] - share_pct[0]) or 1.0)
    y = (rate - rate[0]) / ((rate[-1] - rate[0]) or 1.0)
    return float(share_pct[int((y - x).argmax())])


def settled(
    share_pct: NDArray[np.float64], rate: NDArray[np.float64], arrivals: float, most: float
) -> float:
    """Return where the controller comes to rest, on a curve of rates in company."""
    now = min(START_PCT, most)
    for _ in range(ROUNDS):
        there = float(np.interp(now, share_pct, rate, left=0.0))
        factor = abs(there - arrivals) / there if there > 0 else 1.0
        wanted = min(most, now * (1 + factor) if there < arrivals else now / (1 + factor))
        if abs(wanted - now) <= SETTLED * now:
            return wanted
        now = wanted
    return now


class Gslice(Policy):
    """Adapts to the arrivals, whoever is beside it."""

    name: ClassVar[str] = "gslice"

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Let the controller settle, then keep the SLO."""
        del task
        if len(held.classes) == 1:
            return self.task_alone(held)
        company, speed = self.company, self.company.speed(held)
        tasks = company.own_batches(held)
        order = np.argsort(company.percentages(held.gpu), kind="stable")
        share = company.percentages(held.gpu)[order].astype(float)
        deployed = int(np.flatnonzero(speed.batch == setting.batch[0])[0])
        shares = company.with_rest(held, order)
        seen = company.look(held, (int(speed.batch[deployed]), *tasks), np.maximum(shares, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.nan_to_num(setting.batch[0] / seen.batch_s, nan=0.0, posinf=0.0)
        arrivals = self.company.service(held.service).rate_rps
        most = knee(share, speed.rate[deployed, order])
        start = settled(share, rate, arrivals, most)
        largest_first = sorted(speed.batch.tolist(), reverse=True)
        found = self.raised(held, tasks, largest_first, start)
        return None if found is None else (float(len(setting.held.classes)), found)
