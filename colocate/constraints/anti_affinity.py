"""Anti-affinity: no workload of `left` beside a workload of `right` on one GPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar, Literal

from colocate.constraints._residents import holdings
from colocate.constraints.base import CoTenantSets, PlainConstraint
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.violation import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AntiAffinityConstraint(PlainConstraint):
    """No two different workloads of a GPU, one on the left of a rule and one on its right."""

    name: ClassVar[str] = "anti_affinity"

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Admit the sets in which no rule finds two workloads."""
        import numpy as np

        del instance
        allowed = np.ones(sets.size, dtype=bool)
        width = sets.user.shape[1]
        for a in range(width):
            for b in range(width):
                if a != b:
                    allowed &= ~(sets.left[:, a] & sets.right[:, b]).any(axis=1)
        return allowed

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield pairs that a rule keeps apart."""
        left = _rules_naming(instance, "left")
        right = _rules_naming(instance, "right")
        if not left:
            return
        for held in holdings(instance, plan, naming=left):
            for a, b in permutations(held.residents, 2):
                broken = left.get(a.entry.id, frozenset()) & right.get(b.entry.id, frozenset())
                if broken:
                    yield Violation(
                        kind="anti_affinity",
                        where=held.where,
                        message=f"{a.name} beside {b.name}, which anti-affinity rule "
                        f"{min(broken)} keeps apart",
                    )
                    break


def _rules_naming(instance: Instance, side: Literal["left", "right"]) -> dict[str, frozenset[int]]:
    """Return the rules that name each id on this side."""
    found: dict[str, set[int]] = {}
    for i, rule in enumerate(instance.rules.anti_affinity):
        for name in getattr(rule, side):
            found.setdefault(name, set()).add(i)
    return {name: frozenset(rules) for name, rules in found.items()}
