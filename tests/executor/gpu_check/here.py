"""A world for the check: the real executor, on the MPS double, with workloads that only wait."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from colocate.executor.gpu_check.world import Kind, Sizes, World
from colocate.executor.measure.effort import Effort
from colocate.executor.mps import NodeDaemons
from tests.fakes.double import Double

SERVICES = (
    Kind("resnet50-inference", "inference", (4, 8)),
    Kind("bert-inference", "inference", (4,)),
)
TRAINING = (Kind("resnet50-training", "training", (8,)), Kind("bert-training", "training", (8,)))
QUICK = Sizes(
    services=SERVICES,
    training=TRAINING,
    shares=(40, 70, 100),
    splits=((40, 60), (60, 40)),
    held_out=((0, 1),),
    caps=(100, 25),
    effort=Effort(
        warm_up_s=0.05,
        window_s=0.08,
        steady_windows=1,
        steady_within=0.2,
        steady_most_s=0.5,
        least_windows=6,
        most_windows=6,
        parked=40,
    ),
    watch_s=1.0,
    after_kill_s=6.0,
    window_s=0.2,
    before_kill_s=1.0,
    total_s=600.0,
    tidy_s=60.0,
)
WORKLOAD = Path(__file__).with_name("workload.py")
REPOSITORY = Path(__file__).resolve().parents[3]


def world_on(double: Double, root: Path, **changes: Any) -> World:
    """Return a world on a double."""

    def daemons(
        below: Path,
        unit_pids: Callable[[], Mapping[str, Sequence[int]]],
        record: Callable[[Any], None] | None,
    ) -> NodeDaemons:
        return NodeDaemons(
            below,
            double.binary,
            allow_root=True,
            gpus=double.gpus,
            unit_pids=unit_pids,
            other_pipes=(),
            record=record,
        )

    made: dict[str, Any] = {
        "gpus": double.gpus,
        "daemons": daemons,
        "command": lambda kind: (sys.executable, str(WORKLOAD), kind),
        "root": root,
        "environment": {"PYTHONPATH": str(REPOSITORY)},
        "software": lambda: {"python": "3", "torch": "0"},
    }
    return World(**{**made, **changes})


TINY = Sizes(
    services=(Kind("bert-inference", "inference", (4,)),),
    training=(Kind("bert-training", "training", (8,)),),
    shares=(40, 100),
    splits=((40, 60),),
    held_out=(),
    caps=(100, 25),
    effort=Effort(
        warm_up_s=0.02,
        window_s=0.03,
        steady_windows=1,
        steady_within=0.5,
        steady_most_s=0.2,
        least_windows=6,
        most_windows=6,
        parked=40,
    ),
    watch_s=0.6,
    after_kill_s=3.0,
    window_s=0.1,
    before_kill_s=0.3,
    total_s=400.0,
    tidy_s=60.0,
)
