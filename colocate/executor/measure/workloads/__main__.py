"""`python -m colocate.executor.measure.workloads NAME`: the process of a built-in workload."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from colocate.executor.measure.worker import CannotError, Worker
from colocate.executor.measure.workloads import BUILTIN, make


def main(arguments: list[str] | None = None) -> int:
    """Run a workload until it is told to stop."""
    parser = argparse.ArgumentParser(description="Run a built-in workload.")
    parser.add_argument("workload", choices=sorted(BUILTIN))
    parser.add_argument("--device", default="cuda", help="where PyTorch runs it (cuda)")
    parser.add_argument("--size", default="full", choices=("full", "tiny"))
    parser.add_argument("--batch", type=int, help="start at once, with this batch size")
    parser.add_argument("--arrival-rps", type=float, help="samples that arrive in a second")
    parser.add_argument("--connect", help="socket of whoever measures, if no variable names it")
    parser.add_argument("--name", help="what it calls itself there")
    parser.add_argument("--ready", type=Path, help="file to make when it works")
    given = parser.parse_args(arguments)
    try:
        load = make(given.workload, device=given.device, size=given.size)
        worker = Worker(load, name=given.name, address=given.connect, ready=given.ready)
        worker.run(given.batch, given.arrival_rps)
    except CannotError as failed:
        sys.stderr.write(f"{given.workload}: {failed}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
