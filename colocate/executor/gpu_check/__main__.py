"""`python -m colocate.executor.gpu_check`: the check as a program."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from colocate.errors import ColocateError

MISSING = """colocate gpu-check: this Python has no {name}
  Maybe give one that has torch, numpy, scipy, pydantic and nvidia-ml-py
  (make gpu-check PYTHON=...); ortools is used where it is there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the check; 0: everything passed, 1: something did not, 2: it cannot run here."""
    parser = argparse.ArgumentParser(
        prog="gpu-check", description="Show on a real GPU what only a real GPU can show."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for report and pictures")
    parser.add_argument("--gpu", help="UUID of the GPU, where there are several")
    parser.add_argument("--allow-root", action="store_true", help="work as root, too")
    parser.add_argument(
        "--mps-control", metavar="PATH", help="nvidia-cuda-mps-control, where it is not found"
    )
    parser.add_argument("--root", type=Path, help="folder for state (a new one that is removed)")
    parser.add_argument("--seconds", type=float, default=520.0, help="for everything (520)")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        from colocate.executor.gpu_check.program import check_here

        return check_here(
            given.out,
            uuid=given.gpu,
            allow_root=given.allow_root,
            binary=given.mps_control,
            root=given.root,
            seconds=given.seconds,
        )
    except ModuleNotFoundError as missing:
        sys.stderr.write(MISSING.format(name=missing.name) + "\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("colocate gpu-check: interrupted; the report holds what was found\n")
        return 130
    except ColocateError as failed:
        sys.stderr.write(f"colocate gpu-check: {failed}\n")
        return 2


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C: everything is put back on the way out."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
