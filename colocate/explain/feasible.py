"""Is there a plan at all? Yes with a plan that the judge accepts, no with a proof, or not known.

What every plan may leave out is left out first: a plan for the rest is a plan for the whole. A
plan is looked for by `greedy`; where it finds none, an exact solver decides: all ways to fill the
GPUs where they are few, else the integer program. Only their word counts for a no.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import comb

import numpy as np

from colocate.capability import needed, refuse
from colocate.constraints.base import RowSpec
from colocate.errors import TooLargeError
from colocate.expand import expand
from colocate.explain.changes import Change
from colocate.explain.draft import Draft
from colocate.explain.parts import Part, without
from colocate.instance import Instance, ServiceTable, TaskTable
from colocate.problem import Problem, RowLabel, Rows, compile_problem
from colocate.reasons import impossible_services
from colocate.result import Limits, Reason
from colocate.schema import Component
from colocate.solvers.base import Context, RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.greedy import GreedySolver
from colocate.solvers.milp import MilpSolver
from colocate.verify import verify

__all__ = [
    "Answer",
    "Checker",
    "Wanted",
    "class_of",
    "exactly",
    "refuse_unknown",
    "with_demand",
]

MAX_SETS = 20_000
"""Sets of co-tenants up to which a relaxed instance is compiled."""
NODES = 500
CHECK_S = 20.0
"""Time after which one check is given up."""


class Answer(StrEnum):
    """What is known."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many tasks of entries that are alike are to be placed."""

    tasks: tuple[str, ...]
    count: int


@dataclass
class Checker:
    """Answers for one instance, with a common limit of time."""

    instance: Instance
    wanted: Wanted | None = None
    limits: Limits = field(default_factory=Limits)
    checks: int = 0
    known: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def without(self, parts: Iterable[Part], changes: Iterable[Change] = ()) -> Answer:
        """Return whether there is a plan with these changes and without these parts."""
        parts = tuple(parts)
        wanted = self.wanted
        if wanted is not None and any(p.kind == "placed" for p in parts):
            wanted = None
        return self.of(without(self.instance, parts, changes), wanted)

    def of(self, draft: Draft, wanted: Wanted | None) -> Answer:
        """Return whether there is a plan for what is left of an instance."""
        if _may_reduce(draft):
            draft.obliged(() if wanted is None else wanted.tasks)
            draft.fields["objective"] = Component(name="throughput")
        _keep_useful(draft)
        is_whole = _keep_sets_within(draft, MAX_SETS)
        answer = self._known(draft.instance(), wanted)
        while answer is Answer.UNKNOWN and _tighten(draft):
            is_whole = False
            answer = self._known(draft.instance(), wanted)
        # A plan for tighter rules is one for looser rules; no plan says nothing about them.
        return answer if is_whole or answer is Answer.YES else Answer.UNKNOWN

    def _known(self, instance: Instance, wanted: Wanted | None) -> Answer:
        key = f"{instance.sha256} {wanted}"
        if key not in self.known:
            self.known[key] = self._answer(instance, wanted)
        return self.known[key]

    def _answer(self, instance: Instance, wanted: Wanted | None) -> Answer:
        self.checks += 1
        left = self._time_left()
        if left <= 0:
            return Answer.UNKNOWN
        try:
            problem = compile_problem(instance)
        except TooLargeError:
            return Answer.UNKNOWN
        if wanted is not None:
            extended = with_demand(problem, wanted)
            if extended is None:
                return Answer.NO
            problem = extended
        if impossible_services(problem):
            return Answer.NO
        context = Context(Limits(time_s=min(left, CHECK_S), gap=1.0), isolation="none")
        if problem.needed <= GreedySolver.capabilities:
            found = GreedySolver(prices=False).solve(problem, context)
            if _is_plan(problem, found):
                return Answer.YES
        return _decided(problem, context)

    def _time_left(self) -> float:
        limit = self.limits.time_s
        if limit is None:
            return CHECK_S
        return limit - (time.perf_counter() - self._started)


def refuse_unknown(instance: Instance) -> None:
    """Refuse an instance with rules that neither exact solver knows."""
    brute_force, milp = BruteForceSolver.capabilities, MilpSolver.capabilities
    known = milp if needed(instance) <= milp else brute_force
    refuse("explain", known, instance)


def exactly(problem: Problem, context: Context, nodes: int) -> RawSolution | None:
    """Solve with an exact solver that knows all rules: by trying all ways, else as a program."""
    if problem.needed <= BruteForceSolver.capabilities:
        with contextlib.suppress(TooLargeError):
            return BruteForceSolver(nodes).solve(problem, context)
    if problem.needed <= MilpSolver.capabilities:
        return MilpSolver().solve(problem, context)
    return None


def _decided(problem: Problem, context: Context) -> Answer:
    found = exactly(problem, context, NODES)
    if found is not None and found.reason is Reason.INFEASIBLE:
        return Answer.NO
    return Answer.YES if found is not None and _is_plan(problem, found) else Answer.UNKNOWN


def _is_plan(problem: Problem, found: RawSolution) -> bool:
    """Return whether the judge accepts the plan."""
    if found.counts is None or found.gangs is None:
        return False
    activity = problem.activity(found.counts, found.gangs)
    slack = 1e-6 * np.maximum(1.0, np.abs(activity))
    rows = problem.rows
    if (activity > rows.upper + slack).any() or (activity < rows.lower - slack).any():
        return False
    plan = expand(problem, found.counts, found.gangs, solver="explain", proof=None)
    return verify(problem.source.instance, plan).ok


def _may_reduce(draft: Draft) -> bool:
    """Return whether leaving out what is not due changes nothing; plug-ins may count anything."""
    rules = draft.source.rules
    return not (draft.source.constraints or rules.moves or rules.blast_radius or rules.locked)


PER_GPU = ("services_per_gpu", "tasks_per_gpu")


def _keep_useful(draft: Draft) -> None:
    """Leave rules as tight as they are where no two workloads could make use of looser ones.

    Workloads of which it is not known how they slow each other down are never put together.
    """
    interference = draft.source.interference
    if interference.default_slowdown is not None:
        return
    known = {(p.gpu_type, p.victim, p.neighbour) for p in interference.pairs}
    services = {s.profile for s in draft.services.values()} | _profiles(draft.service_table)
    tasks = {t.profile for t in draft.tasks.values()} | _profiles(draft.task_table)
    for name, profiles in zip(PER_GPU, (services, tasks), strict=True):
        if name in draft.limits and not any(
            {victim, neighbour} <= profiles and (gpu_type, neighbour, victim) in known
            for gpu_type, victim, neighbour in known
        ):
            draft.limits[name] = max(1, getattr(draft.source.rules, name))


def _profiles(table: ServiceTable | TaskTable | None) -> set[str]:
    if table is None:
        return set()
    return {table.profile} if isinstance(table.profile, str) else set(table.profile)


def _keep_sets_within(draft: Draft, most: int) -> bool:
    """Tighten rules that were made looser until the sets of co-tenants on one GPU are few enough.

    Return whether nothing had to be tightened.
    """
    services = len(draft.services) + (draft.service_table.rows if draft.service_table else 0)
    tasks = len(draft.tasks) + (draft.task_table.rows if draft.task_table else 0)
    is_whole = True
    while True:
        ways = 1
        for kinds, name in zip((services, tasks), PER_GPU, strict=True):
            n = draft.limits.get(name, getattr(draft.source.rules, name))
            ways *= comb(kinds + n, n) if kinds else 1
        if ways <= most or not _tighten(draft):
            return is_whole
        is_whole = False


def _tighten(draft: Draft) -> bool:
    """Make the loosest rule tighter by one; never tighter than the instance's own."""
    own = draft.source.rules
    looser = [n for n in PER_GPU if draft.limits.get(n, 0) > getattr(own, n)]
    if not looser:
        return False
    draft.limits[max(looser, key=lambda n: draft.limits[n])] -= 1
    return True


def with_demand(problem: Problem, wanted: Wanted) -> Problem | None:
    """Add the row that so many tasks of a class are placed; None if none can be."""
    columns, levels = problem.columns, problem.levels
    cls = class_of(problem, wanted.tasks[0])
    n = columns.size
    if problem.gang_size[cls] > 1:
        held = n + np.flatnonzero(levels.task == cls)
        variable, amount = held, np.ones(held.size)
    else:
        mine = columns.is_task & (columns.cls == cls)
        often = np.bincount(columns.owner[mine], minlength=n)
        variable = np.flatnonzero(often)
        amount = often[variable].astype(float)
    if not variable.size:
        return None
    rows, specs = problem.rows, problem.source.quota_rows
    full = np.zeros(n + levels.size)
    full[variable] = amount
    name = f"at least {wanted.count} of task {wanted.tasks[0]}"
    spec = RowSpec(name, full[:n], full[n:], float(wanted.count), np.inf)
    extended = Rows(
        np.concatenate([rows.row, np.full(variable.size, rows.size)]),
        np.concatenate([rows.variable, variable]),
        np.concatenate([rows.coefficient, amount]),
        np.append(rows.lower, float(wanted.count)),
        np.append(rows.upper, np.inf),
        (*rows.labels, RowLabel("quota", len(specs), name)),
    )
    source = replace(problem.source, quota_rows=(*specs, spec))
    return replace(problem, rows=extended, source=source)


def class_of(problem: Problem, task: str) -> int:
    """Return the class of a task entry that is there."""
    instance, classes = problem.source.instance, problem.source.classes
    names = (instance.task_name(e) for e in range(classes.tasks.entry_class.size))
    return int(classes.tasks.entry_class[next(e for e, n in enumerate(names) if n == task)])
