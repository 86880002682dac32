"""`colocate verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def changed(plan: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    document = json.loads(plan.read_text(encoding="utf-8"))
    change(document)
    target = folder / "changed.json"
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def test_a_valid_plan(cli: Any, quickstart: Path, solved: Path) -> None:
    done = cli("verify", quickstart, solved)
    assert done.code == 0
    assert "the plan is valid" in done.out
    assert "recomputed from the certificate" in done.out
    assert "No plan can be more than" in done.out


def test_a_plan_on_standard_input(cli: Any, quickstart: Path, solved: Path) -> None:
    done = cli("verify", quickstart, "-", "--json", stdin=solved.read_bytes())
    assert done.code == 0
    found = done.json
    assert found["ok"] is True
    assert found["violations"] == []
    assert found["gap"] == pytest.approx((found["bound"] - found["objective"]) / found["bound"])


def more_share(plan: Any) -> None:
    plan["placements"][0]["tasks"][0]["share_pct"] += 1


def forged(plan: Any) -> None:
    plan["objective"]["value"] += 1


def hasty(plan: Any) -> None:
    plan["certificate"]["bound"] = plan["objective"]["value"]


def other(plan: Any) -> None:
    plan["instance_sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "kind"),
    [(more_share, "share"), (forged, "objective"), (hasty, "certificate"), (other, "instance")],
)
def test_a_corrupted_plan_is_1(
    cli: Any, quickstart: Path, solved: Path, tmp_path: Path, change: Any, kind: str
) -> None:
    plan = changed(solved, tmp_path, change)
    done = cli("verify", quickstart, plan)
    assert done.code == 1
    assert "not valid" in done.out
    assert kind in done.out
    machine = cli("verify", quickstart, plan, "--json")
    assert machine.code == 1
    assert machine.json["ok"] is False
    assert kind in {v["kind"] for v in machine.json["violations"]}
    quiet = cli("verify", quickstart, plan, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")


def test_a_malformed_plan_is_2(cli: Any, quickstart: Path, solved: Path, tmp_path: Path) -> None:
    plan = changed(solved, tmp_path, lambda p: p["placements"][0].update(gpus="0-"))
    done = cli("verify", quickstart, plan)
    assert done.code == 2
    assert done.out == ""
    assert "$.placements[0].gpus" in done.err


def test_without_a_certificate_nothing_is_claimed(
    cli: Any, quickstart: Path, solved: Path, tmp_path: Path
) -> None:
    plan = changed(solved, tmp_path, lambda p: p.pop("certificate"))
    done = cli("verify", quickstart, plan)
    assert done.code == 0
    assert "unknown" in done.out
    assert "No plan can be" not in done.out
    assert cli("verify", quickstart, plan, "--json").json["gap"] is None
