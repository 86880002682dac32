"""Errors name the place, the line and the value, and come several at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import InstanceError
from colocate.io import (
    build_instance,
    load_instance,
    parse_instance,
)
from tests.corpus.valid import (
    INSTANCE,
    Raw,
    Steps,
    damaged,
    to_bytes,
)

TEXT = to_bytes(INSTANCE)
BARE = {k: v for k, v in INSTANCE.items() if k not in ("profiles", "interference")}


def refused(data: bytes) -> InstanceError:
    with pytest.raises(InstanceError) as caught:
        parse_instance(data)
    return caught.value


def pretty(change: dict[Steps, Any]) -> bytes:
    return json.dumps(json.loads(damaged("instance", change)), indent=1).encode()


def test_line_of_a_wrong_value(tmp_path: Path) -> None:
    data = pretty({("services", 1, "slo_ms"): -7})
    path = tmp_path / "mine.json"
    path.write_bytes(data)
    with pytest.raises(InstanceError) as caught:
        load_instance(path)
    line = next(i for i, text in enumerate(data.decode().split("\n"), 1) if "-7" in text)
    assert caught.value.path == "$.services[1].slo_ms"
    assert caught.value.source == f"{path}:{line}"
    assert f"  at: $.services[1].slo_ms  ({path}:{line})\n" in str(caught.value)


def test_line_of_a_missing_value_is_that_of_its_object() -> None:
    data = pretty({("tasks", 0): {"id": "lonely", "profile": "vgg"}})
    lines = data.decode().split("\n")
    line = next(i for i, text in enumerate(lines, 1) if '"lonely"' in text) - 1
    assert refused(data).source == f"<text>:{line}"


def test_line_of_the_second_of_two_equal_keys() -> None:
    data = b'{\n"schema": "colocate/instance/v1",\n"name": "a",\n"name": "b"}'
    assert refused(data).source == "<text>:4"


def test_lines_are_found_past_every_kind_of_value() -> None:
    data = (
        b'{"a":\n[1, -2.5e3, "x\\"]}[{", [], {}, [[1],[2]], true, null,'
        b' {"b": "}", "c": 2}, {"d":\n{"e": [0,\nNaN]}}]}'
    )
    problem = refused(data)
    assert problem.path == "$.a[9].d.e[1]"
    assert problem.source == "<text>:4"


def test_line_of_broken_text() -> None:
    assert refused(b'{\n"schema":\n"x",,}').source == "<text>:3"


def test_long_files_name_lines_for_the_first_problem_only() -> None:
    change: dict[Steps, Any] = {("services", 0, "slo_ms"): -1, ("tasks", 0, "weight"): -1}
    short = refused(pretty(change))
    assert [p.source is not None and ":" in p.source for p in (short, *short.more)] == [True, True]
    middle = refused(pretty({**change, ("description",): "x" * 70_000}))
    assert [p.source for p in middle.more] == ["<text>", "<text>"]
    assert middle.source is not None
    assert middle.source.startswith("<text>:")
    long = refused(pretty({**change, ("description",): "x" * 1_100_000}))
    assert long.source == "<text>"


def test_problems_of_several_items_come_together() -> None:
    data = json.loads(TEXT)
    row = data["services"][1]
    data["services"] = [
        {**row, "id": f"x{i}", "slo_ms": -1 if i % 3 == 1 else 300} for i in range(9)
    ]
    data["tasks"][0]["weight"] = "heavy"
    problem = refused(to_bytes(data))
    assert [p.path for p in (problem, *problem.more)] == [
        "$.services[1].slo_ms",
        "$.tasks[0].weight",
        "$.services[4].slo_ms",
        "$.services[7].slo_ms",
    ]
    assert (
        "and 3 more:\n  $.tasks[0].weight  (<text>:1): 'weight' must be a number, not 'heavy'"
        in str(problem)
    )


def test_at_most_twenty_problems_are_shown() -> None:
    data = json.loads(TEXT)
    row = data["services"][1]
    data["services"] = [{**row, "id": f"x{i}", "slo_ms": -1} for i in range(50)]
    problem = refused(to_bytes(data))
    paths = [p.path for p in (problem, *problem.more)]
    assert paths == [f"$.services[{i}].slo_ms" for i in range(20)]


def test_problems_that_only_arise_without_the_wrong_items_are_not_shown() -> None:
    """A list that is empty once its wrong items are gone, or a reference to one of them."""
    change = {
        ("services", 0, "slo_ms"): -1,
        ("service_table", "batches"): ["x"],
    }
    problem = refused(damaged("instance", change))
    assert [p.path for p in (problem, *problem.more)] == [
        "$.services[0].slo_ms",
        "$.service_table.batches[0]",
    ]


def test_large_files_show_the_first_problem_of_each_list() -> None:
    data = json.loads(TEXT)
    row = data["services"][1]
    data["services"] = [{**row, "id": f"x{i}", "slo_ms": -1} for i in range(2000)]
    data["tasks"][0]["weight"] = 0
    problem = refused(to_bytes(data))
    assert [p.path for p in (problem, *problem.more)] == [
        "$.services[0].slo_ms",
        "$.tasks[0].weight",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 500, "not '" + "x" * 60 + "...'"),
        ([1, 2, 3], "not a list of 3"),
        ({"a": 1, "b": 2}, "not an object with the keys a, b"),
        ({}, "not an object with the keys (none)"),
        (True, "not true"),
        (False, "not false"),
        (None, "not null"),
        (-1.5, "not -1.5"),
        (-3, "not -3"),
    ],
)
def test_wrong_values_are_shown_short(value: Any, shown: str) -> None:
    assert shown in refused(damaged("instance", {("services", 0, "slo_ms"): value})).message


def test_several_flaws_of_the_text_come_together() -> None:
    change = {
        ("name",): "a\n",
        ("services", 0, "slo_ms"): Raw("NaN"),
        ("services", 1, "slo_ms"): Raw("1e999"),
        ("tasks", 0, "batch"): Raw("9" * 30),
    }
    problem = refused(damaged("instance", change))
    assert [p.path for p in (problem, *problem.more)] == [
        "$.name",
        "$.services[0].slo_ms",
        "$.services[1].slo_ms",
        "$.tasks[0].batch",
    ]


def test_build_instance_has_the_errors_of_a_file() -> None:
    data = {k: v for k, v in INSTANCE.items() if k != "schema"}
    assert build_instance(data) == parse_instance(TEXT)
    with pytest.raises(InstanceError) as caught:
        build_instance({**data, "confidence": 2})
    assert caught.value.path == "$.confidence"
    assert caught.value.source == "<data>"
