"""Whatever is done to a valid file, it is read or refused as input: nothing else ever comes out."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.io import dumps_instance, dumps_plan, parse_instance, parse_plan
from tests.corpus.valid import INSTANCE, PLAN, Raw, Steps, to_bytes

TEXTS = {"instance": to_bytes(INSTANCE), "plan": to_bytes(PLAN)}
FILES = {"instance": INSTANCE, "plan": PLAN}


def places(value: Any, steps: Steps = ()) -> list[Steps]:
    found = [steps] if steps else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*steps, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found += places(inner, (*steps, i))
    return found


PLACES = {kind: places(file) for kind, file in FILES.items()}


def at(value: Any, steps: Steps) -> Any:
    for step in steps:
        value = value[step]
    return value


raw = st.sampled_from(["NaN", "-Infinity", "1e999", "-0.0", "1E2", "1" + "0" * 400, "[[[[[]]]]]"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.integers(-3, 120)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["0-3", "a", "s0", "t0", "bert", "vgg", "tabulated", "tasks", "0,0", "1-1"])
    | raw.map(Raw)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def changed_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid file with a few values replaced, dropped, doubled, swapped or moved elsewhere."""
    kind = draw(st.sampled_from(sorted(FILES)))
    file = copy.deepcopy(FILES[kind])
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.sampled_from(PLACES[kind]))
        other = draw(st.sampled_from(PLACES[kind]))
        try:
            holder, moved = at(file, steps[:-1]), copy.deepcopy(at(file, other))
            match draw(st.sampled_from(["replace", "drop", "double", "move", "add"])):
                case "replace":
                    holder[steps[-1]] = draw(anything)
                case "drop":
                    del holder[steps[-1]]
                case "double":
                    holder[steps[-1]] = holder[steps[-1]] * 2
                case "move":
                    holder[steps[-1]] = moved
                case "add":
                    holder[steps[-1]][draw(st.text(max_size=8))] = draw(anything)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has removed the place
    return kind, to_bytes(file)


def read(kind: str, data: bytes) -> None:
    """Read a file. Where it is accepted, it reads back as the same; else the refusal is plain."""
    try:
        if kind == "instance":
            instance = parse_instance(data)
            assert parse_instance(dumps_instance(instance)) == instance
        else:
            plan = parse_plan(data)
            assert parse_plan(dumps_plan(plan)) == plan
    except InputError as refused:
        check_refusal(refused)


def check_refusal(refused: InputError) -> None:
    assert all(line.isprintable() for line in str(refused).split("\n"))
    for problem in (refused, *refused.more):
        assert problem.path is not None
        assert problem.path.startswith("$")
        assert problem.advice


@given(changed_files())
@settings(max_examples=settings().max_examples * 5)
def test_changed_values(changed: tuple[str, bytes]) -> None:
    read(*changed)


MARKS = [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"-", b"9"]


@given(
    st.sampled_from(sorted(TEXTS)),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.integers(0, 20),
            st.binary(max_size=4)
            | st.sampled_from(
                [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\x00", b"\\ud800"]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=settings().max_examples * 5)
def test_changed_bytes(kind: str, edits: list[tuple[int, int, bytes]]) -> None:
    data = TEXTS[kind]
    for start, length, new in edits:
        start %= len(data)
        data = data[:start] + new + data[start + length :]
    read(kind, data)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes(data: bytes | str) -> None:
    for parse in (parse_instance, parse_plan):
        try:
            parse(data)
        except InputError:
            continue
        raise AssertionError("accepted")
