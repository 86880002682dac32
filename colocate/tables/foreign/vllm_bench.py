"""JSON results of `vllm bench serve --save-result` (one object), or `--append-result` (one a line).

Layout of vLLM 0.6 to 0.11 (`vllm/benchmarks/serve.py`, before that `benchmark_serving.py`):
`model_id`, `request_rate` (a number or "inf"), `max_concurrency`, `request_throughput`,
`output_throughput`, `mean_tpot_ms`, `p99_tpot_ms`, and where `--percentile-metrics` has e2el
`mean_e2el_ms`, `p99_e2el_ms`.

Continuous batching has no fixed batch; here it is the number of requests in flight, which
`max_concurrency` fixes when requests come as fast as they can (`request_rate` inf). Two readings:

- `request`: a sample is a request, its latency the whole of it (e2el);
- `decode`: a sample is an output token, the latency the time of one step (tpot).

With a finite request rate the load is open: the row has `arrival_rps` in samples (for `decode` the
requests offered times the tokens that each one got) and no batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from colocate.errors import InputError
from colocate.io.files import Source
from colocate.tables.foreign._made import NO_LOAD, made, name_from, offered_tokens, read_objects
from colocate.tables.read import TableFile

__all__ = ["read"]

Phase = Literal["request", "decode"]
_KEYS = {
    "request": ("request_throughput", "mean_e2el_ms", "p99_e2el_ms"),
    "decode": ("output_throughput", "mean_tpot_ms", "p99_tpot_ms"),
}


def read(
    path: Source,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    share_pct: float = 100.0,
    role: str = "inference",
    phase: Phase = "request",
    batch: float | None = None,
) -> TableFile:
    """Read the results of one or several runs.

    Parameters
    ----------
    path
        The file.
    workload, gpu, share_pct, role
        What was measured where; without `workload` it is the last part of `model_id`.
    phase
        What counts as a sample: a request, or a token that is decoded.
    batch
        Requests in flight, where the file does not fix them.
    """
    objects, label = read_objects(path)
    if phase not in _KEYS:
        raise InputError(
            f"phase must be 'request' or 'decode', not {phase!r}", advice="choose one."
        )
    rate_key, mean_key, p99_key = _KEYS[phase]
    for result in objects:
        if rate_key not in result:
            raise InputError(
                f"{label!r} has no {rate_key!r}",
                source=label,
                advice="check that it is a result of `vllm bench serve --save-result`.",
            )
    loads = [_load(result) for result in objects]
    offered = loads
    if phase == "decode":
        offered = [_tokens(r, load) for r, load in zip(objects, loads, strict=True)]
    both = enumerate(zip(loads, offered, strict=True))
    return made(
        label,
        len(objects),
        gpu=gpu,
        role=role,
        share_pct=share_pct,
        left_out={i: NO_LOAD for i, (load, own) in both if load is not None and own is None},
        workload=[name_from(label, workload, result.get("model_id")) for result in objects],
        batch=[_batch(r, load, batch) for r, load in zip(objects, loads, strict=True)],
        rate=[result[rate_key] for result in objects],
        latency_ms=[result.get(mean_key) for result in objects],
        latency_p99_ms=[result.get(p99_key) for result in objects],
        arrival_rps=offered,
    )


def _load(result: Mapping[str, Any]) -> Any:  # noqa: ANN401 - checked as a cell
    """Return the requests per second of an open load, or None for a closed loop."""
    rate = result.get("request_rate")
    return None if rate == "inf" or (isinstance(rate, float) and not math.isfinite(rate)) else rate


def _tokens(result: Mapping[str, Any], load: object) -> float | None:
    """Return an open load in tokens per second."""
    return offered_tokens(load, result.get("output_throughput"), result.get("request_throughput"))


def _batch(result: Mapping[str, Any], load: object, given: float | None) -> Any:  # noqa: ANN401
    if given is not None:
        return given
    return None if load is not None else result.get("max_concurrency")
