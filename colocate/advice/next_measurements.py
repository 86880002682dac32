"""Which measurements would most improve the plan, within a budget.

Let P be the plan of today, V(Q; o) the objective of a plan Q if a run turned out as outcome o, and
o(m, z) the outcome in which the run m shows slowdowns exp(z sigma) times what is believed, or a
rate exp(-z sigma) times (see `outcomes` for sigma). The gain of measuring m is what the plan is
expected to gain by being made again with the outcome known:

    gain(m) = sum_k w_k * max(0, max_Q V(Q; o(m, z_k)) - V(P; o(m, z_k)))
    z, w    = (-sqrt 3, 1/6), (0, 2/3), (sqrt 3, 1/6)        the mean over N(0, 1) to degree 5

for objectives that are maximised, with the sign turned for others. In V(P; o), a service of P that
would miss its SLO drives the tasks beside it away. A run in P can gain in three ways: it turns out
slow, and another plan is better; it turns out fast, and gets more; it turns out as believed, and
the shares that were kept for its error become free. A run that is not in P gains only where it
turns out fast enough, or sure enough, to enter.

The runs that are looked at are those of P, and those of the plans that would be best if all that is
uncertain and not yet looked at turned out well (z = -sqrt 3) and sure: nothing else can enter. Per
unit of cost, the best is taken; it is then believed to turn out as expected and free of error, and
the question is asked again, until the budget is used up. Gains mostly shrink as more is known, so
the last gain of a run stands in for its present one until the run comes first.

Where no plan exists, because too little is known for the confidence asked for, the runs of the plan
that would be best if all turned out well come first, the most uncertain before others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from colocate.advice.outcomes import Beliefs, CurveChange, Outcome
from colocate.advice.runs import (
    Run,
    known_shares,
    placed_runs,
    possible_pairs,
    queries,
    was_measured,
)
from colocate.errors import InputError
from colocate.instance import Instance
from colocate.models.curves import batches_of
from colocate.objectives.base import objective
from colocate.plan import Plan
from colocate.solve import solve
from colocate.tables.table import ProfileTable

__all__ = ["Advice", "next_measurements"]

FAR = math.sqrt(3.0)
WEIGHTS = {-FAR: 1 / 6, 0.0: 2 / 3, FAR: 1 / 6}
WORTH_IT = 1e-9
"""Gains below this part of the objective are rounding errors."""


class Advice(NamedTuple):
    """One run that should be measured."""

    run: Run
    gain: float
    """Expected gain in the objective's unit; infinite where there is no plan without it."""
    cost: float
    reason: str

    @property
    def query(self) -> ProfileTable:
        """The rows of a profile table that the run would fill."""
        return queries([self.run])


def one_each(run: Run) -> float:
    """Return the cost of a run where the budget is a number of runs."""
    del run
    return 1.0


def next_measurements(
    table: ProfileTable,
    instance: Instance,
    budget: float,
    *,
    cost: Callable[[Run], float] = one_each,
    solver: str = "auto",
    unknown_error: float = 0.3,
    most_candidates: int = 40,
) -> tuple[Advice, ...]:
    """Return the runs to measure next, the most useful first.

    Parameters
    ----------
    table
        What was measured so far; what it holds is not advised again.
    instance
        What is to be planned, with profiles and slowdowns fitted to that table.
    budget
        What the runs may cost together: their number, unless `cost` says otherwise.
    cost
        What a run costs, such as seconds on a GPU; it must be positive.
    solver
        Makes the plans.
    unknown_error
        Relative error of what was not measured and has no error bound.
    most_candidates
        Runs that are looked at in each round.

    Returns
    -------
    tuple of Advice
        Fewer than the budget allows where nothing else can change the plan.
    """
    if not budget >= 0:
        raise InputError(f"budget {budget!r} is not a number of at least 0", advice="use 5.")
    if not 0 < unknown_error <= 10:
        raise InputError(f"unknown_error {unknown_error!r} is not in 0 ... 10", advice="use 0.3.")
    search = _Search(table, instance, solver, unknown_error, most_candidates)
    found: list[Advice] = []
    left = budget
    while (best := search.best(cost, left)) is not None:
        found.append(best)
        left -= best.cost
        if left <= 0:
            break
        search.learn(best.run)
    return tuple(found)


@dataclass
class _Seen:
    """A run that was looked at, with its gain when it last was."""

    run: Run
    gpus: int
    """GPUs of today's plan that hold it."""
    gain: float
    reason: str
    fresh: bool


class _Search:
    """Looks at runs, one piece of advice after the other."""

    def __init__(
        self,
        table: ProfileTable,
        instance: Instance,
        solver: str,
        unknown_error: float,
        most: int,
    ) -> None:
        self.table, self.instance, self.solver = table, instance, solver
        self.unknown_error, self.most = unknown_error, most
        self.sign = 1.0 if objective(instance.objective).sense == "max" else -1.0
        self.learnt: set[tuple[str, ...]] = set()
        self.seen: dict[tuple[str, ...], _Seen] = {}
        self._ask()

    # -- rounds --------------------------------------------------------------------------------

    def best(self, cost: Callable[[Run], float], left: float) -> Advice | None:
        """Return the run with the largest gain for its cost that the rest of the budget allows."""
        priced = {}
        for key, seen in self.seen.items():
            price = cost(seen.run)
            if not price > 0:
                raise InputError(
                    f"{seen.run} costs {price!r}, which is not positive",
                    advice="give every run a cost above 0.",
                )
            if price <= left * (1 + 1e-12):
                priced[key] = price
        while priced:
            key = min(priced, key=lambda k: self._rank(k, priced[k]))
            seen = self.seen[key]
            if not seen.fresh:
                seen.gain, seen.reason = self._gain(seen)
                seen.fresh = True
                continue
            if seen.gain <= self.least:
                return None
            return Advice(seen.run, seen.gain, priced[key], seen.reason)
        return None

    def _rank(self, key: tuple[str, ...], price: float) -> tuple[float, float, tuple[str, ...]]:
        seen = self.seen[key]
        return -seen.gain / price, -self._width(seen.run) / price, key

    def learn(self, run: Run) -> None:
        """Believe that a run was measured and turned out as expected."""
        self.learnt.add(run.what)
        self.instance = Outcome(pairs=dict.fromkeys(run.pairs, 0.0)).applied(
            self.instance, self.beliefs
        )
        if len(run.tenants) == 1:
            self.table = ProfileTable.join([self.table, queries([run])])
        self._ask()

    def _ask(self) -> None:
        """Plan anew, and find the runs that may matter."""
        self.beliefs = Beliefs(self.instance, self.unknown_error)
        self.plan = self._solved(self.instance)
        value = 0.0 if self.plan is None else self.plan.objective.value
        self.least = WORTH_IT * max(1.0, abs(value))
        before, self.seen = self.seen, {}
        if self.plan is not None:
            self._look_at(placed_runs(self.instance, self.plan), in_plan=True)
        while len(self.seen) < self.most:
            hopeful = self._solved(self._hopeful().applied(self.instance, self.beliefs))
            if hopeful is None or not self._look_at(placed_runs(self.instance, hopeful)):
                break
        for key, seen in self.seen.items():
            if key in before and self.plan is not None:
                # A plan that changed may turn a run that was out into one that is in.
                seen.gain = math.inf if before[key].gpus != seen.gpus else before[key].gain

    def _look_at(self, runs: Iterable[tuple[Run, int]], *, in_plan: bool = False) -> bool:
        """Add the runs of a plan that are uncertain; return whether there were new ones."""
        before = len(self.seen)
        for run, gpus in sorted(runs, key=lambda r: (-r[1] * self._width(r[0]), r[0])):
            alone = [Run(run.gpu_type, (tenant,)) for tenant in run.tenants]
            for part in dict.fromkeys([run, *alone]):
                key, held = part.what, gpus if in_plan else 0
                if key in self.learnt or self._width(part) == 0 or was_measured(self.table, part):
                    continue
                if key in self.seen:
                    self.seen[key].gpus += held
                elif len(self.seen) < self.most:
                    self.seen[key] = _Seen(part, held, math.inf, "", fresh=False)
        return len(self.seen) > before

    def _hopeful(self) -> Outcome:
        """Return that all which was not looked at turned out well, and everything is sure."""
        looked_at = {pair for seen in self.seen.values() for pair in seen.run.pairs}
        alone = {
            (run.gpu_type, run.tenants[0].workload, run.tenants[0].batch)
            for run in (seen.run for seen in self.seen.values())
            if len(run.tenants) == 1
        }
        curves = []
        for profile in self.instance.profiles:
            sigma = self.beliefs.of_rate(profile.workload, profile.gpu_type)
            for batch in batches_of(profile) if sigma > 0 else ():
                key = profile.gpu_type, profile.workload, batch
                if key not in alone:
                    curves.append(CurveChange.everywhere(*key, log=FAR * sigma))
        return Outcome(
            pairs={
                pair: -FAR * self.beliefs.of_pair(pair)
                for pair in possible_pairs(self.instance)
                if pair not in looked_at and self.beliefs.of_pair(pair) > 0
            },
            curves=tuple(curves),
            rates_are_sure=True,
        )

    # -- one run -------------------------------------------------------------------------------

    def _width(self, run: Run) -> float:
        """Return how uncertain a run is: the largest sigma of its parts."""
        if len(run.tenants) > 1:
            return max(self.beliefs.of_pair(pair) for pair in run.pairs)
        return self.beliefs.of_rate(run.tenants[0].workload, run.gpu_type)

    def outcome(self, run: Run, z: float) -> Outcome:
        """Return o(run, z)."""
        if len(run.tenants) > 1:
            return Outcome(pairs={p: z * self.beliefs.of_pair(p) for p in run.pairs})
        tenant = run.tenants[0]
        shares = known_shares(self.table, run.gpu_type, tenant.workload, tenant.batch)
        change = CurveChange(
            workload=tenant.workload,
            gpu_type=run.gpu_type,
            batch=tenant.batch,
            share_pct=float(tenant.share_pct),
            left=max((s for s in shares if s < tenant.share_pct), default=-math.inf),
            right=min((s for s in shares if s > tenant.share_pct), default=math.inf),
            log=-z * self.beliefs.of_rate(tenant.workload, run.gpu_type),
        )
        return Outcome(curves=(change,))

    def _gain(self, seen: _Seen) -> tuple[float, str]:
        """Return the gain of measuring a run, and what it mostly comes from."""
        if self.plan is None:
            return math.inf, f"no plan holds at confidence {self.instance.confidence:g} without it"
        parts = {}
        for z, weight in WEIGHTS.items():
            if z == 0 and len(seen.run.tenants) == 1:
                continue  # the bound of the curve stays, so nothing changes
            if z > 0 and seen.gpus == 0:
                continue  # it stays out
            outcome = self.outcome(seen.run, z)
            shown = outcome.applied(self.instance, self.beliefs)
            after = self._solved(shown)
            if after is not None:
                today = outcome.worth(self.instance, self.beliefs, self.plan, shown)
                parts[z] = weight * max(0.0, self.sign * (after.objective.value - today))
        most = max(parts, key=lambda z: parts[z], default=0.0)
        return sum(parts.values()), self._reason(seen, most)

    def _reason(self, seen: _Seen, z: float) -> str:
        factor = math.exp(FAR * self._width(seen.run))
        gpus = "1 GPU" if seen.gpus == 1 else f"{seen.gpus} GPUs"
        where = f"on {gpus} of the plan" if seen.gpus else "not in the plan"
        if z > 0:
            return f"{where}: if {factor:.3g} times slower than expected, another plan is better"
        if z < 0:
            return f"{where}: if {factor:.3g} times faster than expected, a better plan uses that"
        return f"{where}: once it is sure, nothing need be kept back for its error"

    # -- plans ---------------------------------------------------------------------------------

    def _solved(self, instance: Instance) -> Plan | None:
        return solve(instance, self.solver).plan
