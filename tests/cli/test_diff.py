"""`colocate diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def other(solved: Path, tmp_path: Path) -> Path:
    """Return a plan in which one share differs, one task is gone and one is on another GPU."""
    document = json.loads(solved.read_text(encoding="utf-8"))
    groups = [g for g in document["placements"] if g["gpus"].isdecimal()]
    groups[0]["services"][0]["share_pct"] -= 1
    groups[1]["tasks"] = []
    groups[0]["gpus"] = "1234"
    target = tmp_path / "other.json"
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def test_a_plan_and_itself(cli: Any, solved: Path) -> None:
    done = cli("diff", solved, solved)
    assert done.code == 0
    assert "Nothing moves" in done.out


def test_what_differs(cli: Any, solved: Path, other: Path) -> None:
    done = cli("diff", solved, other)
    assert done.code == 0
    assert "2 moved" in done.out
    assert "1 removed" in done.out
    assert "/1234 " in done.out
    back = cli("diff", other, solved)
    assert "1 added" in back.out


def test_json(cli: Any, solved: Path, other: Path) -> None:
    found = cli("diff", solved, "-", "--json", stdin=other.read_bytes()).json
    assert found["same_instance"] is True
    assert found["counts"] == {"moved": 2, "removed": 1}
    assert len(found["moves"]) == 3


def test_plans_of_different_instances(cli: Any, solved: Path, tmp_path: Path) -> None:
    document = json.loads(solved.read_text(encoding="utf-8"))
    document["instance_sha256"] = "1" * 64
    target = tmp_path / "p.json"
    target.write_text(json.dumps(document), encoding="utf-8")
    assert "different instances" in cli("diff", solved, target).out


def test_an_instance_is_no_plan(cli: Any, solved: Path, quickstart: Path) -> None:
    done = cli("diff", solved, quickstart)
    assert done.code == 2
    assert "colocate/plan/v1" in done.err
