"""The pace of gangs from runs of workers is that of looking at every worker."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import PlanError
from colocate.objectives._gangs import _slowest


@given(st.data(), st.integers(2, 5))
def test_runs_are_as_slow_as_their_workers(data: st.DataObject, size: int) -> None:
    gangs = data.draw(st.lists(st.booleans(), min_size=1, max_size=12))
    workers = [i * size + m for i, held in enumerate(gangs) if held for m in range(size)]
    if not workers:
        return
    pace = {w: float(data.draw(st.integers(1, 3))) for w in workers}
    ends = [w for w in workers if w + 1 not in pace or data.draw(st.booleans())]
    runs, begin = [], None
    for w in workers:
        begin = w if begin is None else begin
        if w in ends or pace.get(w + 1) != pace[w]:
            runs.append((str(begin) if begin == w else f"{begin}-{w}", pace[w]))
            begin = None
    runs = data.draw(st.permutations(runs))
    slowest, times = _slowest(runs, size, "task t")
    truth = Counter(
        min(pace[i * size + m] for m in range(size)) for i, held in enumerate(gangs) if held
    )
    found: Counter[float] = Counter()
    for rate, n in zip(slowest.tolist(), times.tolist(), strict=True):
        assert n > 0
        found[rate] += n
    assert found == truth


@pytest.mark.parametrize("runs", [["0-2"], ["0-3", "3"], ["1-4"], ["0-1", "3-4"]])
def test_gangs_that_are_not_whole_have_no_pace(runs: list[str]) -> None:
    with pytest.raises(PlanError, match="placed once"):
        _slowest([(text, 1.0) for text in runs], 2, "task t")


def test_a_million_gangs_are_looked_at_in_runs() -> None:
    slowest, times = _slowest([("0-1999998", 2.0), ("1999999", 1.0)], 2, "task t")
    assert slowest.tolist() == [2.0, 1.0]
    assert np.array_equal(times, [999_999, 1])
