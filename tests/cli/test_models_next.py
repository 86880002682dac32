"""`colocate models next`: runs that can be measured as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colocate import datasets
from colocate.io import save_instance
from colocate.profile import ErrorBound
from colocate.tables.read import read_table

MEASURED = "workload,role,gpu,batch,share_pct,rate\n{},inference,{},8,50,100\n"
WIDE = (ErrorBound(confidence=0.9, relative=0.3), ErrorBound(confidence=0.99, relative=0.6))


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small instance whose slowdowns are uncertain."""
    one = datasets.get("greedy-trap")
    pairs = tuple(p.model_copy(update={"error": WIDE}) for p in one.interference.pairs)
    interference = one.interference.model_copy(
        update={"pairs": pairs, "default_slowdown": 1.3, "default_error": WIDE}
    )
    path = tmp_path_factory.mktemp("next") / "instance.json"
    save_instance(one.model_copy(update={"interference": interference}), path)
    return path


@pytest.fixture
def table(instance: Path, tmp_path: Path) -> Path:
    profile = datasets.get("greedy-trap").profiles[0]
    path = tmp_path / "table.csv"
    path.write_text(MEASURED.format(profile.workload, profile.gpu_type), encoding="utf-8")
    return path


def test_the_runs_can_be_measured_and_filled_in(
    cli: Any, table: Path, instance: Path, tmp_path: Path
) -> None:
    target = tmp_path / "todo.csv"
    done = cli("models", "next", table, instance, "-o", target, "--json", "--budget", "6")
    assert done.code == 0
    runs = done.json["runs"]
    assert 1 <= sum(1 + len(run["also"]) for run in runs) <= 6
    asked = read_table(target, queries=True)
    assert asked.n_dropped == 0
    wanted = [
        (t["workload"], t["batch"], t["share_pct"], len(tenants) - 1)
        for run in runs
        for tenants in (run["tenants"], *run["also"])
        for t in tenants
    ]
    rows = asked.table
    assert wanted == [
        (rows["workload"][i], rows["batch"][i], rows["share_pct"][i], len(rows.neighbours(i)))
        for i in range(len(rows))
    ]
    shown = cli("models", "next", table, instance, "--budget", "6")
    assert shown.code == 0
    for run in runs:
        assert all(
            f"{t['workload']} b{t['batch']} {t['share_pct']}%" in shown.out.replace("\n", "")
            for t in run["tenants"][:1]
        )


def test_no_budget(cli: Any, table: Path, instance: Path) -> None:
    done = cli("models", "next", table, instance, "--budget", "0")
    assert done.code == 0
    assert "No runs within the budget of 0" in done.out


def test_wrong_usage(cli: Any, table: Path, instance: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ((table, table), "JSON"),
        ((instance, instance), "'schema' must be 'colocate/profile-table/v1'"),
        ((table, instance, "--budget", "-1"), "--budget"),
        ((table, instance, "--solver", "nope"), "nope"),
        ((table, instance, "-o", table, "--force"), "same file"),
        (("-", "-"), "standard input"),
        ((table, instance, "-o", "-", "--json"), "standard output"),
        ((table, tmp_path / "nothing.json"), "nothing.json"),
    ):
        done = cli("models", "next", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert said in done.err, arguments
        assert "Traceback" not in done.err
