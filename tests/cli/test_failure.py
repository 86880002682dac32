"""Errors: plain text, the right exit code, nothing that a terminal could obey."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate import errors
from colocate.cli.failure import report, say, say_json
from colocate.cli.settings import Settings


def told(error: BaseException, settings: Settings | None = None) -> tuple[int, str]:
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        return report(error, settings or Settings()), sys.stderr.getvalue()
    finally:
        sys.stderr = before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ColocateError("x"), 1),
        (errors.InputError("x"), 2),
        (errors.InstanceError("x"), 2),
        (errors.PlanError("x"), 2),
        (errors.PluginError("x"), 2),
        (errors.UnsupportedError("x"), 2),
        (errors.TooLargeError("x"), 2),
        (errors.LimitError("x"), 4),
        (errors.SolverError("x"), 5),
        (PermissionError(13, "Permission denied", "x"), 2),
        (MemoryError(), 5),
        (RuntimeError("x"), 5),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_exit_codes(error: BaseException, code: int) -> None:
    found, text = told(error)
    assert found == code
    assert "Traceback" not in text
    assert (text == "") == (code == 141)


def test_a_message_has_its_place_and_its_advice() -> None:
    error = errors.InstanceError("slo_ms is -3", path="$.services[3].slo_ms", advice="raise it.")
    assert told(error)[1] == (
        "colocate: slo_ms is -3\n  at: $.services[3].slo_ms\n  Maybe raise it.\n"
    )


def test_an_unexpected_error_is_one_line_and_advice() -> None:
    code, text = told(ZeroDivisionError("by zero"))
    assert code == 5
    assert text.splitlines()[0] == "colocate: unexpected ZeroDivisionError: by zero"
    assert "--debug" in text.splitlines()[1]


def test_debug_shows_the_traceback() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        _, text = told(error, Settings(debug=True))
    assert "Traceback" in text


@given(st.text(st.characters(), max_size=300))
def test_no_text_can_reach_the_terminal_raw(text: str) -> None:
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        say(text)
        shown = sys.stderr.getvalue()
    finally:
        sys.stderr = before
    assert all(c == "\n" or c.isprintable() for c in shown)
    assert shown.count("\n") == text.count("\n") + 1


@given(st.text(st.characters(), max_size=300))
def test_errors_quote_nothing_raw(text: str) -> None:
    for error in (errors.InputError(text, path=text, advice=text), RuntimeError(text)):
        _, shown = told(error)
        assert all(c == "\n" or c.isprintable() for c in shown)


def test_a_flood_of_lines_is_cut() -> None:
    _, text = told(errors.InputError("x\n" * 10_000))
    assert len(text.splitlines()) < 300


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_json_errors_are_one_line_of_json(text: str) -> None:
    _, shown = told(errors.InputError(text, path="$.x", advice="try."), Settings(log_json=True))
    (line,) = shown.splitlines()
    assert shown.isascii()
    found = json.loads(line)
    assert found["event"] == "error"
    assert found["exit_code"] == 2
    assert "\n".join([found["message"], *found["more"]]) == f"{text}\n  at: $.x\n  Maybe try."


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    say("x")
    say_json("x")


@pytest.mark.parametrize("verb", [["solve"], ["show"], ["verify", "-"], ["diff", "-"]])
def test_a_file_that_is_not_there(cli: Any, verb: list[str], tmp_path: Path) -> None:
    done = cli(*verb, tmp_path / "no\x1b[31mne.json", stdin="{}")
    assert done.code == 2
    assert done.out == ""
    assert "Maybe" in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", "nonsense", '{"schema": 3}', "\x00", "[[[[["]
)
@pytest.mark.parametrize("verb", [["solve"], ["show"]])
def test_rubbish_on_standard_input(cli: Any, verb: list[str], text: str) -> None:
    done = cli(*verb, "-", stdin=text)
    assert done.code == 2
    assert done.out == ""
    assert "colocate: " in done.err
    assert "  at: " in done.err
    assert "Maybe" in done.err
    assert "Traceback" not in done.err


def test_the_size_limit_is_an_option(cli: Any, quickstart: Path) -> None:
    done = cli("show", quickstart, "--max-input", "1000")
    assert done.code == 2
    assert "1000" in done.err
