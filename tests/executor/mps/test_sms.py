"""Shares as whole SMs: what was reported counts, else the floor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.executor.mps.sms import SmCount, SmTable, load_sm_table, save_sm_table

H100 = "NVIDIA H100 80GB HBM3"


def test_reported_counts_are_used_for_their_type_and_share_only() -> None:
    table = SmTable().with_report("RTX", 188, 25, 46)
    assert table.whole_sms("RTX", 188, 25) == SmCount(46, measured=True)
    assert table.whole_sms("RTX", 188, 26) == SmCount(48, measured=False)
    assert table.whole_sms(H100, 132, 25) == SmCount(33, measured=False)


def test_a_later_report_replaces_an_earlier_one_and_tables_are_values() -> None:
    first = SmTable().with_report(H100, 132, 50, 64)
    second = first.with_report(H100, 132, 50, 66)
    assert first.whole_sms(H100, 132, 50).sms == 64
    assert second.whole_sms(H100, 132, 50).sms == 66


@given(st.integers(1, 300), st.integers(1, 100))
def test_without_a_report_a_share_is_floored_to_at_least_one(total: int, share: int) -> None:
    count = SmTable().whole_sms("x", total, share)
    assert not count.measured
    assert 1 <= count.sms <= total
    assert count.sms == 1 or count.sms * 100 <= total * share


@pytest.mark.parametrize(("share", "sms"), [(50, 132), (50, 68), (10, 0), (10, 133), (10, -1)])
def test_a_report_that_the_share_cannot_have_given_is_refused(share: int, sms: int) -> None:
    with pytest.raises(InputError, match="reported"):
        SmTable().with_report(H100, 132, share, sms)


@pytest.mark.parametrize(("total", "share"), [(0, 50), (132, 0), (132, 101)])
def test_nonsense_is_refused(total: int, share: int) -> None:
    with pytest.raises(InputError):
        SmTable().whole_sms(H100, total, share)


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sms.json"
    assert load_sm_table(path) == SmTable()
    table = SmTable().with_report(H100, 132, 50, 66).with_report(H100, 132, 5, 6)
    save_sm_table(path, table)
    assert load_sm_table(path) == table
    before = path.read_bytes()
    save_sm_table(path, load_sm_table(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "value",
    [
        *("", "[]", "{}", '{"schema": "x", "reported": {}}', "null", "[" * 5000),
        json.dumps({"schema": "colocate/sms/v1", "reported": {"a": {"0": 5}}}),
        json.dumps({"schema": "colocate/sms/v1", "reported": {"a": {"5": True}}}),
        json.dumps({"schema": "colocate/sms/v1", "reported": {"a": {"5": -1}}}),
        json.dumps({"schema": "colocate/sms/v1", "reported": {"a": {"x": 1}}}),
        json.dumps({"schema": "colocate/sms/v1", "reported": {"a": [1]}}),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "sms.json"
    path.write_text(value)
    with pytest.raises(InputError, match="SM counts"):
        load_sm_table(path)
