"""A workload of the check for machines without a GPU: a client of the MPS double that waits.

Takes the arguments of the built-in workloads. Rates follow from the share that the double gives.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from colocate.executor.measure.worker import CannotError, Worker
from tests.fakes.mps_attach import attach

PEAKS = {"matmul": 4000.0, "resnet50-inference": 3000.0, "bert-inference": 2000.0}
MODEL_MIB = 300


def rate(kind: str, batch: int, share_pct: float) -> float:
    """Return samples per second; products follow the share exactly."""
    peak, p = PEAKS.get(kind, 2500.0), share_pct / 100
    if kind == "matmul":
        return peak * p
    return peak * batch / (batch + 4.0) * p * 1.3 / (p + 0.3)


class OnTheDouble:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.got = attach()
        if self.got.error is not None:
            raise CannotError(self.got.error)
        self.batch = 1
        self.held = MODEL_MIB
        self.owed = 0.0

    def prepare(self, batch: int) -> None:
        self.batch = batch

    def step(self) -> None:
        event = self.got.event()
        if event is not None:
            sys.stderr.write(f"the server told: {event}\n")
            os._exit(9)
        wanted = self.batch / rate(self.kind, self.batch, self.got.share) - self.owed
        began = time.monotonic()
        time.sleep(max(0.0, wanted))
        self.owed = min(0.05, time.monotonic() - began - wanted)

    def facts(self) -> dict[str, object]:
        return {"sm_count": self.got.sms if self.got.mps else 132, "mps": self.got.mps}

    def memory_mib(self) -> float:
        return float(self.held)

    def take(self, mib: int) -> None:
        if self.got.memory_mib is not None and self.held + mib > self.got.memory_mib:
            raise CannotError("out of memory: CUDA error")
        self.held += mib

    def finish(self) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--arrival-rps", type=float)
    parser.add_argument("--connect")
    parser.add_argument("--name")
    parser.add_argument("--ready", type=Path)
    given = parser.parse_args()
    try:
        load = OnTheDouble(given.kind)
    except CannotError as failed:
        sys.stderr.write(json.dumps(str(failed)) + "\n")
        return 1
    worker = Worker(load, name=given.name, address=given.connect, ready=given.ready)
    worker.run(given.batch, given.arrival_rps)
    load.got.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
