"""Everything in the corpus of bad inputs is refused: with a place, the value and advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from colocate.errors import InputError, InstanceError, PlanError
from colocate.io import (
    load_instance,
    load_plan,
    parse_instance,
    parse_launch,
    parse_models,
    parse_plan,
)
from tests.corpus.contradictions import contradiction_cases
from tests.corpus.fields import generated_cases
from tests.corpus.files import FileCase, file_cases
from tests.corpus.text import text_cases
from tests.corpus.valid import FILES, Case, damaged, steps_of, to_bytes
from tests.corpus.values import UNKNOWN, value_cases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITTEN = [*text_cases(), *value_cases(), *contradiction_cases()]


def parse_profiles(data: bytes, folder: Path) -> object:
    """Read a profile file by way of an instance that refers to it and has nothing else."""
    (folder / "profiles.json").write_bytes(data)
    instance = {
        "schema": "colocate/instance/v1",
        "name": "bare",
        "slo_model": {"name": "fill"},
        "confidence": 0.5,
        "objective": {"name": "throughput"},
        "gpu_pools": [],
        "profile_files": ["profiles.json"],
    }
    return parse_instance(to_bytes(instance), base_dir=folder)


def reader(kind: str, folder: Path) -> Callable[[bytes], object]:
    if kind == "profiles":
        return lambda data: parse_profiles(data, folder)
    readers: dict[str, Callable[[bytes], object]] = {
        "plan": parse_plan,
        "models": parse_models,
        "instance": parse_instance,
        "launch": parse_launch,
    }
    return readers[kind]


def check(refused: InputError, path: str, words: str) -> None:
    """Check what is promised of every refusal."""
    problems = [refused, *refused.more]
    places = [p.path or "" for p in problems]
    assert any(p == path or p.startswith((f"{path}[", f"{path}.")) for p in places), places
    assert any(words in p.message for p in problems), [p.message for p in problems]
    assert len(problems) <= 20
    assert type(refused).exit_code == 2
    text = str(refused)
    assert "\n  at: $" in text
    assert "\n  Maybe " in text
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert len(text) < 10_000
    for problem in problems:
        assert problem.advice
        assert problem.advice.endswith("."), problem.advice


def test_undamaged_files_are_accepted(tmp_path: Path) -> None:
    for kind, file in FILES.items():
        reader(kind, tmp_path)(to_bytes(file))


def refusal_of(case: Case, folder: Path) -> InputError:
    expected = {"plan": PlanError, "models": InputError, "launch": InputError}.get(
        case.kind, InstanceError
    )
    with pytest.raises(expected) as caught:
        reader(case.kind, folder)(case.data)
    return caught.value


def test_every_damaged_field_is_refused_with_its_place(tmp_path: Path) -> None:
    names = {case.name for case in WRITTEN}
    assert len(names) == len(WRITTEN) >= 150
    for case in generated_cases():
        names.add(case.name)
        try:
            check(refusal_of(case, tmp_path), case.path, case.words)
        except BaseException as failed:
            failed.add_note(case.name)
            raise
    assert len(names) - len(WRITTEN) >= 2500


@pytest.mark.parametrize(("holder", "wrong", "right"), UNKNOWN)
def test_misspelled_keys_are_told_the_right_one(holder: str, wrong: str, right: str) -> None:
    with pytest.raises(InstanceError) as caught:
        parse_instance(damaged("instance", {(*steps_of(holder), wrong): 1}))
    assert caught.value.advice == f"write {right!r}."


@pytest.mark.parametrize("case", WRITTEN, ids=lambda c: c.name)
def test_written_cases_are_refused(case: Case, tmp_path: Path) -> None:
    check(refusal_of(case, tmp_path), case.path, case.words)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    number = 0
    for case in file_cases(tmp_path):
        number += 1
        try:
            with pytest.raises(InstanceError) as caught:
                load_instance(case.source)
            check(caught.value, case.path, case.words)
        except BaseException as failed:
            failed.add_note(case.name)
            raise
        if not case.name.startswith("profile file"):
            with pytest.raises(PlanError):
                load_plan(case.source)
    assert number >= 35


def only(cases: Any, name: str) -> Any:
    return next(c for c in cases if name in c.name)


def test_problem_in_a_profile_file_names_that_file_and_line(tmp_path: Path) -> None:
    case: FileCase = only(file_cases(tmp_path), "profile file: a workload with two roles")
    with pytest.raises(InstanceError) as caught:
        load_instance(case.source)
    assert caught.value.source == "other-role.json:1"
