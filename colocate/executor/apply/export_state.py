"""The node's state as text: the same bytes for the same state, without pids and times.

What it leaves out besides: units that have ended (they hold nothing), which phase a live unit is
in, who started a daemon, and clients that are not ours.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colocate.executor.apply.observed import Observed
    from colocate.executor.unit import Unit

__all__ = ["state_data", "state_text"]


def state_data(observed: Observed) -> dict[str, Any]:
    """Return the state as plain data."""
    return {
        "schema": "colocate/node-state/v1",
        "gpus": [
            {
                "gpu": gpu,
                "name": facts.name,
                "compute_mode": facts.compute_mode,
                "mig": facts.mig,
                "daemon": _daemon(observed, gpu),
                "units": [_unit(seen.state.unit) for seen in observed.units_on(gpu) if seen.live],
            }
            for gpu, facts in sorted(observed.facts.items())
        ],
        "units_on_lost_gpus": [
            _unit(seen.state.unit)
            for _, seen in sorted(observed.units.items())
            if seen.live and seen.state.unit.gpu not in observed.facts
        ],
    }


def state_text(observed: Observed) -> str:
    """Return the state as JSON text."""
    text = json.dumps(state_data(observed), indent=2, sort_keys=True, allow_nan=False)
    return text + "\n"


def _unit(unit: Unit) -> dict[str, Any]:
    # A number that came as a whole one is the same number.
    return {**asdict(unit), "memory_gib": float(unit.memory_gib)}


def _daemon(observed: Observed, gpu: str) -> dict[str, Any] | None:
    daemon = observed.daemon(gpu)
    if not daemon.alive:
        return None
    limits = None if daemon.limits is None else asdict(daemon.limits)
    return {"dialect": daemon.dialect, "limits": limits}
