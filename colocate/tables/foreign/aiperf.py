"""JSON summary of AIPerf, `profile_export_aiperf.json`, and of GenAI-Perf, which it follows.

Layout of AIPerf export schema 1.0 to 1.4 (`export_models.py`): metrics are keys of the object, each
`{"unit": .., "avg": .., "p99": .., "std": ..}`, among them `request_throughput`, `request_latency`,
`output_token_throughput` and `inter_token_latency`; the first releases had them under `records`.
`input_config` holds the model (`endpoint.model_names`, later `models.items[].name`) and the load
(`aiperf_load`).

The batch is the number of requests in flight, as for vLLM: `concurrency`, in a closed loop.
`request` counts requests and takes the whole latency; `decode` counts output tokens and takes the
time between them. With an open load the row has `arrival_rps` in samples, for `decode` the requests
offered times the tokens that each one got. Where the load is open and the file does not tell how
much was offered, as when a trace is replayed, the run is left out unless `arrival_rps` is stated:
what was reached is not what the GPU can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from colocate.errors import InputError
from colocate.io.files import Source
from colocate.io.problems import show_value
from colocate.tables.foreign._made import (
    NO_LOAD,
    finite,
    made,
    name_from,
    offered_tokens,
    read_objects,
)
from colocate.tables.foreign.aiperf_load import UNTOLD, load_of
from colocate.tables.read import TableFile

__all__ = ["read"]

_KEYS = {
    "request": ("request_throughput", "request_latency"),
    "decode": ("output_token_throughput", "inter_token_latency"),
}
_MS = {"ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3, "seconds": 1e3, "us": 1e-3, "ns": 1e-6}


def read(
    path: Source,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    share_pct: float = 100.0,
    role: str = "inference",
    phase: Literal["request", "decode"] = "request",
    batch: float | None = None,
    arrival_rps: float | None = None,
) -> TableFile:
    """Read the summary of a run.

    Parameters
    ----------
    path
        The file.
    workload, gpu, share_pct, role
        What was measured where; without `workload` it is the last part of the model's name.
    phase
        What counts as a sample: a request, or a token that is decoded.
    batch
        Requests in flight, where the file does not tell.
    arrival_rps
        Requests per second of an open load, where the file does not tell.
    """
    objects, label = read_objects(path)
    if phase not in _KEYS:
        raise InputError(
            f"phase must be 'request' or 'decode', not {phase!r}", advice="choose one."
        )
    rate_key, latency_key = _KEYS[phase]
    rows = []
    left_out: dict[int, str] = {}
    for i, summary in enumerate(objects):
        metrics = _inner(summary, "records") or summary
        rate = _inner(metrics, rate_key).get("avg")
        if rate is None:
            raise InputError(
                f"{label!r} has no {rate_key!r} with an average",
                source=label,
                advice="check that it is profile_export_aiperf.json.",
            )
        latency = _inner(metrics, latency_key)
        unit = _unit(latency, label)
        load = load_of(summary)
        requests = load.requests_rps if arrival_rps is None else arrival_rps
        is_open = load.is_open or arrival_rps is not None
        offered = requests
        if is_open and requests is None:
            left_out[i] = UNTOLD
        elif phase == "decode" and is_open:
            reached = _inner(metrics, "request_throughput").get("avg")
            offered = offered_tokens(requests, rate, reached)
            if offered is None:
                left_out[i] = NO_LOAD
        rows.append(
            {
                "workload": name_from(label, workload, _model(summary)),
                "rate": rate,
                "latency_ms": _times(latency.get("avg"), unit),
                "latency_p99_ms": _times(latency.get("p99"), unit),
                "arrival_rps": offered,
                "batch": load.in_flight if batch is None and not is_open else batch,
            }
        )
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    return made(
        label,
        len(rows),
        gpu=gpu,
        role=role,
        share_pct=share_pct,
        left_out=left_out,
        **columns,
    )


def _inner(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _unit(latency: Mapping[str, Any], label: str) -> float:
    """Return how many milliseconds the unit of a metric has."""
    unit = latency.get("unit", "ms")
    if not isinstance(unit, str) or unit not in _MS:
        raise InputError(
            f"{label!r} gives latencies in {show_value(unit)}",
            source=label,
            advice=f"use one of {', '.join(_MS)}.",
        )
    return _MS[unit]


def _times(value: object, unit: float) -> object:
    found = finite(value)
    return value if found is None else found * unit


def _model(summary: Mapping[str, Any]) -> object:
    config = _inner(summary, "input_config")
    names = _inner(config, "endpoint").get("model_names")
    if isinstance(names, list) and len(names) == 1:
        return names[0]
    items = _inner(config, "models").get("items")
    if isinstance(items, list) and len(items) == 1 and isinstance(items[0], dict):
        return items[0].get("name")
    return None
