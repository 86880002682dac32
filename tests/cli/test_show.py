"""`colocate show`: instances and plans, whole and summarised, and nothing raw."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colocate.cli.console import console
from colocate.cli.instance_view import print_instance
from colocate.cli.plan_view import print_coverage, print_plan
from colocate.datasets import get
from colocate.io import load_plan
from colocate.plan import ObjectiveValue, Plan, Totals, UnplacedTasks
from colocate.runs import count_ids

MARKUP = "[bold]b[/bold] [red] :smile: <b>& \\[x]"
NASTY = "a\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\r\nnext \x9b2J " + MARKUP

PLAN = Plan(
    instance_name="x",
    instance_sha256="0" * 64,
    solver="greedy",
    objective=ObjectiveValue(name="throughput", sense="max", value=0.0),
    totals=Totals(
        gpus_used=0,
        gpus_shared=0,
        replicas_placed=0,
        replicas_missing=0,
        tasks_placed=0,
        tasks_unplaced=1,
        normalised_throughput=0.0,
    ),
)


def with_plan(plan: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    document = json.loads(plan.read_text(encoding="utf-8"))
    change(document)
    target = folder / "plan.json"
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def long_plan(document: Any) -> None:
    """Make every GPU different from every other one."""
    first = document["placements"][0]
    document["placements"] = [
        {
            **first,
            "pool": "node-0",
            "gpus": str(i),
            "services": [{**first["services"][0], "replicas": str(i), "sms": i + 1}],
            "tasks": [{**first["tasks"][0], "task": f"task-{i}", "workers": "0"}],
        }
        for i in range(200)
    ]


def test_an_instance(cli: Any, quickstart: Path) -> None:
    done = cli("show", quickstart)
    assert done.code == 0
    for words in ("GPU pools", "Inference services", "Training tasks", "Rules", "a100-40gb"):
        assert words in done.out
    assert cli("show", "-", stdin=quickstart.read_bytes()).out == done.out


def test_an_instance_in_json(cli: Any, quickstart: Path) -> None:
    found = cli("show", quickstart, "--json").json
    assert found["kind"] == "instance"
    assert (found["gpus"], found["replicas"], found["tasks"]) == (12, 12, 17)


def test_every_rule_is_told(cli: Any, dataset: Callable[[str], Path]) -> None:
    out = cli("show", dataset("everything")).out
    for words in ("tenant a: at most 2 GPUs' worth", "apart: gang | guest", "or not at all"):
        assert words in out


def test_a_plan(cli: Any, solved: Path, quickstart: Path) -> None:
    done = cli("show", solved)
    assert done.code == 0
    assert "Who shares with whom" in done.out
    assert "As the plan states" in done.out
    assert "SLO ms" not in done.out
    assert "SLO ms" in cli("show", solved, "--instance", quickstart).out


def test_each_gpu_is_counted_once(cli: Any, solved: Path) -> None:
    found = cli("show", solved, "--json").json
    plan = load_plan(solved)
    assert sum(row["count"] for row in found["gpus"]) == plan.totals.gpus_used
    assert sum(row["placed"] for row in found["services"]) == plan.totals.replicas_placed
    assert sum(row["count"] for row in found["gpus"]) == sum(
        count_ids(g.gpus) for g in plan.placements
    )


def test_the_instance_must_be_the_plans_own(
    cli: Any, solved: Path, dataset: Callable[[str], Path]
) -> None:
    done = cli("show", solved, "--instance", dataset("single-pair"))
    assert done.code == 2
    assert "hash" in done.err


def test_coverage(cli: Any, solved: Path, tmp_path: Path) -> None:
    def mixed(document: Any) -> None:
        for group, service, task in zip(
            document["placements"],
            ["measured", "measured", "regressed", "measured"],
            ["measured", "regressed", "measured", "constant"],
            strict=False,
        ):
            group["services"][0]["predicted"]["evidence"] = service
            group["tasks"][0]["predicted"]["evidence"] = task

    plan = with_plan(solved, tmp_path, mixed)
    groups = load_plan(plan).placements
    expected = {"measured": groups[0].count, "regressed": groups[1].count + groups[2].count}
    expected["constant"] = sum(g.count for g in groups[3:])
    done = cli("show", plan, "--coverage")
    assert done.code == 0
    for grade, count in expected.items():
        (line,) = [x for x in done.out.splitlines() if x.startswith(f"{grade} ")]
        assert line.split()[1] == str(count)
    assert cli("show", plan, "--json").json["coverage"]["gpus"] == {**expected, "unknown": 0}


def test_coverage_of_an_instance(cli: Any, quickstart: Path) -> None:
    done = cli("show", quickstart, "--coverage")
    assert done.code == 0
    assert "constant" in done.out


def test_a_long_plan_is_summarised(cli: Any, solved: Path, tmp_path: Path) -> None:
    plan = with_plan(solved, tmp_path, long_plan)
    short, whole = cli("show", plan), cli("show", plan, "--all")
    assert "... and 176 more combinations on 176 GPUs" in short.out
    assert len(short.out.splitlines()) < 120
    assert "more combinations" not in whole.out
    assert whole.out.count("node-0/") == 200


def test_groups_that_hold_the_same_are_one_line(cli: Any, solved: Path, tmp_path: Path) -> None:
    def split(document: Any) -> None:
        group = next(g for g in document["placements"] if "-" in g["gpus"] or "," in g["gpus"])
        first = group["gpus"].replace("-", ",").split(",")[0]
        replica = group["services"][0]["replicas"].replace("-", ",").split(",")[0]
        worker = group["tasks"][0]["workers"].replace("-", ",").split(",")[0]
        group["gpus"] = first
        group["services"][0]["replicas"] = replica
        group["tasks"][0]["workers"] = worker
        twin = json.loads(json.dumps(group))
        twin["gpus"] = str(int(first) + 1)
        document["placements"] = [group, twin]

    plan = with_plan(solved, tmp_path, split)
    (row,) = cli("show", plan, "--json").json["gpus"]
    assert row["count"] == 2


def test_markup_in_text_is_only_text(
    cli: Any, solved: Path, dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    def spoil(document: Any) -> None:
        document["unplaced"][0]["detail"] = MARKUP

    instance = dataset("single-pair")
    document = json.loads(instance.read_text(encoding="utf-8"))
    document["description"] = MARKUP
    instance.write_text(json.dumps(document), encoding="utf-8")
    for file in (with_plan(solved, tmp_path, spoil), instance):
        done = cli("show", file)
        assert done.code == 0
        assert MARKUP in done.out


def test_consoles_read_no_markup() -> None:
    stream = io.StringIO()
    console(stream).print(MARKUP)
    assert stream.getvalue() == MARKUP + "\n"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
@example(NASTY)
@settings(max_examples=15)
def test_no_text_of_a_plan_or_instance_is_shown_raw(text: str) -> None:
    """Objects can also be made in Python, past the checks of a file."""
    instance = get("infeasible-memory").model_copy(update={"description": text})
    gone = UnplacedTasks(task="x", ids="0", reason="memory", detail=text)
    plan = PLAN.model_copy(update={"unplaced": (gone,)})
    stream = io.StringIO()
    out = console(stream)
    print_instance(out, instance)
    print_plan(out, plan, instance)
    print_coverage(out, plan)
    assert all(c == "\n" or c.isprintable() for c in stream.getvalue())


@pytest.mark.parametrize("kind", ["profiles/v1", "instance", "poem/v1"])
def test_other_files_are_refused(cli: Any, kind: str) -> None:
    done = cli("show", "-", stdin=json.dumps({"schema": f"colocate/{kind}"}))
    assert done.code == 2
    assert "colocate/instance/v1" in done.err


def test_a_wrong_version_is_told(cli: Any) -> None:
    done = cli("show", "-", stdin='{"schema": "colocate/plan/v9"}')
    assert done.code == 2
    assert "<stdin>" in done.err
