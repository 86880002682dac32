"""Solve an instance that was written by hand, and say how each service stands against its SLO."""

from __future__ import annotations

import sys
from pathlib import Path

import colocate as co


def main() -> int:
    """Solve `by_hand.json` and print one line for each workload."""
    instance = co.load_instance(Path(__file__).resolve().with_name("by_hand.json"))
    result = co.solve(instance)
    if result.plan is None:
        print(f"no plan: {result.termination.reason.value}; {result.termination.detail}")
        return 1
    print(f"{result.termination.reason.value}, worth {result.objective:.3f}")
    for placement in result.plan.iter_placements():
        gpu = f"{placement.pool}/{placement.gpu}"
        for _, s in placement.services:
            slo_ms = instance.service(s.service).slo_ms
            assert s.predicted is not None  # `solve` always states predictions
            used = s.predicted.latency_hi_ms / slo_ms
            print(
                f"{gpu}  {s.service:8} batch {s.batch:4}  {s.share_pct:3} %  {used:.0%} of its SLO"
            )
        for _, t in placement.tasks:
            assert t.predicted is not None
            speed = t.predicted.normalised_rate
            print(
                f"{gpu}  {t.task:8} batch {t.batch:4}  {t.share_pct:3} %  {speed:.0%} of full speed"
            )
    for left_out in result.plan.unplaced:
        print(f"left out: {left_out.task} {left_out.ids} ({left_out.reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
