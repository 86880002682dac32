"""What is written reads back as the same thing; what cannot be read or written is said plainly."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import stat
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
    write_atomic,
)
from tests.corpus.valid import (
    INSTANCE,
    INTERFERENCE,
    PLAN,
    PROFILE_FILE,
    PROFILES,
    Raw,
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


# -- what errors say -------------------------------------------------------------------------------


def pretty(change: dict[tuple[str | int, ...], Any]) -> bytes:
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
    change = {("services", 0, "slo_ms"): -1, ("tasks", 0, "weight"): -1}
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


# -- profile files ---------------------------------------------------------------------------------


def with_files(folder: Path, *names: str, **fields: Any) -> Path:
    path = folder / "instance.json"
    path.write_bytes(to_bytes({**BARE, **fields, "profile_files": list(names)}))
    return path


def test_profile_files_are_the_same_as_inline_profiles(tmp_path: Path) -> None:
    inline = parse_instance(TEXT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "all.json").write_bytes(to_bytes(PROFILE_FILE))
    whole = load_instance(with_files(tmp_path, "sub/all.json"))
    assert whole == inline
    assert whole.sha256 == inline.sha256
    assert "profile_files" not in dumps_instance(whole)

    one = {**PROFILE_FILE, "profiles": PROFILES[:1], "interference": None}
    pairs = {**PROFILE_FILE, "profiles": [], "interference": {"pairs": INTERFERENCE["pairs"]}}
    (tmp_path / "one.json").write_bytes(to_bytes(one))
    (tmp_path / "pairs.json").write_bytes(to_bytes(pairs))
    mixed = load_instance(
        with_files(
            tmp_path,
            "one.json",
            "pairs.json",
            profiles=PROFILES[1:],
            interference={k: v for k, v in INTERFERENCE.items() if k != "pairs"},
        )
    )
    assert mixed == inline
    assert mixed.sha256 == inline.sha256


def test_changed_profile_file_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    before = load_instance(with_files(tmp_path, "p.json")).sha256
    changed = copy.deepcopy(PROFILE_FILE)
    changed["profiles"][0]["curve"]["batches"][0]["points"][0]["rate"] = 51
    (tmp_path / "p.json").write_bytes(to_bytes(changed))
    assert load_instance(with_files(tmp_path, "p.json")).sha256 != before


def test_profile_files_of_text_are_in_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    data = to_bytes({**BARE, "profile_files": ["p.json"]})
    assert parse_instance(data, base_dir=tmp_path) == parse_instance(TEXT)
    assert parse_instance(data, base_dir=str(tmp_path)) == parse_instance(TEXT)
    with pytest.raises(InstanceError, match="no folder"):
        parse_instance(data)
    with pytest.raises(InstanceError, match="no folder"):
        load_instance(io.BytesIO(data))


def test_no_profile_files_are_allowed_anywhere() -> None:
    data = to_bytes({**INSTANCE, "profile_files": []})
    assert parse_instance(data) == parse_instance(TEXT)


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(to_bytes(PROFILE_FILE))
    (tmp_path / "p.json").symlink_to("real.json")
    assert load_instance(with_files(tmp_path, "p.json")) == parse_instance(TEXT)


def test_files_share_one_limit(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    path = with_files(tmp_path, "p.json")
    together = path.stat().st_size + (tmp_path / "p.json").stat().st_size
    load_instance(path, max_bytes=together)
    with pytest.raises(InstanceError, match="limit") as caught:
        load_instance(path, max_bytes=together - 1)
    assert caught.value.path == "$.profile_files[0]"


# -- writing ---------------------------------------------------------------------------------------


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


def test_new_files_have_the_usual_permissions_and_old_ones_keep_theirs(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_atomic(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == usual.stat().st_mode
    usual.chmod(0o640)
    write_atomic(usual, b"y")
    assert stat.S_IMODE(usual.stat().st_mode) == 0o640
    assert usual.read_bytes() == b"y"


def things(folder: Path) -> dict[str, Path]:
    """Return what must never be replaced."""
    (folder / "target").write_text("precious")
    made = {name: folder / name for name in ("link", "dangling", "folder", "pipe")}
    made["link"].symlink_to("target")
    made["dangling"].symlink_to("nothing")
    made["folder"].mkdir()
    os.mkfifo(made["pipe"])
    return {**made, "device": Path("/dev/null")}


@pytest.mark.parametrize("force", [True, False])
def test_only_regular_files_are_replaced(tmp_path: Path, force: bool) -> None:
    for name, path in things(tmp_path).items():
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match="only a regular file is replaced") as caught:
            write_atomic(path, "x", force=force)
        assert caught.value.exit_code == 2, name
        assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["absent/x.json", "file/x.json", "a\x00b", "x" * 300])
def test_names_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write") as caught:
        write_atomic(tmp_path / name, "x")
    assert caught.value.advice
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "link"])
def test_failure_at_any_step_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x"
    force = call != "link"
    if force:
        path.write_text("precious")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr(os, "fdopen", fail)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomic(path, "new", force=force)
    monkeypatch.undo()
    if force:
        assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == (["x"] if force else [])


def test_interruption_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", "new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_name_taken_in_the_meantime_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    real = os.fsync

    def and_meanwhile(handle: int) -> None:
        real(handle)
        path.write_text("theirs")

    monkeypatch.setattr(os, "fsync", and_meanwhile)
    with pytest.raises(InputError, match="File exists"):
        write_atomic(path, "mine", force=False)
    monkeypatch.undo()
    assert path.read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_file_systems_without_links_or_folder_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_fsync, real_open = os.fsync, os.open

    def no_link(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    def no_folder_sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        real_fsync(handle)

    def no_folder_open(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "fsync", no_folder_sync)
    write_atomic(tmp_path / "a", "1", force=False)
    monkeypatch.setattr(os, "open", no_folder_open)
    write_atomic(tmp_path / "b", "2", force=False)
    monkeypatch.undo()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "1", "b": "2"}


@pytest.mark.parametrize("where", ["open", "fsync"])
def test_folder_that_fails_for_another_reason_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real_fsync, real_open = os.fsync, os.open

    def broken_fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(5, "Input/output error")
        real_fsync(handle)

    def broken_open(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(5, "Input/output error")
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, where, broken_fsync if where == "fsync" else broken_open)
    with pytest.raises(InputError, match="Input/output error"):
        write_atomic(tmp_path / "a", "1")


def test_nobody_ever_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    texts = {"a" * 200_000, "b" * 300_000}
    path.write_text(next(iter(texts)))
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for text in sorted(texts):
            write_atomic(path, text)
    done.set()
    reader.join()
    assert seen <= texts


def test_library_does_not_change_what_it_is_given() -> None:
    data = json.loads(damaged("instance", {("services", 0, "slo_ms"): -1}))
    before = copy.deepcopy(data)
    with pytest.raises(InstanceError):
        build_instance(data)
    assert data == before
    assert isinstance(parse_instance(TEXT), Instance)
