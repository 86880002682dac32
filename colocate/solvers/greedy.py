"""Lazy greedy: always the change that gains most, as many times as it can be made.

State: how many GPUs hold each column. A change adds one item to GPUs that hold a column; a gang of
k workers at level l is k changes at once, on k GPUs:

    gain(a -> b) = v_b - v_a                          b holds what a holds and one item more
    gain(gang)   = (V_l + sum of its k gains) / k     so that gains are always for one GPU

1. Every required replica is placed first, the services with the fewest possible GPUs before the
   others, each where it spoils least: best value with it less best value without it.
2. Every floor (C4) is met next, by the changes that raise it, the largest gain first.
3. Then the change with the largest positive gain is made as often as (C1) gpu, (C2) service,
   (C3) task and (C4) quota allow, until none is left. A change that is not possible now is looked
   at again when GPUs come to hold what it starts from.

No two workers of one gang class are put on one GPU. No bound comes from this; the prices of the
linear relaxation are added where it is small enough. Ties are broken by what the columns are worth
and hold, never by names.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from typing import ClassVar

from colocate.prices import linear_prices
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.schema import TOLERANCE
from colocate.solvers._state import Change, Content, Kind, State
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution

__all__ = ["GreedySolver"]

SMALLEST_GAIN = 1e-12
CHECK_EVERY = 256
DIGITS = 12


class GreedySolver:
    """Largest marginal gain first."""

    name: ClassVar[str] = "greedy"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.TIME_LIMIT,
            Capability.INTERRUPT,
            Capability.SEVERAL_TASKS,
            Capability.SEVERAL_SERVICES,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.GANGS,
            Capability.QUOTAS,
            Capability.FLOORS,
            Capability.GPU_TYPES,
            Capability.BLAST_RADIUS,
        }
    )

    def __init__(self, *, prices: bool = True) -> None:
        self.prices = prices
        """Whether to end with the prices of the linear relaxation."""

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: it needs nothing but the core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Run both phases."""
        clock = Clock(context)
        state = State(problem)
        unplaced = _place_required(state)
        if unplaced:
            return _nothing(f"no GPU for {unplaced} required replicas", Limit.NONE)
        for floor in _floors(state):
            limit = _Improvement(state, floor).run(clock)
            if not _met(state, floor):
                return _nothing("no way to meet a floor", limit)
        limit = _Improvement(state).run(clock)
        counts, gangs = state.solution()
        clock.report(problem.objective_of(problem.value_of(counts, gangs)), None, "greedy")
        return RawSolution(
            Reason.FEASIBLE,
            counts=counts,
            gangs=gangs,
            limit=limit,
            prices=linear_prices(problem) if self.prices and limit is Limit.NONE else None,
            history=tuple(clock.history),
        )


def _nothing(what: str, limit: Limit) -> RawSolution:
    detail = f"greedy found {what}; another solver may find one"
    return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit, detail=detail)


def _floors(state: State) -> list[int]:
    """Return the rows with a lower side, those first that count columns of the highest rank."""
    lower, upper = state.floor_over, state.quota_left
    rows = [i for i, over in enumerate(lower) if math.isfinite(over)]
    n = len(state.rank)
    first = {i: min((state.rank[c] for c in state.quota_of[i] if c < n), default=n) for i in rows}
    return sorted(rows, key=lambda i: (first[i], lower[i], upper[i], len(state.quota_of[i])))


def _met(state: State, floor: int) -> bool:
    return state.floor_over[floor] >= -TOLERANCE * max(1.0, abs(state.floor_over[floor]))


def _place_required(state: State) -> int:
    """Place all required replicas; return how many could not be placed."""
    problem = state.problem
    best: dict[tuple[int, tuple[int, ...]], float] = defaultdict(float)
    possible: dict[int, set[int]] = defaultdict(set)
    columns: dict[int, list[int]] = defaultdict(list)
    for c, content in enumerate(state.content):
        services = _services_of(content)
        best[content[0], services] = max(best[content[0], services], state.value[c])
        for s in services:
            possible[s].add(content[0])
            columns[s].append(c)
    potential: dict[int, float] = defaultdict(float)
    for (_, services), value in best.items():
        for s in services:
            potential[s] = max(potential[s], value)
    required = [s for s in range(len(state.services)) if problem.service_required[s]]
    spare = {s: sum(state.empty[g] for g in possible[s]) - state.services[s] for s in required}
    missing = 0
    first = {s: min(state.rank[c] for c in held) for s, held in columns.items()}
    worth = {s: _rounded(potential[s] / problem.scale) for s in required}
    for s in sorted(required, key=lambda s: (spare[s], -worth[s], first.get(s, 0), s)):
        while state.services[s]:
            options = []
            for content, target in state.smaller[Kind.SERVICE, s]:
                there = _services_of(content)
                with_it = best[content[0], tuple(sorted((*there, s)))]
                gained = with_it - best[content[0], there]
                for source in state.sources(content):
                    change = Change(source, target, (Kind.SERVICE, s))
                    key = (-_rounded(gained / problem.scale), len(there), state.rank[target])
                    options.append((key, change))
            for _, change in sorted(options, key=lambda option: option[0]):
                one = Counter({change: 1})
                most = min(state.units(change), state.services[s])
                n = state.within_quotas(most, state.uses(one))
                if n:
                    state.apply(one, n)
                    break
            else:
                missing += state.services[s]
                break
    return missing


def _rounded(worth: float) -> float:
    """Take off the last digits: sums in another order must not decide between equals."""
    return round(worth, DIGITS)


def _services_of(content: Content) -> tuple[int, ...]:
    return tuple(index for kind, index in content[1] if kind is Kind.SERVICE)


class _Improvement:
    """Makes the change, or places the gang, that gains most, until nothing gains.

    For a floor, only what raises it counts, whether it gains or not, until the floor is met.
    """

    def __init__(self, state: State, floor: int | None = None) -> None:
        self.state = state
        self.floor = floor
        self.scale = state.problem.scale
        self.smallest = SMALLEST_GAIN * self.scale
        self.levels = state.problem.levels.value.tolist()
        self.size = state.problem.gang_size.tolist()
        self.heap: list[tuple[float, int, int, Change | int]] = []
        self.pushed = 0
        self.waiting: set[int] = set()
        """Gang levels that are in the heap."""

    def run(self, clock: Clock) -> Limit:
        """Run to the end, or to a limit."""
        for source, content in self.state.held():
            self._offer(source, content)
        steps = 0
        while self.heap and not (self.floor is not None and _met(self.state, self.floor)):
            if steps % CHECK_EVERY == 0:
                limit = clock.hit()
                if limit is not Limit.NONE:
                    return limit
            steps += 1
            key, _, _, what = heapq.heappop(self.heap)
            if isinstance(what, Change):
                self._make(Counter({what: 1}), None)
            else:
                self._place(what, -key)
        return Limit.NONE

    def _push(self, gain: float, rank: int, what: Change | int) -> None:
        if gain > self.smallest or self.floor is not None:
            self.pushed += 1
            key = -_rounded(gain / self.scale)
            heapq.heappush(self.heap, (key, rank, self.pushed, what))
            if isinstance(what, int):
                self.waiting.add(what)

    def _offer(self, source: int | None, content: Content) -> None:
        """Look at what GPUs that hold this could come to hold."""
        for target, item in self.state.larger[content]:
            if not self.state.room(item):
                continue
            if item[0] is not Kind.WORKER:
                change = Change(source, target, item)
                self._push(self.state.gain(change), self.state.rank[target], change)
            elif item[1] not in self.waiting:
                changes = self._gang(item[1])
                if changes is not None:
                    self._push(self._worth(changes, item[1]), self.state.rank[target], item[1])

    def _make(self, changes: Counter[Change], level: int | None) -> None:
        """Make these changes as often as possible now."""
        state = self.state
        item = next(iter(changes)).item
        most = min(state.room(item), *(state.units(c) // n for c, n in changes.items()))
        used = state.uses(changes, level)
        n = state.within_quotas(most, used)
        if self.floor is not None:
            raised = state.quota_use(self.floor, used)
            lacking = -state.floor_over[self.floor]
            n = min(n, math.ceil(lacking / raised)) if raised > 0 else 0
        if n <= 0:
            return
        new = [c.target for c in changes if not state.counts[c.target]]
        state.apply(changes, n, level)
        for target in new:
            self._offer(target, state.content[target])

    def _gang(self, level: int) -> Counter[Change] | None:
        """Return the k best changes that place one gang at this level, or None."""
        state = self.state
        options = [
            Change(source, target, (Kind.WORKER, level))
            for content, target in state.smaller[Kind.WORKER, level]
            for source in state.sources(content)
        ]
        options.sort(key=lambda c: (-_rounded(state.gain(c) / self.scale), state.rank[c.target]))
        left = self.size[state.level_task[level]]
        chosen: Counter[Change] = Counter()
        taken: Counter[tuple[int | None, int]] = Counter()
        for change in options:
            where = (change.source, state.content[change.target][0])
            n = min(left, state.units(change) - taken[where])
            if n > 0:
                chosen[change] += n
                taken[where] += n
                left -= n
        return None if left else chosen

    def _worth(self, changes: Counter[Change], level: int) -> float:
        gained = sum(self.state.gain(change) * n for change, n in changes.items())
        return float(self.levels[level] + gained) / changes.total()

    def _place(self, level: int, expected: float) -> None:
        """Place gangs at a level, unless it has become worse than something else."""
        self.waiting.discard(level)
        changes = self._gang(level) if self.state.room((Kind.WORKER, level)) else None
        if changes is None:
            return
        worth = self._worth(changes, level)
        if _rounded(worth / self.scale) < expected:
            self._push(worth, self.state.rank[next(iter(changes)).target], level)
            return
        before = self.state.gangs[level]
        self._make(changes, level)
        if self.state.gangs[level] > before:
            again = self._gang(level) if self.state.room((Kind.WORKER, level)) else None
            if again is not None and level not in self.waiting:
                rank = self.state.rank[next(iter(again)).target]
                self._push(self._worth(again, level), rank, level)
