"""Plan inside a scheduler: solve again when tasks come and go, and act on the difference only."""

from __future__ import annotations

import sys
from pathlib import Path

import colocate as co

HERE = Path(__file__).resolve().parent


def question(waiting: dict[str, int]) -> co.Instance:
    """Return the cluster as it is, with so many tasks of each kind."""
    base = co.load_instance(HERE / "by_hand.json")
    tasks = [t.model_copy(update={"count": n}) for t in base.tasks if (n := waiting.get(t.id, 0))]
    # Built anew rather than copied, so that everything is checked again.
    return co.Instance(**{**dict(base), "schema": "colocate/instance/v1", "tasks": tuple(tasks)})


def environment(placement: co.plan.Placement) -> list[str]:
    """Return what each process on a GPU is to be started with."""
    held = [(s.service, replica, s) for replica, s in placement.services]
    held += [(t.task, worker, t) for worker, t in placement.tasks]
    return [
        f"{name}[{number}] on {placement.pool}/{placement.gpu}: "
        f"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE={knobs.share_pct} BATCH={knobs.batch}"
        for name, number, knobs in held
    ]


def main() -> int:
    """Go through three rounds."""
    before: co.Plan | None = None
    for waiting in ({"vision": 1}, {"vision": 1, "ranking": 2}, {"ranking": 2}):
        result = co.solve(question(waiting), limits=co.Limits(time_s=5))
        print(f"waiting {waiting}: {result.summary()}")
        if result.plan is None:
            print(f"  nothing changes: {result.termination.detail}")
            continue
        if before is None:
            for placement in result.plan.iter_placements():
                for line in environment(placement):
                    print(f"  start {line}")
        else:
            for move in co.diff(before, result.plan).moves:
                print(f"  {move.change} {move.id}[{move.ordinal}]: {move.before} -> {move.after}")
        before = result.plan
    return 0


if __name__ == "__main__":
    sys.exit(main())
