"""Every field of every format, damaged one at a time.

The fields and their limits are written down here by hand and not read from the code, so that a
limit that gets lost there is noticed.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from tests.corpus.kinds import (
    WRONG_SHAPES,
    Field,
    finite,
    flag,
    name,
    not_negative,
    number,
    positive,
    runs,
    some,
    text,
    thing,
    whole,
    word,
)
from tests.corpus.launch_fields import IN_LAUNCH
from tests.corpus.valid import (
    DROP,
    PLAN,
    SERVICE_PREDICTION,
    TASK_PREDICTION,
    Case,
    Raw,
    Steps,
    damaged,
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE_PLACED = {
    "service": name(required=True),
    "replicas": runs(required=True),
    "batch": whole(1, 1_000_000, required=True),
    "share_pct": whole(1, 100, required=True),
    "sms": whole(1, 100_000, required=True),
    "predicted": thing(null=True),
}
TASK_PLACED = {
    "task": name(required=True),
    **{k: v for k, v in SERVICE_PLACED.items() if k not in ("service", "replicas")},
    "workers": runs(required=True),
}
ERROR_BOUND = {
    "confidence": number(0.5, 1, below=True, required=True),
    "relative": number(0, 10, required=True),
}
COMPONENT = {"name": name(required=True), "params": thing()}


def in_group(at: Steps) -> dict[Steps, dict[str, Field]]:
    """Return the fields of a placement group and of what is in it."""
    return {
        at: {
            "pool": name(required=True),
            "gpus": runs(required=True),
            "services": some(),
            "tasks": some(),
        },
        (*at, "services", 0): SERVICE_PLACED,
        (*at, "services", 0, "predicted"): {
            **{k: not_negative(required=True) for k in SERVICE_PREDICTION if k != "evidence"},
            "evidence": word(required=True),
        },
        (*at, "tasks", 0): TASK_PLACED,
        (*at, "tasks", 0, "predicted"): {
            **{k: not_negative(required=True) for k in TASK_PREDICTION if k != "evidence"},
            "evidence": word(required=True),
        },
    }


IN_PROFILES: dict[Steps, dict[str, Field]] = {
    ("profiles", 0): {
        "workload": name(required=True),
        "gpu_type": name(required=True),
        "role": word(required=True),
        "curve": thing(required=True),
        "rate_error": some(),
        "memory": some(),
        "evidence": word(),
    },
    ("profiles", 0, "rate_error", 0): ERROR_BOUND,
    ("profiles", 0, "memory", 0): {
        "batch": whole(1, 1_000_000, required=True),
        "memory_gib": positive(required=True),
    },
    ("profiles", 0, "curve"): {"batches": some(required=True), "family": word(required=True)},
    ("profiles", 0, "curve", "batches", 0): {
        "batch": whole(1, 1_000_000, required=True),
        "points": some(required=True),
    },
    ("profiles", 0, "curve", "batches", 0, "points", 1): {
        "share_pct": number(0, 100, above=True, required=True),
        "rate": not_negative(required=True),
    },
    ("profiles", 1, "curve", "batches", 0): {
        "batch": whole(1, 1_000_000, required=True),
        "min_share_pct": number(0, 100, above=True, required=True),
        "lines": some(required=True),
    },
    ("profiles", 1, "curve", "batches", 0, "lines", 0): {
        "intercept": finite(required=True),
        "slope": not_negative(required=True),
    },
    ("interference",): {
        "default_slowdown": number(0.5, 100, null=True),
        "default_error": some(),
        "pairs": some(),
    },
    ("interference", "default_error", 0): ERROR_BOUND,
    ("interference", "pairs", 0): {
        "gpu_type": name(required=True),
        "victim": name(required=True),
        "neighbour": name(required=True),
        "slowdown": number(0.5, 100, null=True),
        "error": some(),
        "evidence": word(),
    },
    ("interference", "pairs", 1): {"table": thing(null=True)},
    ("interference", "pairs", 1, "table"): {
        "victim_batch": some(required=True),
        "neighbour_batch": some(required=True),
        "victim_share_pct": some(required=True),
        "neighbour_share_pct": some(required=True),
        "slowdown": some(required=True),
    },
}
USER = whole(0, 2**32 - 2, null=True)
IN_INSTANCE: dict[Steps, dict[str, Field]] = {
    (): {
        "schema": word(required=True),
        "name": name(required=True),
        "description": text(10_000),
        "slo_model": thing(required=True),
        "confidence": number(0.5, 1, below=True, required=True),
        "objective": thing(required=True),
        "gpu_pools": some(required=True),
        "services": some(),
        "service_table": thing(null=True),
        "tasks": some(),
        "task_table": thing(null=True),
        "profiles": some(),
        "interference": thing(),
        "rules": thing(),
        "constraints": some(),
        "current": some(null=True),
    },
    ("slo_model",): COMPONENT,
    ("objective",): COMPONENT,
    ("constraints", 0): COMPONENT,
    ("gpu_pools", 0): {
        "id": name(required=True),
        "gpu_type": name(required=True),
        "count": whole(1, 100_000_000, null=True),
        "first": whole(0, 2**40),
        "memory_gib": positive(required=True),
        "sm_count": whole(1, 100_000, required=True),
        "node": name(null=True),
        "max_clients": whole(1, 1000),
        "reserve_gib": not_negative(),
        "schedulable": flag(),
        "measured_sms": some(null=True),
    },
    ("gpu_pools", 0, "measured_sms", 0): {
        "share_pct": whole(1, 100, required=True),
        "sms": whole(1, 100_000, required=True),
    },
    ("gpu_pools", 1): {"uuids": some(null=True)},
    ("services", 0): {
        "id": name(required=True),
        "profile": name(required=True),
        "replicas": whole(1, 100_000_000),
        "rate_rps": positive(required=True),
        "slo_ms": positive(required=True),
        "slo_percentile": number(0, 100, above=True, below=True),
        "batches": some(null=True),
        "pinned": some(null=True),
        "required": flag(),
        "min_share_pct": whole(1, 100),
        "processes": whole(1, 1000),
        "tenant": name(),
        "user_id": USER,
    },
    ("services", 0, "pinned", 0): {"pool": name(required=True), "gpus": runs(required=True)},
    ("services", 1): {"missing_price": not_negative(null=True)},
    ("service_table",): {
        "id_prefix": Field((1, "", "row", "x" * 50 + "-", "a\n-", *WRONG_SHAPES)),
        "rows": whole(1, 100_000_000, required=True),
        "slo_ms": positive(required=True),
        "slo_percentile": number(0, 100, above=True, below=True),
        "batches": some(null=True),
        "required": flag(),
        "missing_price": not_negative(null=True),
        "min_share_pct": whole(1, 100),
        "processes": whole(1, 1000),
        "tenant": name(),
        "user_id": USER,
    },
    ("tasks", 0): {
        "id": name(required=True),
        "profile": name(required=True),
        "count": whole(1, 100_000_000),
        "batch": whole(1, 1_000_000, required=True),
        "batches": some(null=True),
        "noise_scale": not_negative(null=True),
        "weight": positive(),
        "gang_size": whole(1, 10_000),
        "memory_gib": positive(null=True),
        "processes": whole(1, 1000),
        "tenant": name(),
        "user_id": USER,
        "priority": whole(-1000, 1000),
        "deadline_s": positive(null=True),
        "remaining_samples": not_negative(null=True),
        "attained_gpu_s": not_negative(null=True),
    },
    ("task_table",): {
        "id_prefix": Field((1, "", "row", "x" * 50 + "-", "a\n-", *WRONG_SHAPES)),
        "rows": whole(1, 100_000_000, required=True),
        "profile": name(required=True),
        "batches": some(null=True),
        "noise_scale": not_negative(null=True),
        "count": whole(1, 100_000_000),
        "gang_size": whole(1, 10_000),
        "memory_gib": positive(null=True),
        "processes": whole(1, 1000),
        "user_id": USER,
    },
    ("rules",): {
        "services_per_gpu": whole(0, 16),
        "tasks_per_gpu": whole(0, 16),
        "workloads_per_gpu": whole(1, 32, null=True),
        "tenants_per_gpu": whole(1, 32, null=True),
        "quotas": some(),
        "anti_affinity": some(),
        "moves": thing(null=True),
        "blast_radius": thing(null=True),
        "locked": some(),
    },
    ("rules", "quotas", 0): {
        "tenant": name(required=True),
        "unit": word(),
        "maximum": not_negative(null=True),
        "minimum": not_negative(null=True),
    },
    ("rules", "anti_affinity", 0): {"left": some(required=True), "right": some(required=True)},
    ("rules", "moves"): {"price": not_negative(), "budget": whole(0, 2**53, null=True)},
    ("rules", "blast_radius"): {"max_replicas_per_node": whole(1, 100_000_000, required=True)},
    ("rules", "locked", 0): {"pool": name(required=True), "gpus": runs(required=True)},
    **IN_PROFILES,
    **in_group(("current", 0)),
}
COUNTED = whole(0, 2**53, required=True)
IN_PLAN: dict[Steps, dict[str, Field]] = {
    (): {
        "schema": word(required=True),
        "instance_name": name(required=True),
        "instance_sha256": Field(
            (1, "", "0" * 63, "g" * 64, "A" * 64, "0" * 64 + "\n"), required=True
        ),
        "solver": name(required=True),
        "objective": thing(required=True),
        "placements": some(),
        "missing": some(),
        "unplaced": some(),
        "totals": thing(required=True),
        "certificate": thing(null=True),
    },
    ("objective",): {
        "name": name(required=True),
        "sense": word(required=True),
        "value": finite(required=True),
    },
    ("missing", 0): {
        "service": name(required=True),
        "replicas": runs(required=True),
        "reason": word(required=True),
        "detail": text(1000),
    },
    ("unplaced", 0): {
        "task": name(required=True),
        "ids": runs(required=True),
        "reason": word(required=True),
        "detail": text(1000),
    },
    ("totals",): {
        **{k: COUNTED for k in PLAN["totals"] if k != "normalised_throughput"},
        "normalised_throughput": not_negative(required=True),
    },
    ("certificate",): {
        "kind": word(),
        "bound": finite(required=True),
        "services": some(),
        "tasks": some(),
        "levels": some(),
        "quotas": some(),
        "tree": some(),
    },
    ("certificate", "tree", 0): {
        "counts": word(required=True),
        "of": some(),
        "pools": some(),
        "holding": some(),
        "batch": whole(1, 1_000_000, null=True),
        "faster_than": not_negative(null=True),
        "not_faster_than": not_negative(null=True),
        "share_from": whole(1, 100),
        "at_most": whole(0, 10**12, required=True),
    },
    ("certificate", "tree", 0, "holding", 0): {
        "ids": some(required=True),
        "at_least": whole(1, 32),
    },
    ("certificate", "tree", 1): {
        "services": some(null=True),
        "tasks": some(null=True),
        "levels": some(null=True),
        "quotas": some(null=True),
        "splits": some(),
    },
    ("certificate", "tree", 1, "tasks", 0): {
        "id": name(required=True),
        "price": finite(required=True),
    },
    ("certificate", "services", 0): {"id": name(required=True), "price": finite(required=True)},
    ("certificate", "tasks", 0): {"id": name(required=True), "price": finite(required=True)},
    ("certificate", "levels", 0): {
        "task": name(required=True),
        "batch": whole(1, 1_000_000, required=True),
        "rate": not_negative(required=True),
        "price": finite(required=True),
    },
    ("certificate", "quotas", 0): {
        "tenant": name(required=True),
        "unit": word(required=True),
        "side": word(required=True),
        "price": finite(required=True),
    },
    **in_group(("placements", 0)),
}
IN_PROFILE_FILE: dict[Steps, dict[str, Field]] = {
    (): {
        "schema": word(required=True),
        "description": text(10_000),
        "profiles": some(),
        "interference": thing(null=True),
    },
    **IN_PROFILES,
}
IN_MODELS_FILE: dict[Steps, dict[str, Field]] = {
    (): {
        "schema": word(required=True),
        "description": text(10_000),
        "profiles": some(),
        "interference": thing(null=True),
        "company": some(),
        "calibration": some(),
        "report": thing(),
    },
    ("company", 0): {
        "gpu_type": name(required=True),
        "inference": some(),
        "training": some(),
        "constants": some(),
        "composition": word(),
        "most_overlap_pct": number(0, 100),
    },
    ("calibration", 0): {
        "what": word(required=True),
        "gpu_type": name(null=True),
        "evidence": word(required=True),
        "low": some(),
        "high": some(),
        "residuals": whole(0, 10**12),
        "units": whole(0, 10**12),
        "mean_error_pct": not_negative(),
    },
    ("calibration", 0, "low", 0): ERROR_BOUND,
    ("report",): {
        "rows": whole(0, 10**12),
        "left_out": some(),
        "curves": some(),
        "company": text(1000),
        "notes": some(),
    },
    ("report", "left_out", 0): {
        "reason": text(1000, required=True),
        "rows": whole(1, 10**12, required=True),
        "example": text(1000),
    },
    ("report", "curves", 0): {
        "workload": name(required=True),
        "gpu_type": name(required=True),
        "method": text(1000, required=True),
        "error_pct": not_negative(null=True),
        "points": some(),
        "notes": some(),
    },
    ("report", "curves", 0, "points", 0): {
        "batch": whole(1, 1_000_000, required=True),
        "share_pct": number(0, 100, above=True, required=True),
        "rate": not_negative(required=True),
        "fitted": not_negative(required=True),
    },
}
FIELDS = {
    "instance": IN_INSTANCE,
    "plan": IN_PLAN,
    "profiles": IN_PROFILE_FILE,
    "models": IN_MODELS_FILE,
    "launch": IN_LAUNCH,
}


def _label(value: Any) -> str:
    shown = value.text if isinstance(value, Raw) else json.dumps(value)
    return shown if len(shown) <= 24 else f"{shown[:12]}...({len(shown)})"


Damage = tuple[str, str, Steps, Any, str]
"""Name, kind of file, where, what to put there, words of the message."""


def _damages() -> Iterator[Damage]:
    for kind, objects in FIELDS.items():
        for at, fields in objects.items():
            where = path_of(at)
            yield f"{where} has an unknown key", kind, (*at, "colour"), "red", "key 'colour'"
            for key, field in fields.items():
                steps = (*at, key)
                where = path_of(steps)
                for wrong in (*field.wrong, *([] if field.null else [None])):
                    yield f"{where} = {_label(wrong)}", kind, steps, wrong, ""
                if field.required:
                    yield f"{where} is missing", kind, steps, DROP, f"'{key}'"


def generated_cases(every: int = 1) -> Iterator[Case]:
    """Yield every field of every format with every value that it must not have, or a share."""
    for label, kind, steps, value, words in islice(_damages(), 0, None, every):
        data = damaged(kind, {steps: value})
        yield Case(f"{kind}: {label}", kind, data, path_of(steps), words)
