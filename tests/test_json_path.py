"""Lines are found in any valid JSON, and a place that is not there gives the nearest around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.io.json_path import Step, line_of, read_path, show_path

texts = st.text(st.sampled_from('ab"\\[]{},: \u4e2d'), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def places(value: Any, steps: tuple[Step, ...] = ()) -> list[tuple[tuple[Step, ...], Any]]:
    found = [(steps, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*steps, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found += places(inner, (*steps, i))
    return found


@given(values, st.sampled_from([None, 0, 2]))
def test_line_is_where_the_value_starts(value: Any, indent: int | None) -> None:
    """A marker that takes the value's place is on the line that was named."""
    text = json.dumps(value, indent=indent)
    for steps, _ in places(value):
        marked = json.loads(text)
        holder: Any = [marked]
        for step in (0, *steps[:-1]) if steps else ():
            holder = holder[step]
        if steps:
            holder[steps[-1]] = "<here>"
            lines = json.dumps(marked, indent=indent).split("\n")
            expected = next(i for i, line in enumerate(lines, 1) if '"<here>"' in line)
        else:
            expected = 1
        assert line_of(text, steps) == expected


@pytest.mark.parametrize(
    ("text", "steps", "line"),
    [
        ('{\n"a": 1}', ("b",), 1),
        ('{\n"a": [\n1]}', ("a", 5), 2),
        ('{\n"a": [\n]}', ("a", 0), 2),
        ('{\n"a": [\n1]}', ("a", "b"), 2),
        ('{\n"a": {\n}}', ("a", 0), 2),
        ('{\n"a": \n1}', ("a", "b", 3), 3),
        ("\n\n[1]", (0,), 3),
        ('{"a": 1,\n"a":\n2}', ("a",), 3),
    ],
)
def test_nearest_place_around(text: str, steps: tuple[Step, ...], line: int) -> None:
    assert line_of(text, steps) == line


@given(
    st.lists(st.integers(0, 999) | st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z"), max_size=6)
)
def test_plain_paths_read_back(steps: list[Step]) -> None:
    path = show_path(tuple(steps))
    assert path.startswith("$")
    assert read_path(path) == tuple(steps)


@given(st.text(max_size=100))
def test_paths_are_safe_to_print(key: str) -> None:
    assert show_path((key,)).isprintable()
    assert len(show_path((key,))) < 200
