"""The bundled instances: they load, they are what they say, and their facts are about them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import colocate as co
from colocate import datasets
from colocate.errors import InputError
from colocate.io import build_instance, dumps_instance, parse_instance
from colocate.result import Reason
from colocate.schema import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
NAMES = datasets.names()
SMALL = [n for n in NAMES if datasets.describe(n).gpus <= 4]
INFEASIBLE = [n for n in NAMES if n.startswith("infeasible-")]


Raw = dict[str, Any]


def edited(name: str, edit: Callable[[Raw], None]) -> co.Instance:
    """Return a bundled instance after an edit of its JSON."""
    raw = json.loads(datasets.path(name).read_text(encoding="utf-8"))
    edit(raw)
    return build_instance(raw)


def named(raw: Raw, where: str, entry_id: str) -> Raw:
    (found,) = (entry for entry in raw[where] if entry["id"] == entry_id)
    return cast("Raw", found)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


# -- files -------------------------------------------------------------------------------------


def test_the_bundle_is_as_rich_as_promised():
    assert "quickstart" in NAMES
    assert len(INFEASIBLE) >= 3
    assert len(SMALL) - len(INFEASIBLE) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_file_loads_round_trips_and_stays_small(name):
    instance = datasets.get(name)
    assert instance.name == name
    assert len(instance.description) > 60
    assert parse_instance(dumps_instance(instance)).sha256 == instance.sha256
    assert datasets.path(name).stat().st_size < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_description_agrees_with_the_instance(name):
    instance, about = datasets.get(name), datasets.describe(name)
    assert (about.name, about.description) == (name, instance.description)
    assert about.gpus == instance.gpu_count
    assert about.replicas == sum(s.replicas for s in instance.iter_services())
    assert about.tasks == sum(t.count for t in instance.iter_tasks())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_bundled_claims_to_be_measured(name):
    instance = datasets.get(name)
    told = [p.evidence for p in instance.profiles] + [
        p.evidence for p in instance.interference.pairs
    ]
    assert Evidence.MEASURED not in told


@pytest.mark.parametrize("name", ["nope", "../catalogue", "quickstart.facts", ""])
def test_unknown_names_are_refused_with_the_known_ones(name):
    for ask in (datasets.get, datasets.path, datasets.describe):
        with pytest.raises(InputError, match=r"known: .*quickstart") as caught:
            ask(name)
        assert "Maybe" in str(caught.value)


def test_listing_costs_no_heavy_import():
    code = (
        "import sys, colocate.datasets as d; d.describe(d.names()[0]); d.families();"
        "print([m for m in ('numpy', 'scipy', 'pydantic') if m in sys.modules])"
    )
    assert run("-c", code).stdout.strip() == "[]"


# -- facts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_about_this_very_instance(name):
    facts = datasets.describe(name).facts
    assert facts is not None
    assert facts.instance_sha256 == datasets.get(name).sha256
    assert len(set(facts.certified_by)) >= 2
    assert set(facts.certified_by) & {"oracle", "assignment"}
    assert set(facts.certified_by) & {"brute_force", "milp"}
    assert (facts.status == "infeasible") == (facts.objective is None) == (name in INFEASIBLE)


@pytest.mark.parametrize("name", SMALL)
def test_the_exact_solver_finds_the_certified_optimum(name):
    facts = datasets.describe(name).facts
    assert facts is not None
    result = co.solve(datasets.get(name), "brute_force")
    assert result.termination.reason.value == facts.status
    if facts.objective is not None:
        assert result.objective == pytest.approx(facts.objective, rel=1e-9, abs=1e-9)


@pytest.mark.deep
def test_facts_can_be_found_again():
    done = run("benchmarks/certify_datasets.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_what_their_recipes_make():
    done = run("benchmarks/write_datasets.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


# -- what each is for --------------------------------------------------------------------------


def test_quickstart_is_worth_solving():
    instance = datasets.get("quickstart")
    facts = datasets.describe("quickstart").facts
    assert facts is not None
    assert facts.objective is not None
    assert (len(instance.services), len(instance.tasks)) == (6, 9)
    assert sum(t.count for t in instance.tasks) > instance.gpu_count
    greedy = co.solve(instance, "greedy")
    assert greedy.plan is not None
    assert greedy.objective is not None
    assert 0.85 * facts.objective < greedy.objective < 0.98 * facts.objective
    shares = {s.share_pct for g in greedy.plan.placements for s in g.services}
    assert max(shares) > 2 * min(shares)


def test_greedy_falls_into_the_trap():
    facts = datasets.describe("greedy-trap").facts
    assert facts is not None
    assert facts.objective is not None
    greedy = co.solve(datasets.get("greedy-trap"), "greedy")
    assert greedy.objective is not None
    assert greedy.objective < 0.6 * facts.objective


def test_no_prices_close_the_gap_of_the_gang():
    result = co.solve(datasets.get("gang-lp-gap"), "brute_force")
    assert result.objective == pytest.approx(2.0)
    assert result.bound == pytest.approx(3.0)


def test_one_sm_decides():
    plan = co.solve(datasets.get("one-sm-off"), "brute_force").plan
    assert plan is not None
    (group,) = plan.placements
    (service,), (task,) = group.services, group.tasks
    assert (service.share_pct, service.sms) == (34, 36)
    assert (task.share_pct, task.sms) == (65, 70)


def test_exact_fits_exceed_their_limits_in_binary():
    instance = datasets.get("exact-fits")
    (pool,) = instance.gpu_pools
    memory = {p.workload: p.memory[0].memory_gib for p in instance.profiles}
    assert memory["web"] + memory["first"] > pool.memory_gib
    assert (instance.rules.quotas[0].maximum or 0.0) < 0.1 + 0.2
    plan = co.solve(instance, "brute_force").plan
    assert plan is not None
    placed = {t.task: t.share_pct for g in plan.placements for t in g.tasks}
    assert placed == {"beside-slo": 10, "beside-load": 20}


def less_memory(raw: Raw) -> None:
    raw["gpu_pools"][0]["memory_gib"] = 0.299


def fewer_clients(raw: Raw) -> None:
    raw["gpu_pools"][0]["max_clients"] = 1


def shorter_slo(raw: Raw) -> None:
    named(raw, "services", "at-slo")["slo_ms"] = 47.9


def smaller_load(raw: Raw) -> None:
    raw["slo_model"] = {"name": "fill", "params": {"rho_max": 0.949}}


def smaller_quota(raw: Raw) -> None:
    raw["rules"]["quotas"][0]["maximum"] = 0.299


@pytest.mark.parametrize(
    "tighten", [less_memory, fewer_clients, shorter_slo, smaller_load, smaller_quota]
)
def test_each_exact_fit_is_exact(tighten):
    facts = datasets.describe("exact-fits").facts
    assert facts is not None
    assert facts.objective is not None
    result = co.solve(edited("exact-fits", tighten), "brute_force")
    assert result.objective is None or result.objective < facts.objective - 0.01


CURES: dict[str, dict[str, Any]] = {
    "infeasible-slo": {"services": {"slo_ms": 24.0}},
    "infeasible-memory": {"gpu_pools": {"reserve_gib": 1.0}},
    "infeasible-too-few-gpus": {"gpu_pools": {"schedulable": True}},
    "infeasible-floor": {"services": {"rate_rps": 600.0}},
    "infeasible-users": {"services": {"user_id": 1000}},
    "infeasible-unknown-company": {"interference": {"default_slowdown": 1.2}},
}


@pytest.mark.parametrize("name", INFEASIBLE)
def test_an_infeasible_instance_is_cured_by_lifting_its_cause(name):
    raw = json.loads(datasets.path(name).read_text(encoding="utf-8"))
    ((part, cure),) = CURES[name].items()
    entries = raw[part] if isinstance(raw[part], list) else [raw[part]]
    for entry in entries:
        entry.update(cure)
    assert co.solve(datasets.get(name), "brute_force").termination.reason is Reason.INFEASIBLE
    assert co.solve(build_instance(raw), "brute_force").termination.reason is Reason.OPTIMAL


def roomier(raw: Raw) -> None:
    raw["gpu_pools"][0]["memory_gib"] = 64.0


def more_patient(raw: Raw) -> None:
    named(raw, "services", "fast")["slo_ms"] = 60.0


def friendlier(raw: Raw) -> None:
    del raw["rules"]["anti_affinity"]


def one_user(raw: Raw) -> None:
    for workload in (*raw["services"], *raw["tasks"]):
        workload.pop("user_id", None)


def more_clients(raw: Raw) -> None:
    del raw["gpu_pools"][0]["max_clients"]


def unpinned(raw: Raw) -> None:
    for service in raw["services"]:
        service.pop("pinned", None)


def without_quotas(raw: Raw) -> None:
    del raw["rules"]["quotas"]


def better(a: float, b: float) -> bool:
    return a > b + 1e-6


def worse(a: float, b: float) -> bool:
    return a < b - 1e-6


def unmeasured(raw: Raw) -> None:
    del raw["gpu_pools"][0]["measured_sms"]


def one_task(raw: Raw) -> None:
    raw["rules"]["tasks_per_gpu"] = 1


def stable(raw: Raw) -> None:
    raw["slo_model"] = {"name": "fill"}


def free_workers(raw: Raw) -> None:
    for task in raw["tasks"]:
        task["count"] = task.get("count", 1) * task.pop("gang_size", 1)


@pytest.mark.parametrize(
    ("name", "edit", "compare"),
    [
        ("memory-bound", roomier, better),
        ("slo-bound", more_patient, better),
        ("anti-affinity", friendlier, better),
        ("user-ids", one_user, better),
        ("client-limit", more_clients, better),
        ("pinned-services", unpinned, better),
        ("quota-and-floor", without_quotas, better),
        ("gang-of-two", free_workers, better),
        ("gang-of-three", free_workers, better),
        ("gang-lp-gap", free_workers, better),
        ("gang-distinct-gpus", free_workers, better),
        ("measured-sms", unmeasured, worse),
        ("two-tasks-per-gpu", one_task, worse),
        ("mudi-slo", stable, worse),
    ],
)
def test_what_an_instance_is_named_after_decides_its_optimum(name, edit, compare):
    facts = datasets.describe(name).facts
    assert facts is not None
    assert facts.objective is not None
    other = co.solve(edited(name, edit), "brute_force")
    assert other.objective is not None
    assert compare(other.objective, facts.objective)
