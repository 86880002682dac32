"""MuxFlow (Zhao et al., arXiv 2303.13803): the complement of SM activity, and a matching.

    s_o = 100 - SM activity of the online service o, within 10 ... 90       the offline share
    max  sum_{o,f} w_of x_of    s.t.  sum_f x_of <= 1,  sum_o x_of <= 1     (Kuhn-Munkres)
    w_of = predicted rate of offline f beside o at share s_o / its rate alone on a whole GPU

A service keeps 100 % in MuxFlow and is protected by slowing the offline workload down, at run time.
Here multiprocessors are not shared: the service has what the offline share leaves, raised to the
least share that keeps its SLO, and the offline workload the rest, at most s_o. Pairs for which
there is no such share get no edge (an unhealthy GPU, in the paper). An idle GPU counts as a service
with nothing to do: w = 1.

SM activity is telemetry that an instance does not hold. What it would be on average stands in: the
part of the time in which the service is busy on a whole GPU, times the multiprocessors that it
fills then (the least share at which it reaches 95 % of its full rate).

`muxflow-fixed` matches with what the pairs come to be worth: weights of the tasks counted, and
rates at the shares that remain when the SLO is kept, not at the ones predicted before.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np

from colocate.problem import Problem
from colocate.result import Limit
from colocate.solvers.base import Clock
from colocate.solvers.policies._assign import assigned
from colocate.solvers.policies._company import Company, Held, Setting
from colocate.solvers.policies._online import Policy

__all__ = ["Muxflow", "MuxflowFixed", "sm_activity"]

LEAST_PCT, MOST_PCT = 10.0, 90.0


def sm_activity(company: Company, setting: Setting) -> float:
    """Return what stands in for the mean SM activity of a service alone, in percent."""
    held = setting.held
    speed, row = company.speed(held), company.service(held.service)
    rate = speed.rate[int(np.flatnonzero(speed.batch == setting.batch[0])[0])]
    busy = min(1.0, row.rate_rps / float(rate.max()))
    return busy * company.busy_with(held.gpu, rate)


class Muxflow(Policy):
    """Matches on what was predicted before the SLO was looked at."""

    name: ClassVar[str] = "muxflow"

    def place(
        self,
        problem: Problem,
        gpus: Counter[Setting],
        clock: Clock,
        chance: np.random.Generator,
    ) -> Limit:
        """Match all tasks with all GPUs at once."""
        del chance
        hosts = sorted(s for s, n in gpus.items() if n)
        worth = np.full((len(hosts), problem.task_count.size), -1.0)
        after: dict[tuple[int, int], Setting] = {}
        for h, host in enumerate(hosts):
            limit = clock.hit()
            if limit is not Limit.NONE:
                return limit
            for t in range(problem.task_count.size):
                held = host.held.joined_by(t)
                found = self._pair(host, held) if self.company.admits(held) else None
                if found is not None:
                    worth[h, t], after[h, t] = found
        count = np.array([gpus[h] for h in hosts], dtype=np.int64)
        amount = assigned(worth, count, problem.task_count, lambda: clock.hit() is not Limit.NONE)
        for (h, t), setting in after.items():
            gpus[hosts[h]] -= int(amount[h, t])
            gpus[setting] += int(amount[h, t])
        return clock.hit()

    def _pair(self, host: Setting, held: Held) -> tuple[float, Setting] | None:
        company = self.company
        if not host.held.classes:
            alone = self.task_alone(held)
            return None if alone is None else (self.weight(alone[1], 1.0), alone[1])
        tasks = company.own_batches(held)
        offline = min(MOST_PCT, max(LEAST_PCT, 100.0 - sm_activity(company, host)))
        batches = company.speed(held).batch.tolist()
        setting = self.raised(held, tasks, batches, 100.0 - offline, quickest=True)
        if setting is None:
            return None
        online = company.at_least(held.gpu, 100.0 - offline)
        shares = company.with_rest(held, np.array([online]))
        seen = company.look(held, (host.batch[0], *tasks), shares)
        whole = float(company.rate_alone(held, 0, tasks[0]).max())
        predicted = float(seen.progress[0, 0]) / whole
        return self.weight(setting, predicted if np.isfinite(predicted) else 0.0), setting

    def weight(self, setting: Setting, predicted: float) -> float:
        """Return w: the predicted normalised rate."""
        del setting
        return predicted


class MuxflowFixed(Muxflow):
    """Matches on what the pairs come to be worth."""

    name: ClassVar[str] = "muxflow-fixed"

    def weight(self, setting: Setting, predicted: float) -> float:
        """Return what the pair is worth beyond the service."""
        del predicted
        held = setting.held
        grid = np.array(setting.grid, dtype=np.int64)[:, None]
        value = float(self.company.look(held, setting.batch, grid).value[0])
        price = self.company.service(held.service).missing_price if held.n_services else None
        return value - (price or 0.0)
