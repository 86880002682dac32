"""Finding conflicts where what conflicts is known, and where it cannot be decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from colocate.explain.changes import SetSlo
from colocate.explain.core import find_core
from colocate.explain.feasible import Answer
from colocate.explain.fixes import Ladder
from colocate.explain.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARTS = [Part("gpus", f"p{i}") for i in range(6)] + [Part("required", f"s{i}") for i in range(4)]
GROUPS = [(p,) for p in PARTS]
Conflicts = list[set[Part]]


def checking(conflicts: Conflicts) -> Callable[[Iterable[Part]], Answer]:
    """Say no while all of some conflict is still there."""

    def check(gone: Iterable[Part]) -> Answer:
        left = set(PARTS) - set(gone)
        return Answer.NO if any(c <= left for c in conflicts) else Answer.YES

    return check


@given(st.lists(st.sets(st.sampled_from(PARTS), min_size=1), min_size=1, max_size=4))
def test_what_is_found_is_one_of_the_smallest_conflicts(conflicts: Conflicts) -> None:
    core = find_core(GROUPS, checking(conflicts))
    found = set(core.parts)
    assert core.irreducible
    assert found in conflicts
    assert not any(c < found for c in conflicts)


@given(st.sets(st.sampled_from(PARTS), min_size=1), st.sets(st.sampled_from(PARTS)))
def test_what_cannot_be_decided_is_not_claimed(conflict: set[Part], dark: set[Part]) -> None:
    certain = checking([conflict])

    def check(gone: Iterable[Part]) -> Answer:
        gone = set(gone)
        return Answer.UNKNOWN if gone & dark else certain(gone)

    core = find_core(GROUPS, check)
    found = set(core.parts)
    assert conflict <= found  # no part of the proof was left out
    assert found <= conflict | dark
    assert core.irreducible is not bool(dark)


def test_groups_stay_together() -> None:
    groups = [tuple(PARTS[:3]), tuple(PARTS[3:6]), *((p,) for p in PARTS[6:])]
    core = find_core(groups, checking([{PARTS[1], PARTS[7]}]))
    assert core.groups == (tuple(PARTS[:3]), (PARTS[7],))


@given(st.integers(1, 3000), st.integers(0, 3500))
def test_the_gentlest_change_that_is_enough(size: int, first: int) -> None:
    asked = []

    def enough(change: SetSlo) -> bool:
        asked.append(change)
        return change.slo_ms >= first

    found = Ladder(size, lambda i: SetSlo("s", float(i))).gentlest(enough)  # type: ignore[arg-type]
    assert found == (SetSlo("s", float(first)) if first < size else None)
    assert len(asked) < 30
