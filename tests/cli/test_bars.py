"""Bars drawn with characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.cli.bars import ASCII, BLOCKS, cells, share_bar, use_bar
from colocate.report.facts import Cotenant


@st.composite
def shares(draw: st.DrawFn) -> list[int]:
    """Draw shares that fit on a GPU."""
    found: list[int] = []
    while sum(found) < 100 and len(found) < 10:
        found.append(draw(st.integers(1, 100 - sum(found))))
        if draw(st.booleans()):
            break
    return found


def cotenant(kind: str, share: int) -> Cotenant:
    return Cotenant(kind, "x", 1, share, 1, "measured", None)  # type: ignore[arg-type]


@given(shares(), st.integers(10, 200))
def test_cells_are_fair(drawn: list[int], width: int) -> None:
    lengths = cells(drawn, width)
    assert len(lengths) == len(drawn)
    assert min(lengths) >= 1
    assert sum(lengths) <= width
    if min(drawn) * width >= 100:
        end = 0
        for share, length in zip(drawn, lengths, strict=True):
            assert abs(length - share * width / 100) <= 1
            end += share
        assert abs(sum(lengths) - end * width / 100) <= 0.5


@given(st.lists(st.tuples(st.sampled_from(["service", "task"]), st.integers(1, 10)), max_size=10))
def test_a_bar_is_as_wide_as_asked(held: list[tuple[str, int]]) -> None:
    bar = share_bar([cotenant(kind, share) for kind, share in held], 30, BLOCKS).plain
    assert len(bar) == 30
    assert set(bar) <= set(BLOCKS.service + BLOCKS.task + BLOCKS.free)


def test_neighbours_of_one_kind_can_be_told_apart() -> None:
    bar = share_bar([cotenant("task", 50), cotenant("task", 50)], 10, ASCII).plain
    assert bar == "=====-----"


@pytest.mark.parametrize(
    ("part", "text"),
    [(None, ""), (0.0, "..........   0 %"), (0.5, "=====.....  50 %"), (1.7, "========== 170 %")],
)
def test_use_of_a_limit(part: float | None, text: str) -> None:
    assert use_bar(part, 10, ASCII).plain == text


@pytest.mark.parametrize(("part", "style"), [(0.5, "green"), (0.95, "yellow"), (1.01, "red")])
def test_tight_and_broken_limits_stand_out(part: float, style: str) -> None:
    assert use_bar(part, 10, ASCII).spans[0].style == style
