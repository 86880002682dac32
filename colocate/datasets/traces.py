"""Recorded workloads as arrays: requests, request rates, jobs, pods and nodes.

Times are in seconds after the first event. All arrays of a trace have the same length, one entry
for each event, and cannot be written to.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Arrivals",
    "ClientRates",
    "JobTrace",
    "NodeList",
    "PodTrace",
    "StageProfiles",
    "Trace",
]

Numbers = NDArray[np.float64]
Texts = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Trace:
    """Columns of one length."""

    def __post_init__(self) -> None:
        """Protect the arrays."""
        lengths = set()
        for field in fields(self):
            column = getattr(self, field.name)
            column.flags.writeable = False
            lengths.add(len(column))
        assert len(lengths) <= 1

    def __len__(self) -> int:
        """Return the number of events."""
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: Any) -> Any:  # noqa: ANN401 - the class it is called on
        """Return some events: by number, or where an array of truth values says so."""
        chosen = np.asarray(rows)
        if not chosen.size:
            chosen = chosen.astype(np.intp)  # an empty list of rows is no list of truth values
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Arrivals(Trace):
    """Requests to a language model, in the order of their arrival."""

    time_s: Numbers
    prompt_tokens: Numbers
    output_tokens: Numbers

    @property
    def gaps_s(self) -> Numbers:
        """Times between one request and the next."""
        return np.diff(self.time_s)


@dataclass(frozen=True, eq=False)
class ClientRates(Trace):
    """How many requests each client sent in each window of time, and how unevenly."""

    workload: Texts
    client: Texts
    window_start_s: Numbers
    rate_rps: Numbers
    gap_variation: Numbers
    """Standard deviation of the gaps over their mean; 1 for a Poisson process."""
    pattern: Texts
    """Family of distributions that the source fitted to the gaps; empty where there was none."""


@dataclass(frozen=True, eq=False)
class JobTrace(Trace):
    """Training jobs, in the order of their submission."""

    submit_s: Numbers
    duration_s: Numbers
    gpus: Numbers
    tenant: Texts


@dataclass(frozen=True, eq=False)
class PodTrace(Trace):
    """Pods that ask for GPUs, or for a part of one."""

    name: Texts
    cpu: Numbers
    """Cores."""
    memory_gib: Numbers
    """Main memory, not the GPU's."""
    gpus: Numbers
    gpu_share_pct: Numbers
    """Part of each GPU that is asked for: a request, not a measurement."""
    gpu_types: Texts
    """Types that will do, joined by '|'; empty for any."""
    qos: Texts
    phase: Texts
    created_s: Numbers
    deleted_s: Numbers
    """Not a number where it was not recorded."""
    scheduled_s: Numbers


@dataclass(frozen=True, eq=False)
class NodeList(Trace):
    """Servers of a cluster."""

    name: Texts
    cpu: Numbers
    memory_gib: Numbers
    gpus: Numbers
    gpu: Texts
    """Type of the GPUs; empty where there are none."""


@dataclass(frozen=True, eq=False)
class StageProfiles(Trace):
    """How long one iteration of training keeps each resource busy."""

    workload: Texts
    batch: Numbers
    gpus: Numbers
    iteration_ms: Numbers
    stages_ms: Numbers
    """One row for each profile, one column for each resource, in the source's order."""
