"""Starting MPS for the measurements, or saying exactly why it does not start."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from colocate.errors import ColocateError, clean_text
from colocate.executor.gpu_check.stages import Said
from colocate.executor.gpu_check.state import State
from colocate.executor.measure.shares import MpsShares

__all__ = ["start_daemon", "stop_daemon"]

LOGS = ("control.log", "server.log")
LAST_LINES = 30


def start_daemon(state: State) -> Said:
    """Start the daemon and read back what it says of itself."""
    gpu = state.need_gpu()
    daemons = state.world.daemons(state.world.root, dict, state.transcript)
    shares = MpsShares(daemons, gpu.uuid)
    try:
        shares.start()
    except (ColocateError, OSError) as failed:
        why = failed.message if isinstance(failed, ColocateError) else str(failed)
        advice = failed.advice if isinstance(failed, ColocateError) else None
        facts: dict[str, Any] = {
            "why": why,
            "advice": advice,
            "compute_mode": gpu.compute_mode,
            "user": os.geteuid(),
            "logs": _logs(state.world.root),
        }
        return Said(False, f"MPS does not start: {why}", facts)
    state.shares = shares
    seen = daemons.observe(gpu.uuid)
    with contextlib.suppress(ColocateError):
        state.transcript.begin(
            driver=gpu.driver, gpu_name=gpu.name, gpu=gpu.uuid, dialect=str(seen.dialect)
        )
    facts = {
        "dialect": seen.dialect,
        "server": seen.server,
        "limits": None if seen.limits is None else {"share_pct": seen.limits.share_pct},
    }
    return Said(seen.alive, f"a daemon of ours runs and speaks {seen.dialect}", facts)


def stop_daemon(state: State) -> Said:
    """End all measuring processes, then the daemon."""
    shares = state.need_mps()
    if state.bench is not None:
        state.bench.close()
        state.bench = None
    shares.stop()
    state.shares = None
    alive = shares.daemons.observe(shares.gpu).alive
    return Said(not alive, "the daemon has ended" if not alive else "the daemon still runs")


def _logs(root: Path) -> dict[str, list[str]]:
    """Return the ends of the daemon's logs."""
    found = {}
    for name in LOGS:
        for path in sorted(root.glob(f"mps/*/log/{name}")) + sorted(root.glob(f"mps/*/{name}")):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as failed:
                found[str(path.relative_to(root))] = [str(failed.strerror)]
                continue
            lines = text.splitlines()[-LAST_LINES:]
            found[str(path.relative_to(root))] = [clean_text(line, 400) for line in lines]
    return found
