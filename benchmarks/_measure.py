"""Clocks, fresh processes, and what machine this is, for the benchmark scripts.

Nothing heavy is imported here: the process that starts the others stays small, so that what a child
reports as its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Row", "best_of", "fresh", "machine", "peak_mib", "root", "show", "timed", "walls"]

Row = dict[str, Any]
TIMEOUT_S = 300
root = Path(__file__).resolve().parents[1]


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that one call takes, and what it returns."""
    started = time.perf_counter()
    found = action()
    return time.perf_counter() - started, found


def best_of(n: int, action: Callable[[], Any]) -> float:
    """Return the fewest seconds of n calls."""
    return min(timed(action)[0] for _ in range(n))


def walls(argv: Sequence[str], n: int) -> list[float]:
    """Return the wall-clock seconds of n runs of a command, ascending."""
    found = []
    for _ in range(n):
        started = time.perf_counter()
        subprocess.run(argv, cwd=root, capture_output=True, check=True, timeout=TIMEOUT_S)
        found.append(time.perf_counter() - started)
    return sorted(found)


def fresh(script: str, case: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the case prints
    """Run one case of a benchmark script in a new process; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, str(Path(script).resolve()), "--case", json.dumps(case)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        sys.exit(f"{Path(script).name} {case}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    # What getrusage reports survives exec and may be that of the parent; the kernel's own mark does
    # not.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, ValueError):
        kib = str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return int(kib) / 1024


def machine() -> Row:
    """Return the date, the machine and the versions."""
    from colocate.versions import versions

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        **dict(versions()),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as an aligned table."""
    print(f"\n{title}")
    if not rows:
        return
    cells = [list(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  " + "  ".join(t.rjust(w) for t, w in zip(line, widths, strict=True)))


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.1f}"
    return "" if value is None else str(value)
