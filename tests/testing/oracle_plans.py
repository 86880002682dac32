"""The oracle's plan as a plan that the judge can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colocate.testing import Assignment
from tests.judging.plans import On


def groups_of(assignments: Sequence[Assignment]) -> list[On]:
    """One group for each GPU."""
    held: dict[tuple[str, int], tuple[list[Any], list[Any]]] = {}
    for a in assignments:
        lists = held.setdefault((a.pool, a.gpu), ([], []))
        lists[a.kind == "task"].append((a.id, str(a.ordinal), a.batch, a.share_pct))
    return [On(pool, str(gpu), *lists) for (pool, gpu), lists in held.items()]
