"""`colocate explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from colocate.io import save_instance
from tests.helpers import instance


@pytest.fixture
def infeasible(tmp_path: Path) -> Path:
    services = [
        {"id": f"s{i}", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0} for i in range(3)
    ]
    path = tmp_path / "infeasible.json"
    save_instance(instance(services=services), path)
    return path


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """Three tasks of which two find room, and one that finds none at all."""
    tasks = [
        {"id": "job", "profile": "train", "batch": 8, "count": 3},
        {"id": "big", "profile": "train", "batch": 8, "memory_gib": 16.5},
    ]
    path = tmp_path / "crowded.json"
    save_instance(instance(tasks=tasks), path)
    return path


def test_no_plan(cli: Any, infeasible: Path) -> None:
    done = cli("explain", infeasible)
    assert done.code == 3
    assert "There is no plan for small." in done.out
    assert "These cannot be met together" in done.out
    assert "- pool a has 2 GPUs (A)" in done.out
    assert "There is a plan with any one of these (checked by solving again)" in done.out
    assert "- 1 more GPU in pool a (3 instead of 2)" in done.out


def test_no_plan_for_machines(cli: Any, infeasible: Path) -> None:
    done = cli("explain", infeasible, "--json")
    assert done.code == 3
    (conflict,) = done.json["conflicts"]
    assert conflict["irreducible"] is True
    parts = [p for s in conflict["statements"] for p in s["parts"]]
    assert {"kind": "gpus", "name": "a", "unit": "", "index": 0} in parts
    changes = [c for s in done.json["suggestions"] for c in s["changes"]]
    assert {"change": "AddGpus", "pool": "a", "count": 1} in changes


def test_no_plan_to_ask_for_a_task_in(cli: Any, infeasible: Path) -> None:
    done = cli("explain", infeasible, "--task", "job")
    assert done.code == 3
    assert "There is no plan for small." in done.out


def test_there_is_a_plan(cli: Any, quickstart: Path) -> None:
    done = cli("explain", quickstart)
    assert done.code == 0
    assert "There is a plan for quickstart." in done.out


def test_undecided(cli: Any, infeasible: Path) -> None:
    done = cli("explain", infeasible, "--time-limit", "0")
    assert done.code == 4
    assert "could not be decided" in done.out


def test_tasks(cli: Any, crowded: Path) -> None:
    done = cli("explain", crowded, "--task", "big")
    assert done.code == 0
    assert "big: 1 task of 1 left out" in done.out
    done = cli("explain", crowded, "--task", "job", "--task", "big", "--json")
    by_name = {t["task"]: t for t in done.json["tasks"]}
    assert by_name["job"]["count"] == 3
    assert by_name["big"]["status"] == "impossible"


def test_every_task_that_a_plan_leaves_out(cli: Any, crowded: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert cli("solve", crowded, "-o", plan, "--quiet").code == 0
    left_out = {u["task"] for u in json.loads(plan.read_text(encoding="utf-8"))["unplaced"]}
    done = cli("explain", crowded, plan, "--json")
    assert done.code == 0
    assert {t["task"] for t in done.json["tasks"]} == left_out
    shown = cli("explain", crowded, plan).out
    assert all(f"{name}: " in shown for name in left_out)


def test_unknown_task(cli: Any, crowded: Path) -> None:
    done = cli("explain", crowded, "--task", "nobody")
    assert done.code == 2
    assert "there is no task 'nobody'" in done.err
