"""A campaign from its first run to its last, or to the end of its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colocate.errors import ColocateError, clean_text
from colocate.executor.errors import ForeignError
from colocate.executor.measure.bench import BadStartError, Bench, Company
from colocate.executor.measure.link import CannotRunError
from colocate.executor.measure.results import Record, Results
from colocate.executor.measure.rows import evidence_of, rows_of
from colocate.executor.measure.runner import Outcome, measure_point, with_arrivals
from colocate.executor.measure.runs import Run, estimate_s, point_s
from colocate.executor.measure.tenants import Workload

if TYPE_CHECKING:
    from colocate.executor.measure.effort import Effort

__all__ = ["MOST_IN_A_ROW", "Progress", "Summary", "run_campaign"]

MOST_IN_A_ROW = 5
"""Runs that may fail one after the other before the campaign is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign is."""

    done: int
    total: int
    left_s: float
    """Time that the rest is expected to take, by what the runs so far took."""
    text: str
    """What is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a campaign ended."""

    measured: int
    """Runs that were made now."""
    kept: int
    """Runs that were there from before."""
    impossible: int
    failed: int
    left: int
    """Runs that nobody came to."""
    ended: str
    """Why: `complete`, `budget`, `stopped`, or `failures`."""
    seconds: float


def run_campaign(
    runs: Sequence[Run],
    bench: Bench,
    workloads: Mapping[str, Workload],
    effort: Effort,
    results: Results,
    *,
    budget_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Summary:
    """Measure all runs that the results do not hold yet.

    Parameters
    ----------
    runs
        In the order in which they are measured.
    bench
        Where.
    workloads
        By name.
    effort
        When something counts as measured.
    results
        Each run is written down before the next one starts.
    budget_s
        No run is started that is not expected to end in time.
    progress
        Is told before each run.
    stop
        Asked before each run and between windows; a run that it ends is not written down.
    """
    course = _Course(runs, bench, workloads, effort, results, stop)
    return course.go(budget_s, progress)


class _Course:
    """What is known on the way."""

    def __init__(
        self,
        runs: Sequence[Run],
        bench: Bench,
        workloads: Mapping[str, Workload],
        effort: Effort,
        results: Results,
        stop: Callable[[], bool] | None,
    ) -> None:
        self.bench, self.workloads, self.effort, self.results = bench, workloads, effort, results
        self.stop = stop or _never
        done = results.done
        self.todo = [run for run in runs if run.key not in done]
        self.total, self.kept = len(runs), len(runs) - len(self.todo)
        self.rates = _rates(results.records)
        self.company: Company | None = None
        self.inside: tuple[int, tuple[tuple[str, int], ...]] | None = None
        self.start: int | None = None
        """Which start of the processes the bench is at."""
        self.used_before: float | None = None
        self.context: dict[str, float] = {}
        """What a process of each workload takes besides what it tells of, in MiB."""
        self.count = {"measured": 0, "impossible": 0, "failed": 0}
        self.pace = 1.0
        """Time that runs took over what they were expected to take."""

    def go(self, budget_s: float | None, progress: Callable[[Progress], None] | None) -> Summary:
        """Measure."""
        began = self.bench.seconds()
        expected = 0.0
        in_a_row = 0
        ended = "complete"
        at = 0
        try:
            for at, run in enumerate(self.todo):
                spent = self.bench.seconds() - began
                if at and expected > 0:
                    self.pace = spent / expected
                need = estimate_s(self.todo[at : at + 1], self.effort) * min(self.pace, 3.0)
                if self._there(run):
                    need = point_s(self.effort) * min(self.pace, 3.0)
                if budget_s is not None and spent + need > budget_s:
                    ended = "budget"
                    break
                if self.stop():
                    ended = "stopped"
                    break
                if progress is not None:
                    left = estimate_s(self.todo[at:], self.effort) * self.pace
                    done = self.kept + at
                    progress(
                        Progress(done=done, total=self.total, left_s=left, text=run.point.text)
                    )
                expected += point_s(self.effort) if self._there(run) else need / max(self.pace, 0.1)
                state = self._one(run)
                if state is None:
                    ended = "stopped"
                    break
                in_a_row = in_a_row + 1 if state == "failed" else 0
                if in_a_row >= MOST_IN_A_ROW:
                    ended, at = "failures", at + 1
                    break
            else:
                at = len(self.todo)
        finally:
            self._leave()
        return Summary(
            **self.count,
            kept=self.kept,
            left=len(self.todo) - at,
            ended=ended,
            seconds=self.bench.seconds() - began,
        )

    def _there(self, run: Run) -> bool:
        """Tell whether the processes of a run are on the GPU."""
        return self.inside == (run.start, run.point.processes)

    def _one(self, run: Run) -> str | None:
        """Make one run and write it down; return its state, or None when it was stopped."""
        began = self.bench.seconds()
        record: Record
        try:
            outcome = self._measure(run)
        except ForeignError:
            raise
        except (ColocateError, BadStartError) as failed:
            impossible = isinstance(failed, CannotRunError)
            why = failed.message if isinstance(failed, ColocateError) else str(failed)
            record = Record(
                key=run.key,
                state="impossible" if impossible else "failed",
                text=run.point.text,
                seconds=self.bench.seconds() - began,
                why=clean_text(why, 1000),
            )
            if not impossible:
                self._leave()
        else:
            if outcome is None:
                return None
            about = self.bench.about()
            self._learn_context(outcome)
            record = Record(
                key=run.key,
                state="measured",
                text=run.point.text,
                seconds=self.bench.seconds() - began,
                rows=rows_of(
                    outcome,
                    about,
                    self.workloads,
                    repeat=run.start,
                    confidence=self.effort.confidence,
                    context_mib=self.context.get(outcome.measured[0].tenant.workload, 0.0),
                ),
                evidence=evidence_of(outcome, about),
            )
            self.rates.update(_rates([record]))
        self.results.add(record)
        self.count[record.state] += 1
        return record.state

    def _learn_context(self, outcome: Outcome) -> None:
        """Take down what the memory in use grew by, over what a process told of itself."""
        one = outcome.measured[0]
        if one.memory_mib is not None and one.own_memory_mib is not None:
            known = self.context.get(one.tenant.workload, 0.0)
            self.context[one.tenant.workload] = max(known, one.memory_mib - one.own_memory_mib)

    def _measure(self, run: Run) -> Outcome | None:
        tenants = with_arrivals(run.point.tenants, self.rates)
        if tenants is None:
            raise BadStartError("its rate without arrivals is not known, so neither is its load")
        company = self._enter(run)
        before, self.used_before = self.used_before, None
        outcome = measure_point(
            company,
            self.bench,
            tenants,
            self.effort,
            used_before_mib=before,
            stop=self.stop,
        )
        # what was cut short says less than it seems to
        return None if self.stop() and not outcome.enough else outcome

    def _enter(self, run: Run) -> Company:
        if self.company is not None and self._there(run):
            return self.company
        self._leave()
        if self.start not in (None, run.start):
            self.bench.renew()
        self.start = run.start
        reading = self.bench.read()
        self.company = self.bench.enter(run.point.tenants)
        self.inside = (run.start, run.point.processes)
        if self.company.fresh and reading is not None:
            self.used_before = reading.memory_used_mib
        return self.company

    def _leave(self) -> None:
        if self.company is not None:
            company, self.company, self.inside = self.company, None, None
            company.leave()


def _rates(records: Sequence[Record]) -> dict[tuple[str, int, int], float]:
    """Return rates without arrivals, alone, by workload, batch and share."""
    found: dict[tuple[str, int, int], float] = {}
    for record in records:
        for row in record.rows if len(record.rows) == 1 else ():
            if row.get("arrival_rps") is None and isinstance(row.get("rate"), int | float):
                found[row["workload"], int(row["batch"]), int(row["share_pct"])] = row["rate"]
    return found


def _never() -> bool:
    return False
