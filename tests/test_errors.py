"""Every error says what, where and what to try, and knows its exit code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate import errors
from colocate.errors import (
    ColocateError,
    InputError,
    InstanceError,
    LimitError,
    SolverError,
    clean_text,
)


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n.endswith("Error")])
def test_text_is_message_place_and_advice(name: str) -> None:
    error = getattr(errors, name)("it is 3", path="$.a", advice="make it 2.")
    assert isinstance(error, ColocateError)
    assert str(error) == "it is 3\n  at: $.a\n  Maybe make it 2."
    assert str(type(error)("it is 3")) == "it is 3"


@pytest.mark.parametrize(
    ("error", "code"), [(InputError, 2), (InstanceError, 2), (LimitError, 4), (SolverError, 5)]
)
def test_exit_codes(error: type[ColocateError], code: int) -> None:
    assert error.exit_code == code


def test_input_errors_name_file_and_line_and_further_problems() -> None:
    more = [InputError("b is 4", path="$.b"), InputError("c is 5", path="$.c", source="f.json:9")]
    error = InputError("a is 3", path="$.a", advice="look.", source="f.json:7", more=more)
    assert str(error) == (
        "a is 3\n  at: $.a  (f.json:7)\n  Maybe look.\nand 2 more:\n"
        "  $.b: b is 4\n  $.c  (f.json:9): c is 5"
    )
    assert str(InputError("no room", source="/full")) == "no room\n  at: /full"
    assert InputError("nowhere").where == "?"


@given(st.text(max_size=50), st.integers(0, 60))
def test_cleaned_text_is_printable_and_bounded(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert clean.isprintable()
    assert len(clean) <= limit + 3
    if text.isprintable() and len(text) <= limit:
        assert clean == text
