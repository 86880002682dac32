"""`colocate measure`: what it would run, what it refuses, and a campaign on the MPS double."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colocate.executor.measure import here
from colocate.executor.mps import NodeDaemons
from colocate.executor.ports import Daemons, Dialect, Gpus
from colocate.tables.read import read_table
from tests.fakes.double import Double

WORKLOAD = Path(__file__).parents[1] / "executor" / "gpu_check" / "workload.py"
REPOSITORY = Path(__file__).parents[2]


def campaign(path: Path, **effort: float) -> Path:
    def workload(name: str, role: str, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "role": role,
            "command": [sys.executable, str(WORKLOAD), name],
            "environment": {"PYTHONPATH": str(REPOSITORY)},
            "batches": [4, 8],
            **more,
        }

    quick = {
        "warm_up_s": 0.02,
        "window_s": 0.03,
        "steady_windows": 1,
        "steady_within": 0.5,
        "steady_most_s": 0.3,
        "most_windows": 6,
    }
    document = {
        "schema": "colocate/campaign/v1",
        "name": "test",
        "gpu_type": "H100",
        "workloads": [
            workload("bert-inference", "inference", shares_pct=[40, 100]),
            workload("bert-training", "training", batches=[8], shares_pct=[60]),
        ],
        "companies": [
            {"of": ["bert-inference"], "beside": ["bert-training"], "shares_pct": [[40, 60]]}
        ],
        "effort": {**quick, **effort},
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """Put the MPS double where the real one would be."""
    with Double(tmp_path / "bin") as double:

        def real(
            mps_control: str | None, dialect: Dialect, *, allow_root: bool
        ) -> tuple[Gpus, Any]:
            def daemons(root: Path) -> Daemons:
                return NodeDaemons(
                    root,
                    double.binary,
                    allow_root=allow_root,
                    gpus=double.gpus,
                    other_pipes=(),
                    dialect=dialect,
                )

            return double.gpus, daemons

        monkeypatch.setattr(here, "_real", real)
        yield double
        assert double.daemons() == []


def test_a_dry_run_of_the_built_in_campaign_prints_the_runs_and_their_time(cli: Any) -> None:
    done = cli("measure", "--dry-run", "--all")
    assert done.code == 0
    assert "bert-inference b32 40%" in done.out
    assert "gpt2-inference b8 30% beside vgg16-training b64 70%" in done.out
    assert "40 % load" in done.out
    assert "Nothing was measured." in done.out
    plan = cli("measure", "--dry-run", "--json").json
    assert plan["campaign"] == "builtin"
    assert f"Runs       {len(plan['runs'])}:" in done.out
    assert 1800 < plan["needs_s"] < 4 * 3600
    few = cli("measure", "--dry-run").out
    assert f"and {len(plan['runs']) - 20} more runs (--all)" in few


def test_a_dry_run_starts_nothing_and_leaves_nothing(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(here, "bench_here", None)
    assert cli("measure", campaign(tmp_path / "c.json"), "--dry-run").code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def test_without_mps_only_what_needs_none_is_left(cli: Any, tmp_path: Path) -> None:
    plan = cli("measure", campaign(tmp_path / "c.json"), "--dry-run", "--json", "--without-mps")
    assert [r["point"] for r in plan.json["runs"]] == [
        "bert-inference b4 100%",
        "bert-inference b8 100%",
    ]


def test_rows_to_fill_in_take_the_place_of_the_grid(cli: Any, tmp_path: Path) -> None:
    rows = tmp_path / "todo.csv"
    rows.write_text(
        "workload,role,gpu,batch,share_pct,neighbour,neighbour_batch,neighbour_share_pct,rate\n"
        "bert-inference,inference,H100,8,31,bert-training,8,68,\n"
        "bert-training,training,H100,8,68,bert-inference,8,31,\n"
    )
    plan = cli("measure", campaign(tmp_path / "c.json"), "--rows", rows, "--dry-run", "--json").json
    assert [r["point"] for r in plan["runs"]] == [
        "bert-inference b8 31% beside bert-training b8 68%"
    ]


def test_rows_for_another_gpu_are_not_measured_on_this_one(
    cli: Any, tmp_path: Path, node: Double
) -> None:
    rows = tmp_path / "todo.csv"
    common = ("--results", tmp_path / "r", "--root", tmp_path / "root", "--allow-root")
    header = "workload,role,gpu,batch,share_pct,rate\n"
    rows.write_text(f"{header}bert-inference,inference,V100,8,100,\n")
    refused = cli("measure", campaign(tmp_path / "c.json"), "--rows", rows, *common)
    assert refused.code == 2
    assert "'V100'" in refused.err
    assert "'H100'" in refused.err
    rows.write_text(f"{header}bert-inference,inference,H100,0.5,100,\n")
    refused = cli("measure", tmp_path / "c.json", "--rows", rows, *common)
    assert refused.code == 2
    assert "todo.csv:2" in refused.err
    rows.write_text(f"{header}bert-inference,inference,H100,8,100,\n")
    done = cli("measure", tmp_path / "c.json", "--rows", rows, *common, "--json")
    assert done.code == 0, done.err
    assert done.json["measured"] == 1


def test_a_campaign_is_measured_interrupted_and_gone_on_with(
    cli: Any, tmp_path: Path, node: Double
) -> None:
    plan = campaign(tmp_path / "c.json")
    results, table = tmp_path / "r.jsonl", tmp_path / "t.csv"
    common = ("measure", plan, "--results", results, "--root", tmp_path / "root", "--allow-root")
    first = cli(*common, "--budget", "0.2", "--json")
    assert first.code == 0, first.err
    assert first.json["ended"] == "budget"
    left = first.json["left"]
    assert left > 0
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()[1:]}
    again = cli(*common)
    assert again.code == 2
    assert "--resume" in again.err
    still = cli(*common[:4], "--dry-run", "--resume", "--json").json
    assert (still["done"], len(still["runs"])) == (len(done), left)
    second = cli(*common, "--resume", "-o", table)
    assert second.code == 0, second.err
    assert f"{len(done)} were there before; everything is measured" in second.out
    keys = [json.loads(line)["key"] for line in results.read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 6
    file = read_table(table)
    assert file.n_dropped == 0
    assert len(file.table) == 7
    assert set(file.table["gpu"]) == {"H100"}
    assert set(file.table["driver"]) == {node.machine.driver}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished_and_ends_what_was_started(
    cli: Any, tmp_path: Path, node: Double, number: signal.Signals
) -> None:
    results = tmp_path / "r.jsonl"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if results.exists() and results.read_bytes().count(b"\n") > 1:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=interrupt)
    thread.start()
    plan = campaign(tmp_path / "c.json", starts=20)
    common = ("--results", results, "--root", tmp_path / "root", "--allow-root")
    done = cli("measure", plan, *common, "--json")
    thread.join()
    assert done.code == 130, done.err
    found = [json.loads(line) for line in results.read_text().splitlines()[1:]]
    assert 1 <= len(found) < 120
    assert {r["state"] for r in found} == {"measured"}
    assert done.json["ended"] == "stopped"
    assert done.json["measured"] == len(found)


def test_what_is_in_the_way_is_told(cli: Any, tmp_path: Path, node: Double) -> None:
    plan = campaign(tmp_path / "c.json")
    refused = cli("measure", plan, "--gpu", "GPU-0", "--root", tmp_path / "root")
    assert refused.code == 2
    assert node.uuids[0] in refused.err
    results = tmp_path / "r.jsonl"
    for bad in ("nowhere.json", tmp_path):
        assert cli("measure", bad, "--dry-run").code == 2
    assert cli("measure", plan, "-o", "-", "--json").code == 2
    assert cli("measure", plan, "--dry-run", "--resume", "--results", results).code == 2
    assert not results.exists()


def test_in_the_v3_dialect_shares_are_kept_by_spaces(
    cli: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, node: Double
) -> None:
    results = tmp_path / "r.jsonl"
    plan = campaign(tmp_path / "c.json", parked=0)
    root = tmp_path_factory.mktemp("v3", numbered=True) / "r"  # sockets have short paths
    common = ("--results", results, "--root", root, "--allow-root")
    done = cli("measure", plan, *common, "--dialect", "v3", "--json")
    assert done.code == 0, done.err
    seen = {
        (t["workload"], r["rows"][i]["share_pct"]): t["sm_count"]
        for r in map(json.loads, results.read_text().splitlines()[1:])
        for i, t in enumerate(r["evidence"]["tenants"])
    }
    assert seen == {
        ("bert-inference", 40): 52,
        ("bert-inference", 100): 132,
        ("bert-training", 60): 78,
    }
    assert any("namespace" in text for text in node.changes())


def test_without_a_gpu_there_is_advice(cli: Any, tmp_path: Path, node: Double) -> None:
    node.gpus.lost = set(node.uuids)
    done = cli("measure", campaign(tmp_path / "c.json"), "--root", tmp_path / "root")
    assert done.code == 2
    assert "no NVIDIA GPU" in done.err
    assert "Maybe" in done.err
