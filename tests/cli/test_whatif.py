"""`colocate whatif`, and `colocate show --prices`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colocate.io import load_plan, save_instance
from tests.helpers import instance


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    save_instance(instance(), path)
    return path


def test_one_more_gpu(cli: Any, small: Path, tmp_path: Path) -> None:
    plan = tmp_path / "after.json"
    done = cli("whatif", small, "--add-gpus", "a=1", "-o", plan)
    assert done.code == 0
    assert "What if    1 more GPU in pool a (3 instead of 2)" in done.out
    assert "Value      1 better" in done.out
    assert "Gained     1 of task job" in done.out
    assert load_plan(plan).totals.tasks_placed == 3


def test_for_machines(cli: Any, small: Path) -> None:
    done = cli(
        "whatif", small, "--slo", "web=200", "--rate", "web=9.5", "--weight", "job=2", "--json"
    )
    assert done.code == 0
    assert done.json["changes"] == [
        "SLO of web 200 ms instead of 300 ms",
        "load of web 9.5 samples/s at each replica instead of 10",
        "weight of job 2 instead of 1",
    ]
    assert done.json["gain"] == pytest.approx(
        done.json["after"]["value"] - done.json["before"]["value"]
    )
    assert done.json["shift"]["tasks_lost"] == {}


def test_a_change_that_leaves_no_plan(cli: Any, small: Path) -> None:
    done = cli("whatif", small, "--quarantine", "a/0-1")
    assert done.code == 3
    assert "no plan with the change" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what changes"),
        (["--slo", "web"], "--slo takes NAME=VALUE"),
        (["--add-gpus", "a=x"], "'x' is not a whole number"),
        (["--add-gpus", "a=0"], "not a number of at least 1"),
        (["--slo", "nobody=3"], "there is no service 'nobody'"),
        (["--slo", "web=-3"], "slo_ms"),
    ],
)
def test_what_makes_no_sense(cli: Any, small: Path, options: list[str], message: str) -> None:
    done = cli("whatif", small, *options)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_further_changes(cli: Any, small: Path) -> None:
    done = cli(
        *("whatif", small, "--remove-gpus", "a=1", "--memory", "a=12", "--optional", "web"),
        *("--floor", "default=1", "--quota", "default=2", "--json"),
    )
    assert done.code == 0
    assert len(done.json["changes"]) == 5
    assert cli("whatif", small, "--replicas", "web=2").code == 0


def test_prices(cli: Any, small: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert cli("solve", small, "-o", plan, "--quiet").code == 0
    done = cli("show", plan, "--instance", small, "--prices")
    assert done.code == 0
    assert "one more GPU" in done.out
    assert "linear relaxation" in done.out
    found = cli("show", plan, "--instance", small, "--prices", "--json").json
    worth = {(r["kind"], r["name"]): r["worth"] for r in found["marginal"]}
    assert worth["gpu", "a"] == pytest.approx(1.0)
    alone = cli("show", plan, "--prices")
    assert alone.code == 2
    assert "--instance" in alone.err
