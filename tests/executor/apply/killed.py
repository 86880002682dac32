"""A process that changes a node and kills itself at the n-th moment; started by tests.

python -m tests.executor.apply.killed ROOT BINARY DIALECT N (rollback | PLAN INSTANCE LAUNCH)
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from colocate.executor.apply.operator import NodeSettings, Operator, Request
from colocate.io import load_instance, load_launch, load_plan


def main() -> None:
    root, binary, dialect, n, *files = sys.argv[1:]
    left = [int(n)]

    def hook(_point: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = NodeSettings(
        root=Path(root),
        binary=Path(binary),
        allow_root=True,
        dialect="v3" if dialect == "v3" else "v2",
        member_timeout_s=120.0,
    )
    if files == ["rollback"]:
        Operator(settings, hook=hook).rollback()
        return
    plan, instance, launch = files
    request = Request.of(load_instance(instance), load_plan(plan), load_launch(launch))
    Operator(settings, request.launch, hook=hook).apply(request)


if __name__ == "__main__":
    main()
