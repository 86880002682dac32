"""Which measurements would most improve the plan, within a budget.

What is advised are runs that belong together (`campaigns`): one, where a plan takes the mean at its
word (confidence 0.5); otherwise as many as it takes until the pair or the curve counts as measured,
and has an error bound as such.

Let P be the plan of today, V(Q; o) the objective of a plan Q if the runs turned out as outcome o,
and o(m, z) the outcome in which the runs m show slowdowns exp(z sigma) times what is believed, or a
rate exp(-z sigma) times (see `outcomes` for sigma, and for what becomes of error bounds). The gain
of measuring m is what the plan is expected to gain by being made again from models fitted with m:

    gain(m) = sum_k w_k * max(0, max_Q V(Q; o(m, z_k)) - V(P; o(m, z_k)))
    z, w    = (-sqrt 3, 1/6), (0, 2/3), (sqrt 3, 1/6)        the mean over N(0, 1) to degree 5

Where both sides of a pair are unsure, each turns out slow or fast by itself, and (0, 1/3) is left.

for objectives that are maximised, with the sign turned for others. In V(P; o), a service of P that
would miss its SLO drives the tasks beside it away. A run in P can gain in three ways: it turns out
slow, and another plan is better; it turns out fast, and gets more; it turns out as believed, and
shares that were kept for its error become free. A run that is not in P gains only where it turns
out fast enough, or sure enough, to enter. The gain is in what the plan is worth, not in what it
states: a plan that was believed to be worth too much gains by becoming another one all the same.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from colocate.advice.campaigns import curve_campaign, pair_campaign
from colocate.advice.outcomes import Beliefs, CurveChange, Outcome
from colocate.advice.runs import (
    Pair,
    Run,
    known_shares,
    placed_runs,
    possible_pairs,
    queries,
    was_measured,
)
from colocate.errors import InputError
from colocate.instance import Instance
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of
from colocate.objectives.base import objective
from colocate.plan import Plan
from colocate.profile import Profile
from colocate.solve import solve
from colocate.tables.table import ProfileTable

__all__ = ["Advice", "next_measurements"]

FAR = math.sqrt(3.0)
WEIGHT = 1 / 6
"""Of either end; the middle has what the ends leave."""
WORTH_IT = 1e-9
"""Gains below this part of the objective are rounding errors."""


class Advice(NamedTuple):
    """One run that should be measured, with those that belong to it."""

    run: Run
    """At the batches and shares of a plan."""
    gain: float
    """By how much the plan is expected to be worth more when it is made again from models that are
    fitted with all these runs, in the objective's unit; infinite where there is no plan without."""
    cost: float
    """Of all these runs."""
    reason: str
    more: tuple[Run, ...] = ()
    """The same at other shares: with fewer the pair or curve does not count as measured."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that belong together."""
        return (self.run, *self.more)

    @property
    def query(self) -> ProfileTable:
        """The rows of a profile table that the runs would fill."""
        return queries(self.runs)


def one_each(run: Run) -> float:
    """Return the cost of a run where the budget is a number of runs."""
    del run
    return 1.0


def _positive(price: float, run: Run) -> float:
    if not price > 0:
        raise InputError(
            f"{run} costs {price!r}, which is not positive", advice="give every run a cost above 0."
        )
    return price


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
        search.learn(best)
    return tuple(found)


@dataclass
class _Seen:
    """A run that was looked at, with its gain when it last was."""

    run: Run
    runs: tuple[Run, ...]
    """With those that belong to it."""
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
            price = sum(_positive(cost(run), run) for run in seen.runs)
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
            first, *more = seen.runs
            return Advice(first, seen.gain, priced[key], seen.reason, tuple(more))
        return None

    def _rank(self, key: tuple[str, ...], price: float) -> tuple[float, float, tuple[str, ...]]:
        seen = self.seen[key]
        return -seen.gain / price, -self._width(seen.run) / price, key

    def learn(self, advice: Advice) -> None:
        """Believe that runs were measured and turned out as expected."""
        self.learnt.add(advice.run.what)
        self.instance = self.outcome(advice.runs, 0.0).applied(self.instance, self.beliefs)
        self.table = ProfileTable.join([self.table, advice.query])
        self._ask()

    def _ask(self) -> None:
        """Plan anew, and find the runs that may matter."""
        self.beliefs = Beliefs(self.instance, self.unknown_error, self.table)
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
                if key in self.learnt or was_measured(self.table, part):
                    continue
                together = self._together(part)
                if self._width(part) == 0 and not self._narrows(together):
                    continue
                if key in self.seen:
                    self.seen[key].gpus += held
                elif len(self.seen) < self.most:
                    self.seen[key] = _Seen(part, together, held, math.inf, "", fresh=False)
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

    def _together(self, run: Run) -> tuple[Run, ...]:
        """Return the runs that belong to one."""
        if self.instance.confidence <= 0.5 or len(run.tenants) > 2:
            return (run,)
        if len(run.tenants) == 2:
            return pair_campaign(self.table, run)
        return curve_campaign(self.table, run, batches_of(self._profile(run)))

    def _profile(self, run: Run) -> Profile:
        return self.beliefs.profiles[run.tenants[0].workload, run.gpu_type]

    def _narrows(self, runs: Sequence[Run]) -> bool:
        """Return whether error bounds become narrower by these runs."""
        confidence = self.instance.confidence
        if confidence <= 0.5:
            return False
        after = self.outcome(runs, 0.0)
        before = {p: self.beliefs.entry(p).error for p in after.errors}
        if any(
            relative_error(bounds, confidence) < relative_error(before[pair], confidence)
            for pair, bounds in after.errors.items()
        ):
            return True
        return any(
            relative_error(bounds, confidence)
            < relative_error(self.beliefs.profiles[key].rate_error, confidence)
            for key, bounds in after.rate_errors.items()
        )

    def outcome(self, runs: Sequence[Run], z: float, side: Pair | None = None) -> Outcome:
        """Return o(runs, z); where a side is given, the other turns out as believed."""
        run, beliefs = runs[0], self.beliefs
        if len(run.tenants) > 1:
            whole = len(run.tenants) == 2
            return Outcome(
                pairs={p: z * beliefs.of_pair(p) if side in (None, p) else 0.0 for p in run.pairs},
                errors={
                    p: beliefs.error_after(p) if whole else beliefs.entry(p).error
                    for p in run.pairs
                },
            )
        tenant, profile = run.tenants[0], self._profile(run)
        if z == 0:
            # Of a curve that is known already the bound is what it can be.
            known = beliefs.is_known(profile)
            key = profile.workload, profile.gpu_type
            return Outcome(rate_errors={} if known else {key: beliefs.rate_after(profile)})
        shares = known_shares(self.table, run.gpu_type, tenant.workload, tenant.batch)
        change = CurveChange(
            workload=tenant.workload,
            gpu_type=run.gpu_type,
            batch=tenant.batch,
            share_pct=float(tenant.share_pct),
            left=max((s for s in shares if s < tenant.share_pct), default=-math.inf),
            right=min((s for s in shares if s > tenant.share_pct), default=math.inf),
            log=-z * beliefs.of_rate(tenant.workload, run.gpu_type),
        )
        return replace(self.outcome(runs, 0.0), curves=(change,))

    def _gain(self, seen: _Seen) -> tuple[float, str]:
        """Return the gain of measuring a run, and what it mostly comes from."""
        if self.plan is None:
            return math.inf, f"no plan holds at confidence {self.instance.confidence:g} without it"
        parts: dict[float, float] = {}
        for z, weight, side in self._cases(seen.run):
            if z > 0 and seen.gpus == 0:
                continue  # it stays out
            outcome = self.outcome(seen.runs, z, side)
            shown = outcome.applied(self.instance, self.beliefs)
            after = self._solved(shown)
            if after is not None:
                today = outcome.worth(self.instance, self.beliefs, self.plan, shown)
                parts[z] = parts.get(z, 0.0) + weight * max(
                    0.0, self.sign * (after.objective.value - today)
                )
        most = max(parts, key=lambda z: parts[z], default=0.0)
        return sum(parts.values()), self._reason(seen, most)

    def _cases(self, run: Run) -> list[tuple[float, float, Pair | None]]:
        """Return the outcomes to look at: z, the weight, and the side that differs, if one."""
        unsure = [pair for pair in run.pairs if self.beliefs.of_pair(pair) > 0]
        if len(run.tenants) == 1 and self._width(run) == 0:
            return [(0.0, 1.0, None)]
        # More than two would leave the middle less than nothing: then all go one way.
        sides: list[Pair | None] = list(unsure) if len(unsure) in (1, 2) else [None]
        if len(run.tenants) > 1 and not unsure:
            sides = []
        ends = [(z, WEIGHT, side) for z in (-FAR, FAR) for side in sides]
        return [(0.0, 1 - len(ends) * WEIGHT, None), *ends]

    def _reason(self, seen: _Seen, z: float) -> str:
        factor = math.exp(FAR * self._width(seen.run))
        gpus = "1 GPU" if seen.gpus == 1 else f"{seen.gpus} GPUs"
        where = f"on {gpus} of the plan" if seen.gpus else "not in the plan"
        if z > 0:
            return f"{where}: if {factor:.3g} times slower than expected, another plan is better"
        if z < 0:
            return f"{where}: if {factor:.3g} times faster than expected, a better plan uses that"
        return f"{where}: once it counts as measured, less is kept back for its error"

    # -- plans ---------------------------------------------------------------------------------

    def _solved(self, instance: Instance) -> Plan | None:
        return solve(instance, self.solver).plan
