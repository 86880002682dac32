"""What answers mean, and that nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.mps import replies
from colocate.executor.mps.control import ControlError

PARSERS: dict[str, Callable[[str, str], object]] = {
    "percent": replies.percent,
    "memory": replies.memory_mib,
    "pids": replies.pids,
    "status": replies.server_status,
    "v3_status": replies.v3_status,
    "rows": lambda text, command: replies.rows(text, 5, command),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [("25.0", 25), ("100.0", 100), ("30.00", 30), ("7", 7), ("33.3", 33.3), ("50%", 50)],
)
def test_shares(text: str, value: float) -> None:
    assert replies.percent(text, "x") == value


@pytest.mark.parametrize("text", ["", "0", "0.0", "101", "-5", "nan", "1e2", "25.0\n30.0", "٣"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ControlError) as caught:
        replies.percent(text, "x")
    assert caught.value.kind == "reply"


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        *[("3G", 3072), ("1024M", 1024), ("1G", 1024), ("512MB", 512), ("2GiB", 2048)],
        *[("2048K", 2), ("1T", 1 << 20), ("", None), ("-", None), ("0", None), ("0M", None)],
        *[("none", None), ("No limit set for device 0", None), ("Limit has not been set", None)],
    ],
)
def test_memory_limits(text: str, mib: float | None) -> None:
    assert replies.memory_mib(text, "x") == mib


@pytest.mark.parametrize("text", ["3", "3GG", "G", "1.5G", "-1G", "3G 4G", "3G\n", "error 3G"])
def test_what_is_no_memory_limit(text: str) -> None:
    with pytest.raises(ControlError):
        replies.memory_mib(text, "x")


@pytest.mark.parametrize(
    ("text", "pids"),
    [("", ()), ("12\n7", (12, 7)), (" 12 \n12", (12,)), ("Server 0 not found", ())],
)
def test_process_lists(text: str, pids: tuple[int, ...]) -> None:
    assert replies.pids(text, "x") == pids


@pytest.mark.parametrize("text", ["0", "12 13", "PID 12", "1" * 9, "-1", "12,13", "１２", "12\nno"])
def test_what_is_no_process_list(text: str) -> None:
    with pytest.raises(ControlError):
        replies.pids(text, "x")


def test_states_of_servers() -> None:
    known = ["INITIALIZING", "ACTIVE", "FAULT", "Server 12 not found"]
    assert [replies.server_status(text, "x") for text in known] == [
        *("initializing", "active", "fault", "none")
    ]
    assert [replies.v3_status(text, "x") for text in ("Ready", "READY", "fault", "-")] == [
        *("active", "active", "fault", "none")
    ]
    for parser in (replies.server_status, replies.v3_status):
        with pytest.raises(ControlError):
            parser("WEDGED", "x")


def test_rows_keep_commas_of_values() -> None:
    assert replies.rows("1,gpu,0,default,a --b=1,2\n", 5, "x") == (
        ("1", "gpu", "0", "default", "a --b=1", "2"),
    )
    with pytest.raises(ControlError):
        replies.rows("1,gpu,0", 5, "x")


@given(st.text(), st.sampled_from(sorted(PARSERS)))
def test_any_text_is_understood_or_refused_with_advice(text: str, name: str) -> None:
    failed = None
    try:
        PARSERS[name](text.strip(), "some_command")
    except ControlError as caught:
        failed = caught
    assert failed is None or (failed.kind, failed.message.isprintable()) == ("reply", True)
