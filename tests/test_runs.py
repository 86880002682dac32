"""Runs of whole numbers say the same as text, as pairs, as an array and one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from colocate.runs import (
    MAX_IDS,
    MAX_ORDINAL,
    Runs,
    count_ids,
    format_ids,
    ids_of,
    iter_ids,
    iter_runs,
    run_pairs,
)

checked = TypeAdapter(Runs).validate_python
starts = st.integers(0, 10_000) | st.integers(MAX_ORDINAL - 10_000, MAX_ORDINAL - 200)
pairs = st.lists(
    st.tuples(starts, st.integers(0, 100)).map(lambda p: (p[0], p[0] + p[1])),
    min_size=1,
    max_size=20,
)


def text_of(runs: list[tuple[int, int]]) -> str:
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


@given(pairs)
def test_every_reading_says_the_same(runs: list[tuple[int, int]]) -> None:
    text = text_of(runs)
    one_by_one = [i for a, b in runs for i in range(a, b + 1)]
    assert checked(text) == text
    assert run_pairs(text) == list(iter_runs(text)) == runs
    assert list(iter_ids(text)) == one_by_one
    assert ids_of(text).tolist() == one_by_one
    assert count_ids(text) == len(one_by_one)


@given(st.lists(starts, min_size=1, max_size=50))
def test_ids_survive_being_written(ids: list[int]) -> None:
    text = format_ids(np.array(ids, dtype=np.int64))
    assert checked(text) == text
    assert list(iter_ids(text)) == ids


@given(pairs)
def test_written_runs_are_the_shortest(runs: list[tuple[int, int]]) -> None:
    text = format_ids(ids_of(text_of(runs)))
    assert len(text) <= len(text_of(runs))
    assert format_ids(ids_of(text)) == text
    for (_, last), (first, _) in zip(run_pairs(text), run_pairs(text)[1:], strict=False):
        assert first != last + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "0,",
        ",0",
        "0,,1",
        "-",
        "1-",
        "-1",
        "1--2",
        "1-2-3",
        "01",
        "0 ",
        " 0",
        "0\n",
        "+1",
        "a",
        "٣",
    ],
)
def test_what_is_no_list_of_runs_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="runs of whole numbers"):
        checked(text)
    with pytest.raises(ValueError, match="runs of whole numbers"):
        run_pairs(text)
    with pytest.raises(ValueError, match="runs of whole numbers"):
        count_ids(text)


@given(st.text(alphabet="0123456789-,", max_size=12))
def test_reading_and_checking_agree_on_what_is_right(text: str) -> None:
    try:
        runs = run_pairs(text)
    except ValueError:
        with pytest.raises(ValidationError):
            checked(text)
    else:
        assert checked(text) == text
        assert text_of(runs) == text or any(f"{a}-{a}" in text for a, b in runs if a == b)


@pytest.mark.parametrize("text", ["2-1", "0,5-3", f"{MAX_ORDINAL + 1}", f"0-{MAX_ORDINAL + 1}"])
def test_runs_ascend_within_bounds(text: str) -> None:
    with pytest.raises(ValidationError, match=f"must ascend and stay below {MAX_ORDINAL}"):
        checked(text)


def test_bounds_themselves_are_allowed() -> None:
    assert checked(str(MAX_ORDINAL)) == str(MAX_ORDINAL)
    assert checked(f"0-{MAX_IDS - 1}") == f"0-{MAX_IDS - 1}"


@pytest.mark.parametrize("text", [f"0-{MAX_IDS}", f"0-{MAX_IDS - 1},7", "0-60000000,0-60000000"])
def test_too_many_ids_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="more than 100000000 ids"):
        checked(text)


def test_no_ids_have_no_text() -> None:
    with pytest.raises(ValueError, match="empty"):
        format_ids(np.array([], dtype=np.int64))
