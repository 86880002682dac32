"""What is written reads back as the same thing, from every kind of source."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError, InstanceError, PlanError
from colocate.instance import Instance
from colocate.io import (
    MAX_BYTES,
    build_instance,
    dumps_instance,
    dumps_plan,
    load_instance,
    load_plan,
    parse_instance,
    parse_plan,
    save_instance,
    save_plan,
)
from tests.corpus.valid import (
    INSTANCE,
    INTERFERENCE,
    PLAN,
    damaged,
    to_bytes,
)

TEXT = to_bytes(INSTANCE)
BARE = {k: v for k, v in INSTANCE.items() if k not in ("profiles", "interference")}


def refused(data: bytes) -> InstanceError:
    with pytest.raises(InstanceError) as caught:
        parse_instance(data)
    return caught.value


# -- there and back --------------------------------------------------------------------------------

positive = st.floats(min_value=0, exclude_min=True, max_value=1e15, allow_subnormal=True)
not_negative = st.floats(min_value=0, max_value=1e15) | st.just(-0.0)
free_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cf"]) | st.sampled_from('\n\t"\\/'),
    max_size=200,
)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
parameters = st.dictionaries(
    names,
    st.booleans()
    | st.none()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20),
    max_size=5,
)


@st.composite
def instances(draw: st.DrawFn) -> dict[str, Any]:
    """Valid data in which every kind of value varies."""
    data = copy.deepcopy(INSTANCE)
    data["description"] = draw(free_text)
    data["name"] = draw(names)
    data["objective"]["params"] = draw(parameters)
    data["confidence"] = draw(st.floats(0.5, 1, exclude_max=True))
    data["services"][0]["slo_ms"] = draw(positive)
    data["services"][1]["missing_price"] = draw(not_negative)
    data["gpu_pools"][0]["reserve_gib"] = draw(st.floats(0, 39) | st.just(-0.0))
    data["tasks"][0]["weight"] = draw(positive | st.integers(1, 10**15))
    data["tasks"][0]["priority"] = draw(st.integers(-1000, 1000))
    data["service_table"]["rate_rps"] = draw(st.lists(positive, min_size=2, max_size=2))
    data["profiles"][1]["curve"]["batches"][0]["lines"][0]["intercept"] = draw(
        st.floats(-100, 1e15)
    )
    return data


@given(instances())
def test_instance_is_the_same_after_writing_and_reading(data: dict[str, Any]) -> None:
    instance = parse_instance(to_bytes(data))
    text = dumps_instance(instance)
    again = parse_instance(text)
    assert again == instance
    assert again.sha256 == instance.sha256
    assert dumps_instance(again) == text
    assert json.loads(text)["services"][0]["slo_ms"] == data["services"][0]["slo_ms"]


@given(st.floats(-1e15, 1e15), not_negative, free_text)
def test_plan_is_the_same_after_writing_and_reading(value: float, rate: float, why: str) -> None:
    data = copy.deepcopy(PLAN)
    data["objective"]["value"] = value
    data["placements"][0]["tasks"][0]["predicted"]["rate_lo"] = rate
    data["unplaced"][0]["detail"] = why
    plan = parse_plan(to_bytes(data))
    text = dumps_plan(plan)
    assert parse_plan(text) == plan
    assert dumps_plan(parse_plan(text)) == text


UNORDERED = {
    *("gpu_pools", "services", "tasks", "profiles", "pairs", "constraints", "current"),
    *("quotas", "anti_affinity", "left", "right", "locked", "pinned", "measured_sms"),
}


def shuffled(value: Any, dice: random.Random, name: str = "") -> Any:
    """Shuffle the keys of all objects, and the lists whose order means nothing."""
    if isinstance(value, dict):
        made = [(k, shuffled(v, dice, k)) for k, v in value.items()]
        return dict(dice.sample(made, len(made)))
    if isinstance(value, list):
        rows = [shuffled(v, dice) for v in value]
        return dice.sample(rows, len(rows)) if name in UNORDERED else rows
    return value


@pytest.mark.parametrize("seed", range(20))
def test_order_in_a_file_changes_nothing(seed: int) -> None:
    data = copy.deepcopy(INSTANCE)
    data["rules"]["quotas"].append({"tenant": "bob", "unit": "gpu_share", "maximum": 1.0})
    data["rules"]["anti_affinity"] += [{"left": ["t0", "s1"], "right": ["job-0"]}]
    data["constraints"].append({"name": "memory", "params": {"slack": "x", "b": None}})
    data["interference"]["pairs"].append({**INTERFERENCE["pairs"][0], "victim": "vgg"})
    data["gpu_pools"][0]["measured_sms"].append({"share_pct": 40, "sms": 40})
    data["rules"]["locked"].append({"pool": "b", "gpus": "0"})
    data["current"][0]["tasks"].append({**data["current"][0]["tasks"][0], "task": "a-task"})
    instance = parse_instance(to_bytes(data))
    other = parse_instance(to_bytes(shuffled(data, random.Random(seed))))
    assert other.sha256 == instance.sha256
    assert dumps_instance(other) == dumps_instance(instance)


@pytest.mark.parametrize("key", ["batches", "pinned"])
def test_order_of_batches_and_pins_changes_nothing(key: str) -> None:
    data = copy.deepcopy(INSTANCE)
    points = data["profiles"][0]["curve"]["batches"]
    points.insert(0, {**points[0], "batch": 8})
    service = data["services"][0]
    service["batches"] = [8, 16]
    service["pinned"] = [{"pool": "a", "gpus": "1"}, {"pool": "b", "gpus": "0"}]
    instance = parse_instance(to_bytes(data))
    service[key].reverse()
    other = parse_instance(to_bytes(data))
    assert other == instance
    assert other.sha256 == instance.sha256


def test_defaults_are_left_out_of_instances_and_kept_in_plans() -> None:
    data = copy.deepcopy(INSTANCE)
    data["tasks"][0]["weight"] = 1.0
    written = json.loads(dumps_instance(parse_instance(to_bytes(data))))
    assert "weight" not in written["tasks"][0]
    assert "description" in written
    assert written["schema"] == "colocate/instance/v1"
    assert written["profiles"][0]["curve"]["family"] == "tabulated"
    plan = {**PLAN, "missing": [], "certificate": None}
    again = json.loads(dumps_plan(parse_plan(to_bytes(plan))))
    assert again["missing"] == []
    assert "certificate" not in again


def test_text_is_pleasant_to_read() -> None:
    text = dumps_instance(parse_instance(TEXT))
    assert text.endswith("}\n")
    assert (
        '\n  "slo_model": {"name": "fill", "params": {"rho_max": 0.9}},\n'.replace(
            ', "params": {"rho_max": 0.9}', ""
        )
        not in text
    )
    assert '\n              {"share_pct": 10.0, "rate": 50.0},\n' in text
    assert '\n      "batches": [16],\n' in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\t" not in text


def test_long_text_stays_on_a_line_of_its_own() -> None:
    instance = parse_instance(damaged("instance", {("description",): "x" * 300}))
    assert f'\n  "description": "{"x" * 300}",\n' in dumps_instance(instance)


def test_free_text_may_hold_lines_tabs_and_any_language() -> None:
    said = 'Erste Zeile\n\t"zweite" \u00b7 \u4e2d\u6587 \U0001f600'
    instance = parse_instance(damaged("instance", {("description",): said}))
    assert instance.description == said
    assert parse_instance(dumps_instance(instance)).description == said


# -- sources ---------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "instance.json"
    path.write_bytes(TEXT)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    expected = parse_instance(TEXT)
    assert load_instance(path) == expected
    assert load_instance(str(path)) == expected
    assert load_instance(link) == expected
    assert load_instance(TEXT) == expected
    assert load_instance(io.BytesIO(TEXT)) == expected
    assert load_instance(io.StringIO(TEXT.decode())) == expected
    assert parse_instance(TEXT.decode()) == expected
    with path.open("rb") as file:
        assert load_instance(file) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    assert load_instance("-") == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(to_bytes(PLAN))))
    assert load_plan("-") == parse_plan(to_bytes(PLAN))


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InstanceError, match="standard input is closed"):
        load_instance("-")


class FailingStream(io.RawIOBase):
    """A disk that breaks while it is read."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def read(self, size: int = -1) -> bytes:
        raise self.failure


@pytest.mark.parametrize(
    "failure", [OSError(5, "Input/output error"), ValueError("I/O operation on closed file")]
)
def test_stream_that_cannot_be_read(failure: Exception) -> None:
    with pytest.raises(PlanError, match=r"cannot read '<stream>': (Input/output|I/O operation)"):
        load_plan(FailingStream(failure))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [len(TEXT) - 1, len(TEXT), len(TEXT) + 1])
def test_size_limit_is_exact(size: int, tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_bytes(TEXT)
    sources: list[Any] = [path, TEXT, io.BytesIO(TEXT)]
    for source in sources:
        if size >= len(TEXT):
            load_instance(source, max_bytes=size)
        else:
            with pytest.raises(InstanceError, match=f"limit {size}"):
                load_instance(source, max_bytes=size)


def test_size_limit_counts_bytes_of_text_too() -> None:
    data = json.dumps({**INSTANCE, "description": "\u4e2d" * 5000}, ensure_ascii=False)
    assert len(data) < 12_000 < len(data.encode())
    with pytest.raises(InstanceError, match="limit 12000"):
        parse_instance(data, max_bytes=12_000)
    with pytest.raises(InstanceError, match="limit 100"):
        parse_instance(data, max_bytes=100)
    parse_instance(data, max_bytes=40_000)


def test_endless_stream_is_read_no_further_than_the_limit() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b" " * size

    endless = Endless()
    with pytest.raises(InstanceError, match="more than 1000 bytes"):
        load_instance(endless, max_bytes=1000)  # type: ignore[arg-type]
    assert endless.given == 1001


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """Nobody ever writes to it: a blocking open would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    caught: list[Exception] = []

    def read() -> None:
        try:
            load_instance(tmp_path / "pipe")
        except InputError as failed:
            caught.append(failed)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert len(caught) == 1


def test_default_limit_is_sixteen_mebibytes() -> None:
    assert MAX_BYTES == 16 * 1024 * 1024


# -- saving ----------------------------------------------------------------------------------------


def test_saved_files_read_back(tmp_path: Path) -> None:
    instance, plan = parse_instance(TEXT), parse_plan(to_bytes(PLAN))
    save_instance(instance, tmp_path / "i.json")
    save_plan(plan, str(tmp_path / "p.json"))
    assert load_instance(tmp_path / "i.json") == instance
    assert load_plan(tmp_path / "p.json") == plan
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.json", "p.json"]


def test_instances_are_replaced_only_on_request_and_plans_always(tmp_path: Path) -> None:
    instance, plan = parse_instance(TEXT), parse_plan(to_bytes(PLAN))
    path = tmp_path / "x.json"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists"):
        save_instance(instance, path)
    with pytest.raises(InputError, match="exists"):
        save_plan(plan, path, force=False)
    assert path.read_text() == "precious"
    save_instance(instance, path, force=True)
    assert load_instance(path) == instance
    save_plan(plan, path)
    assert load_plan(path) == plan


def test_library_does_not_change_what_it_is_given() -> None:
    data = json.loads(damaged("instance", {("services", 0, "slo_ms"): -1}))
    before = copy.deepcopy(data)
    with pytest.raises(InstanceError):
        build_instance(data)
    assert data == before
    assert isinstance(parse_instance(TEXT), Instance)
