"""From what was measured to a plan: fit, predict what was not fitted, state the question, solve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, Any

from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import State
from colocate.executor.measure.results import Record
from colocate.executor.measure.rows import table_of

if TYPE_CHECKING:
    from colocate.profile.fitted import FittedModels
    from colocate.tables.table import ProfileTable

__all__ = ["PREDICTED_WITHIN", "fit", "hold_out", "solve"]

PREDICTED_WITHIN = 0.10
"""Mean error of rates of pairs that were not fitted, at most."""
LOAD = 0.4
"""Arrivals at the service, as a part of its rate at its largest batch and half of the GPU."""
SLO_BATCHES = (6.0, 12.0, 25.0)
"""SLOs that are tried, in times of such a batch: the first that a plan can meet is taken."""
RESERVE_GIB = 1.0


def fit(state: State) -> Said:
    """Fit models to everything but the pairs that are held out."""
    import numpy as np

    from colocate.io import save_models
    from colocate.tables.write import write_table

    table = table_of(state.records)
    if not len(table):
        raise NotPossibleError("nothing was measured that could be fitted")
    write_table(table, state.out / "measured.csv", force=True)
    models, note = _fitted(table)
    save_models(models, state.out / "models.json")
    state.models = models
    profiles = [
        {"workload": p.workload, "role": p.role, "family": p.curve.family} for p in models.profiles
    ]
    pairs = 0 if models.interference is None else len(models.interference.pairs)
    known = models.interference.pairs if models.interference else ()
    evidence = sorted({str(p.evidence.value) for p in known})
    wanted = {r["workload"] for record in state.records for r in record.rows}
    facts = {
        "rows": len(table),
        "profiles": profiles,
        "pairs": pairs,
        "evidence": evidence,
        "note": note,
        "telemetry": bool(np.isfinite(table["sm_activity_pct"]).any()),
    }
    summary = (
        f"{len(profiles)} curves and {pairs} slowdowns ({', '.join(evidence) or 'none'}) from "
        f"{len(table)} rows{note}"
    )
    return Said({p["workload"] for p in profiles} == wanted, summary, facts)


def _fitted(table: ProfileTable) -> tuple[FittedModels, str]:
    """Return models, and what had to be left out: later stages need something to go on with."""
    import numpy as np

    from colocate.models.fitting.fit import fit_models

    empty = np.full(len(table), np.nan)
    bare = table.replace(sm_activity_pct=empty, dram_activity_pct=empty)
    tries = [
        (table, ""),
        (bare, "without activities"),
        (bare.take(table.alone), "without activities and pairs"),
    ]
    problems = []
    for candidate, note in tries:
        try:
            models = fit_models(candidate)
        except Exception as failed:  # noqa: BLE001 - whatever it is, the next try may do
            problems.append(f"{type(failed).__name__}: {str(failed)[:300]}")
            continue
        because = f", {note}, because of {problems[0]}" if problems else ""
        return models, because
    raise NotPossibleError(f"it cannot be fitted: {'; '.join(problems)}")


def hold_out(state: State) -> Said:
    """Predict the pairs that were not fitted, and compare."""
    from colocate.models.queries import predict

    if state.models is None:
        raise NotPossibleError("there are no models")
    table = table_of(state.held_out)
    if not len(table):
        raise NotPossibleError("no pair was kept apart and measured")
    answer = predict(state.models, table, confidence=0.8)
    rows: list[dict[str, Any]] = []
    for i in range(len(table)):
        predicted, measured = float(answer.rate[i]), float(table["rate"][i])
        if math.isfinite(predicted) and measured > 0:
            rows.append(
                {
                    "workload": str(table["workload"][i]),
                    "beside": str(table["neighbour"][i]),
                    "share_pct": float(table["share_pct"][i]),
                    "predicted": predicted,
                    "measured": measured,
                    "error": predicted / measured - 1,
                    "evidence": str(answer.evidence[i]),
                }
            )
    if not rows:
        raise NotPossibleError("none of the pairs that were kept apart can be predicted")
    errors = [abs(float(r["error"])) for r in rows]
    # what saying "no slowdown" would have cost: the prediction has to be worth something
    alone = _errors_without_slowdown(state, rows)
    facts = {
        "rows": rows,
        "mean_error": fmean(errors),
        "largest_error": max(errors),
        "mean_error_of_rates_alone": fmean(alone) if alone else None,
    }
    summary = (
        f"mean error {fmean(errors):.1%} (largest {max(errors):.1%}) over {len(rows)} rates of "
        "pairs that were not measured together for the fit"
    )
    if alone:
        summary += f"; rates alone would be off by {fmean(alone):.1%}"
    return Said(fmean(errors) <= PREDICTED_WITHIN, summary, facts)


def solve(state: State) -> Said:
    """Ask for a plan: one service with an SLO, and whatever training fits beside it."""
    import colocate
    from colocate.errors import ColocateError
    from colocate.io import load_instance, save_instance, save_plan

    if state.models is None:
        raise NotPossibleError("there are no models")
    tried = []
    for batches, solver in product(SLO_BATCHES, ("auto", "milp")):
        document = _instance(state, batches)
        instance = load_instance(_bytes(state, document))
        try:
            result = colocate.solve(instance, solver)
        except (ColocateError, ImportError) as failed:
            # `auto` may choose what is not installed; `milp` needs SciPy alone
            tried.append({"slo_batches": batches, "solver": solver, "problem": str(failed)[:300]})
            continue
        slo = document["services"][0]["slo_ms"]
        tried.append(
            {
                "slo_batches": batches,
                "slo_ms": slo,
                "solver": solver,
                "termination": result.termination.reason.value,
                "objective": result.objective,
                "bound": result.bound,
                "gap": result.gap,
                "detail": result.solver_detail,
            }
        )
        placed = result.plan is not None and any(g.tasks for g in result.plan.placements)
        if result.plan is not None and (placed or batches == SLO_BATCHES[-1]):
            state.instance, state.plan = instance, result.plan
            save_instance(instance, state.out / "instance.json", force=True)
            save_plan(result.plan, state.out / "plan.json")
            facts = {"tried": tried, "placements": _placements(result.plan)}
            words = " beside ".join(
                f"{p['id']} b{p['batch']} {p['share_pct']} %" for p in facts["placements"]
            )
            return Said(True, f"{words}, SLO {slo:.0f} ms, {result.summary()}", facts)
    return Said(False, "no plan was found", {"tried": tried})


def _errors_without_slowdown(state: State, rows: Sequence[dict[str, Any]]) -> list[float]:
    alone = {
        (row["workload"], row["share_pct"]): row["rate"]
        for record in state.records
        if len(record.rows) == 1
        for row in record.rows
        if row["batch"] == _largest(state, row["workload"])
    }
    return [
        abs(alone[key] / r["measured"] - 1)
        for r in rows
        if (key := (r["workload"], r["share_pct"])) in alone
    ]


def _largest(state: State, workload: str) -> int:
    return next(max(k.batches) for k in state.sizes.kinds if k.name == workload)


def _instance(state: State, slo_batches: float) -> dict[str, Any]:
    gpu, sizes = state.need_gpu(), state.sizes
    assert state.about is not None
    assert state.models is not None
    service = sizes.services[-1]
    batch = max(service.batches)
    rate = _rate(state.records, service.name, batch, 50)
    profiled = {p.workload for p in state.models.profiles}
    if service.name not in profiled:
        raise NotPossibleError(f"{service.name} has no curve")
    whole = state.sm_counts.get(100) or 100
    return {
        "schema": "colocate/instance/v1",
        "name": "gpu-check",
        "slo_model": {"name": "queue"},
        "confidence": 0.5,
        "objective": {"name": "throughput"},
        "gpu_pools": [
            {
                "id": "here",
                "gpu_type": state.about.gpu_type,
                "uuids": [gpu.uuid],
                "memory_gib": gpu.memory_mib / 1024,
                "reserve_gib": RESERVE_GIB,
                "sm_count": whole,
            }
        ],
        "profile_files": ["models.json"],
        "services": [
            {
                "id": service.name,
                "profile": service.name,
                "rate_rps": round(LOAD * rate, 3),
                "slo_ms": round(1000 * slo_batches * batch / rate, 3),
                "batches": list(service.batches),
            }
        ],
        "tasks": [
            {"id": k.name, "profile": k.name, "batch": max(k.batches)}
            for k in sizes.training
            if k.name in profiled
        ],
    }


def _bytes(state: State, document: dict[str, Any]) -> str:
    """Return the file of a question, beside the models that it names."""
    import json

    from colocate.io import write_atomic

    path = state.out / "question.json"
    write_atomic(path, json.dumps(document, indent=2) + "\n")
    return str(path)


def _rate(records: Sequence[Record], workload: str, batch: int, share: int) -> float:
    """Return a rate alone, at this share or the one nearest to it."""
    rates = {
        row["share_pct"]: row["rate"]
        for record in records
        if record.state == "measured" and len(record.rows) == 1
        for row in record.rows
        if row["workload"] == workload and row["batch"] == batch
    }
    if not rates:
        raise NotPossibleError(f"{workload} was not measured alone")
    return float(rates[min(rates, key=lambda s: abs(s - share))])


def _placements(plan: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a Plan, of a heavy module
    found = []
    for group in plan.placements:
        found += [_placement("service", s.service, s) for s in group.services]
        found += [_placement("task", t.task, t) for t in group.tasks]
    return found


def _placement(role: str, name: str, placed: Any) -> dict[str, Any]:  # noqa: ANN401
    predicted = placed.predicted
    return {
        "role": role,
        "id": name,
        "batch": placed.batch,
        "share_pct": placed.share_pct,
        "sms": placed.sms,
        "predicted": None if predicted is None else predicted.model_dump(mode="json"),
    }
