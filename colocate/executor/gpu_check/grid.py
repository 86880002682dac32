"""A small grid of services and training: alone at several shares, and in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from colocate.executor.gpu_check.caps import LIMITED, PRODUCTS
from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import State
from colocate.executor.gpu_check.world import Kind
from colocate.executor.measure.course import run_campaign
from colocate.executor.measure.process_bench import ProcessBench
from colocate.executor.measure.results import Record, Results
from colocate.executor.measure.runs import Run, in_order
from colocate.executor.measure.tenants import Point, Tenant, Workload

__all__ = ["measure_alone", "measure_pairs", "start_processes"]

ROOMY_GIB = 60.0
"""From so much memory on, all processes may wait side by side."""


def start_processes(state: State) -> Said:
    """Start a process for every workload and share that the stages need, all side by side.

    Each share takes a process of its own, and starting one takes longer than measuring it. Idle
    ones hold memory and nothing else.
    """
    gpu, sizes = state.need_gpu(), state.sizes
    assert state.about is not None
    workloads: dict[str, Workload] = {
        k.name: state.world.workload(k.name, k.role) for k in sizes.kinds
    }
    workloads[PRODUCTS] = state.world.workload(PRODUCTS, "training")
    limited = state.world.workload(PRODUCTS, "training", LIMITED, state.limit_mib)
    workloads[LIMITED] = limited
    logs = state.out / "logs"
    logs.mkdir(exist_ok=True)
    roomy = gpu.memory_mib / 1024 >= ROOMY_GIB
    bench = ProcessBench(
        workloads,
        state.about,
        logs,
        shares=state.shares,
        gpus=state.world.gpus,
        parked=sizes.effort.parked if roomy else 6,
        start_s=max(10.0, state.course.left_s - 2),
        prepare_s=60.0,
        answer_s=30.0,
        watcher=None if state.shares is None else state.transcript.client,
    )
    state.bench = bench
    if state.shares is None:
        wanted = [(name, 100) for name in (*(k.name for k in sizes.kinds), PRODUCTS)]
    else:
        wanted = [(PRODUCTS, share) for share in sizes.caps] + [(LIMITED, 100)]
        if roomy:
            wanted += list(product((k.name for k in sizes.kinds), sizes.shares))
    if not roomy:
        wanted = wanted[: bench.parked]
    state.failed_starts = bench.start(wanted)
    facts = {
        "started": [f"{name} {share} %" for name, share in wanted],
        "failed": {f"{n} {s} %": why for (n, s), why in state.failed_starts.items()},
        "facts": dict(bench.facts(wanted[0]).more) if wanted else {},
    }
    few = len(wanted) - len(state.failed_starts)
    if not few:
        why = next(iter(state.failed_starts.values()), "there was nothing to start")
        bench.close()
        state.bench = None
        return Said(False, f"no process started: {why}", facts)
    return Said(not state.failed_starts, f"{few} of {len(wanted)} processes started", facts)


def measure_alone(state: State) -> Said:
    """Measure every workload alone, at every batch and share."""
    shares = state.sizes.shares if state.shares is not None else (100,)
    points = [
        Point.of(Tenant(workload=kind.name, batch=batch, share_pct=share))
        for kind in state.sizes.kinds
        for batch in kind.batches
        for share in shares
    ]
    records, ended = _measured(state, in_order(points), "alone")
    state.records += records
    good = [r for r in records if r.state == "measured"]
    facts = {"points": [_told(r) for r in records], "ended": ended}
    if not good:
        raise NotPossibleError(_first_reason(records) or "nothing was measured")
    full = [r for r in good if r.rows[0]["share_pct"] == 100]
    rates = ", ".join(
        f"{r.rows[0]['workload']} b{r.rows[0]['batch']} {r.rows[0]['rate']:.4g}/s" for r in full[:6]
    )
    summary = f"{len(good)} of {len(points)} settings alone; on the whole GPU: {rates}"
    return Said(len(good) == len(points), summary, facts)


def measure_pairs(state: State) -> Said:
    """Measure services beside training: those that are fitted first, then those that are not."""
    state.need_mps()
    fitted = list(_pairs(state, held_out=False))
    unseen = list(_pairs(state, held_out=True))
    # one split of each before the second one of any: if time ends, every pair has something
    records, ended = _measured(
        state, [*fitted[: len(fitted) // 3], *unseen, *fitted[len(fitted) // 3 :]], "pairs"
    )
    keys = {p.text for p in unseen}
    state.records += [r for r in records if r.text not in keys]
    state.held_out += [r for r in records if r.text in keys]
    good = [r for r in records if r.state == "measured"]
    slowdowns = _slowdowns(state, good)
    facts = {
        "points": [_told(r) for r in records],
        "held_out": sorted(keys),
        "ended": ended,
        "slowdowns": slowdowns,
    }
    if not good:
        raise NotPossibleError(_first_reason(records) or "no pair was measured")
    worst = max(slowdowns, key=lambda s: s["slowdown"], default=None)
    words = (
        ""
        if worst is None
        else (
            f"; the largest slowdown is {worst['slowdown']:.3f} ({worst['workload']} beside "
            f"{worst['beside']})"
        )
    )
    total = len(fitted) + len(unseen)
    return Said(len(good) == total, f"{len(good)} of {total} settings in pairs{words}", facts)


def _pairs(state: State, *, held_out: bool) -> Iterator[Point]:
    sizes = state.sizes
    for service_share, task_share in sizes.splits:
        for (i, a), (j, b) in product(enumerate(sizes.services), enumerate(sizes.training)):
            if ((i, j) in sizes.held_out) is held_out:
                yield Point.of(_tenant(a, service_share), _tenant(b, task_share))


def _tenant(kind: Kind, share: int) -> Tenant:
    return Tenant(workload=kind.name, batch=max(kind.batches), share_pct=share)


def _measured(state: State, points: Sequence[Point], name: str) -> tuple[list[Record], str]:
    bench = state.need_bench()
    startable = [p for p in points if not any(t.process in state.failed_starts for t in p.tenants)]
    runs = [Run(p, 0, f"{p.key(bench.workloads)}@0") for p in startable]
    about = {"campaign": f"gpu-check-{name}", "gpu": bench.about().gpu_type}
    with Results(state.out / f"{name}.jsonl", about, resume=False) as results:
        summary = run_campaign(
            runs,
            bench,
            bench.workloads,
            state.sizes.effort,
            results,
            budget_s=max(0.0, state.course.left_s - 3),
        )
        return results.records, summary.ended


def _told(record: Record) -> dict[str, Any]:
    return {
        "text": record.text,
        "state": record.state,
        "why": record.why,
        "seconds": record.seconds,
        "rows": [dict(row) for row in record.rows],
        "evidence": record.evidence,
    }


def _first_reason(records: Sequence[Record]) -> str:
    return next((r.why for r in records if r.why), "")


def _slowdowns(state: State, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return rates alone over rates in company, at the same batch and share."""
    alone = {
        (row["workload"], row["batch"], row["share_pct"]): row["rate"]
        for record in state.records
        if record.state == "measured" and len(record.rows) == 1
        for row in record.rows
    }
    found = []
    for record in records:
        for row in record.rows:
            before = alone.get((row["workload"], row["batch"], row["share_pct"]))
            if before and row.get("rate"):
                found.append(
                    {
                        "workload": row["workload"],
                        "beside": row["neighbour"],
                        "share_pct": row["share_pct"],
                        "slowdown": before / row["rate"],
                    }
                )
    return found
