"""What load a run of AIPerf or GenAI-Perf put on the server, by the configuration in its summary.

AIPerf chooses by the first of these that applies:

    fixed schedule      `input.fixed_schedule`, or by itself where the data set is a trace with
                        times, unless `input.disable_auto_fixed_schedule`
    rate of all users   `loadgen.user_centric_rate`, in requests per second
    request rate        `loadgen.request_rate`, in requests per second
    closed loop         `loadgen.concurrency`, 1 unless stated; later releases note the arrival
                        pattern `concurrency_burst`

The configuration of later releases has `phases` instead, of which those that are no warm-up count:
each with a `type` (`concurrency`, `constant`, `poisson`, `gamma`, `user_centric`,
`fixed_schedule`), and a `rate` or a `concurrency`. GenAI-Perf has `perf_analyzer.stimulus`.

A trace without times runs in a closed loop; without the noted pattern the summary does not tell the
two apart, and the load counts as open. A rate that changes during the run is not told either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["UNTOLD", "Load", "load_of"]

UNTOLD: Final = (
    "replays a schedule, or has another open load of which the file does not tell how much was "
    "offered: state the requests per second (arrival_rps)"
)
CLOSED: Final = "concurrency_burst"


class Load(NamedTuple):
    """The load of one run."""

    is_open: bool
    """Whether requests came without waiting for answers."""
    requests_rps: object
    """What an open load offered, as the file has it; None where that is not told."""
    in_flight: object
    """Requests in flight in a closed loop, as the file has it."""


def load_of(summary: Mapping[str, Any]) -> Load:
    """Return the load of a summary."""
    config = _inner(summary, "input_config")
    if isinstance(config.get("phases"), list):
        return _of_phases([p for p in config["phases"] if isinstance(p, dict)])
    given = {**_inner(_inner(config, "perf_analyzer"), "stimulus"), **_inner(config, "loadgen")}
    if _replays(_inner(config, "input"), given):
        return Load(True, None, None)
    for name in ("user_centric_rate", "request_rate"):
        rate = given.get(name)
        if rate is not None and not _unlimited(rate):
            return Load(True, rate, None)
    return Load(False, None, given.get("concurrency"))


def _replays(data: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    if data.get("fixed_schedule") is True:
        return True
    if data.get("disable_auto_fixed_schedule") is True:
        return False
    trace = str(data.get("custom_dataset_type", "")).lower().endswith("_trace")
    return trace and CLOSED not in (given.get("arrival_pattern"), given.get("request_rate_mode"))


def _of_phases(phases: list[dict[str, Any]]) -> Load:
    measured = [p for p in phases if (p.get("kind") or p.get("name")) != "warmup"]
    if len(measured) != 1:
        # One summary for all of them, and no telling what comes of which.
        return Load(True, None, None)
    one = measured[0]
    if one.get("type") == "concurrency" and one.get("timing_mode") is None:
        return Load(False, None, one.get("concurrency", 1))
    return Load(True, one.get("rate"), None)


def _unlimited(rate: object) -> bool:
    return isinstance(rate, float) and not math.isfinite(rate)


def _inner(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
