"""Plan inside a scheduler: solve again when tasks come and go, and act on the difference only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import colocate as co
from colocate.io import build_instance
from colocate.plan import Placement

HERE = Path(__file__).resolve().parent


def question(waiting: dict[str, int]) -> co.Instance:
    """Return the cluster as it is, with so many tasks of each kind waiting or running."""
    data = json.loads((HERE / "by_hand.json").read_text(encoding="utf-8"))
    data["tasks"] = [t | {"count": waiting[t["id"]]} for t in data["tasks"] if waiting.get(t["id"])]
    # A quota is for somebody who has tasks; a stale one would be refused as a likely mistake.
    owners = {t["tenant"] for t in data["tasks"]}
    data["rules"]["quotas"] = [q for q in data["rules"]["quotas"] if q["tenant"] in owners]
    return build_instance(data)


def environment(placement: Placement) -> list[str]:
    """Return what each process on a GPU is to be started with."""
    held = [(s.service, replica, s.share_pct, s.batch) for replica, s in placement.services]
    held += [(t.task, worker, t.share_pct, t.batch) for worker, t in placement.tasks]
    return [
        f"{name}[{number}] on {placement.pool}/{placement.gpu}: "
        f"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE={share_pct} BATCH={batch}"
        for name, number, share_pct, batch in held
    ]


def main() -> int:
    """Go through three rounds."""
    before: co.Plan | None = None
    for waiting in ({"vision": 1}, {"vision": 1, "ranking": 2}, {"ranking": 2}):
        result = co.solve(question(waiting), limits=co.Limits(time_s=5))
        print(f"waiting {waiting}: {result.termination.reason.value}")
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
