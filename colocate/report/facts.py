"""What a reader wants to know of a plan, as plain data: who shares with whom, slack, coverage.

The command line and the HTML page draw these facts; neither computes any of its own. Everything
works for a plan alone; with its instance the SLOs and the whole numbers of tasks are known too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from colocate.runs import count_ids, run_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colocate.instance import Instance
    from colocate.placement import PlacedService, PlacedTask
    from colocate.plan import Plan

__all__ = [
    "REASONS",
    "Cotenant",
    "Coverage",
    "GpuRow",
    "LeftOut",
    "Range",
    "ServiceRow",
    "TaskRow",
    "coverage",
    "gpu_rows",
    "merge_runs",
    "reasons",
    "service_rows",
    "task_rows",
]

REASONS = {
    "no_profile": ("no profile", "no GPU type here has a profile for it"),
    "no_bound": ("no error bound", "its error bound at this confidence is not known"),
    "memory": ("memory", "it does not fit into the memory of a GPU"),
    "slo": ("SLO", "it cannot meet its SLO"),
    "clients": ("MPS clients", "it needs more MPS clients than a GPU takes"),
    "rules": ("rules", "a rule keeps it out"),
    "no_room": ("no room", "no GPU has room for it"),
    "outbid": ("outbid", "others are worth more"),
}
"""The reason codes of a plan: in a word, and as a sentence where the plan gives no detail."""

Grade = Literal["measured", "regressed", "constant", "unknown"]
GRADES: tuple[Grade, ...] = ("measured", "regressed", "constant", "unknown")
"""What a prediction rests on, best first; `unknown` is a placement without a prediction."""


def _weaker(a: Grade, b: Grade) -> Grade:
    return max(a, b, key=GRADES.index)


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and the largest of some numbers."""

    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """Return `3` or `3 to 5`."""
        low, high = f"{self.low:.{digits}g}", f"{self.high:.{digits}g}"
        return low if low == high else f"{low} to {high}"


def _widen(old: Range | None, value: float) -> Range:
    return Range(value, value) if old is None else Range(min(old.low, value), max(old.high, value))


@dataclass(frozen=True, slots=True)
class Cotenant:
    """One workload on the GPUs of a row."""

    kind: Literal["service", "task"]
    name: str
    batch: int
    share_pct: int
    sms: int
    grade: Grade
    rate: float | None
    """Samples per second, the mean."""


@dataclass(frozen=True, slots=True)
class GpuRow:
    """GPUs of one pool that hold the same co-tenants with the same knobs."""

    pool: str
    gpus: str
    """Ordinals as runs."""
    count: int
    cotenants: tuple[Cotenant, ...]

    @property
    def free_pct(self) -> int:
        """Percent that is promised to nobody."""
        return max(0, 100 - sum(c.share_pct for c in self.cotenants))

    @property
    def shared(self) -> bool:
        """Whether each of the GPUs holds more than one workload."""
        return len(self.cotenants) > 1

    @property
    def grade(self) -> Grade:
        """The weakest evidence behind any prediction of the row."""
        weakest: Grade = "measured"
        for c in self.cotenants:
            weakest = _weaker(weakest, c.grade)
        return weakest


def _service(s: PlacedService) -> Cotenant:
    p = s.predicted
    return Cotenant(
        kind="service",
        name=s.service,
        batch=s.batch,
        share_pct=s.share_pct,
        sms=s.sms,
        grade="unknown" if p is None else p.evidence.value,
        rate=None if p is None else p.rate_rps,
    )


def _task(t: PlacedTask) -> Cotenant:
    p = t.predicted
    return Cotenant(
        kind="task",
        name=t.task,
        batch=t.batch,
        share_pct=t.share_pct,
        sms=t.sms,
        grade="unknown" if p is None else p.evidence.value,
        rate=None if p is None else p.rate,
    )


def merge_runs(texts: Iterable[str]) -> str:
    """Return the runs of several texts as one, ascending, neighbours joined."""
    joined: list[list[int]] = []
    for low, high in sorted(pair for text in texts for pair in run_pairs(text)):
        if joined and low <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in joined)


def gpu_rows(plan: Plan) -> tuple[GpuRow, ...]:
    """Return one row for all GPUs of a pool that hold the same, by pool and first GPU."""
    texts: dict[tuple[str, tuple[Cotenant, ...]], list[str]] = {}
    for group in plan.placements:
        held = (*map(_service, group.services), *map(_task, group.tasks))
        texts.setdefault((group.pool, held), []).append(group.gpus)
    rows = []
    for (pool, held), parts in texts.items():
        gpus = merge_runs(parts)
        rows.append(GpuRow(pool, gpus, count_ids(gpus), held))
    return tuple(sorted(rows, key=lambda r: (r.pool, run_pairs(r.gpus)[0])))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Some replicas or tasks that are not in the plan, and why."""

    count: int
    reason: str
    detail: str

    @property
    def word(self) -> str:
        """The reason in a word."""
        return REASONS.get(self.reason, (self.reason,))[0]

    @property
    def sentence(self) -> str:
        """The reason with its values, as the plan gives them."""
        return self.detail or REASONS.get(self.reason, ("", self.reason))[1]


def reasons(rows: Sequence[ServiceRow | TaskRow]) -> list[tuple[str, str, str]]:
    """Return each different reason once: its word, who it holds for and how often, its sentence."""
    held: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for m in row.left_out:
            held.setdefault((m.word, m.sentence), []).append(f"{row.name} {m.count:,}")
    return [(word, ", ".join(who), sentence) for (word, sentence), who in held.items()]


@dataclass(slots=True)
class ServiceRow:
    """How one service fares: its worst replica counts."""

    name: str
    placed: int = 0
    batch: Range | None = None
    share_pct: Range | None = None
    latency_ms: float | None = None
    """Largest mean over the replicas."""
    latency_hi_ms: float | None = None
    """Largest bound over the replicas."""
    slo_ms: float | None = None
    """None when the instance is not at hand."""
    percentile: float | None = None
    rate_rps: float | None = None
    """Arrivals at each replica."""
    grade: Grade = "measured"
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Replicas that are not in the plan."""
        return sum(m.count for m in self.left_out)

    @property
    def used(self) -> float | None:
        """Part of the SLO that the bound uses up, or None when either is unknown."""
        if self.slo_ms is None or self.latency_hi_ms is None:
            return None
        return self.latency_hi_ms / self.slo_ms


def _largest(old: float | None, new: float) -> float:
    return new if old is None else max(old, new)


def service_rows(plan: Plan, instance: Instance | None = None) -> tuple[ServiceRow, ...]:
    """Return one row for each service that the plan names, by id."""
    rows: dict[str, ServiceRow] = {}
    for group in plan.placements:
        for s in group.services:
            row = rows.setdefault(s.service, ServiceRow(s.service))
            row.placed += group.count
            row.batch = _widen(row.batch, s.batch)
            row.share_pct = _widen(row.share_pct, s.share_pct)
            if s.predicted is None:
                row.grade = "unknown"
                continue
            row.latency_ms = _largest(row.latency_ms, s.predicted.latency_ms)
            row.latency_hi_ms = _largest(row.latency_hi_ms, s.predicted.latency_hi_ms)
            row.grade = _weaker(row.grade, s.predicted.evidence.value)
    for m in plan.missing:
        row = rows.setdefault(m.service, ServiceRow(m.service))
        row.left_out.append(LeftOut(count_ids(m.replicas), m.reason, m.detail))
    if instance is not None:
        for row in rows.values():
            try:
                stated = instance.service(row.name)
            except KeyError:
                continue
            row.slo_ms = stated.slo_ms
            row.percentile = stated.slo_percentile
            row.rate_rps = stated.rate_rps
    return tuple(rows[name] for name in sorted(rows))


@dataclass(slots=True)
class TaskRow:
    """How the training tasks of one entry fare."""

    name: str
    workers: int = 0
    placed: int | None = None
    """Whole tasks; None when the gang size is not at hand."""
    gang_size: int | None = None
    batch: Range | None = None
    share_pct: Range | None = None
    normalised: Range | None = None
    """Progress over that of the task alone on a whole GPU, per worker."""
    grade: Grade = "measured"
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def unplaced(self) -> int:
        """Tasks that are not in the plan."""
        return sum(u.count for u in self.left_out)


def task_rows(plan: Plan, instance: Instance | None = None) -> tuple[TaskRow, ...]:
    """Return one row for each task entry that the plan names, by id."""
    rows: dict[str, TaskRow] = {}
    for group in plan.placements:
        for t in group.tasks:
            row = rows.setdefault(t.task, TaskRow(t.task))
            row.workers += group.count
            row.batch = _widen(row.batch, t.batch)
            row.share_pct = _widen(row.share_pct, t.share_pct)
            if t.predicted is None:
                row.grade = "unknown"
                continue
            row.normalised = _widen(row.normalised, t.predicted.normalised_rate)
            row.grade = _weaker(row.grade, t.predicted.evidence.value)
    for u in plan.unplaced:
        row = rows.setdefault(u.task, TaskRow(u.task))
        row.left_out.append(LeftOut(count_ids(u.ids), u.reason, u.detail))
    if instance is not None:
        for row in rows.values():
            try:
                row.gang_size = instance.task(row.name).gang_size
            except KeyError:
                continue
            row.placed = row.workers // row.gang_size
    return tuple(rows[name] for name in sorted(rows))


@dataclass(frozen=True, slots=True)
class Coverage:
    """On what the plan's predictions rest, counted."""

    gpus: dict[Grade, int]
    """Used GPUs by the weakest evidence on them."""
    replicas: dict[Grade, int]
    workers: dict[Grade, int]

    @property
    def gpus_used(self) -> int:
        """All GPUs that hold something."""
        return sum(self.gpus.values())


def coverage(rows: Sequence[GpuRow]) -> Coverage:
    """Count what the rows rest on."""
    gpus, replicas, workers = (dict.fromkeys(GRADES, 0) for _ in range(3))
    for row in rows:
        gpus[row.grade] += row.count
        for c in row.cotenants:
            (replicas if c.kind == "service" else workers)[c.grade] += row.count
    return Coverage(gpus, replicas, workers)
