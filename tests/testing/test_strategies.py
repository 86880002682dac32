"""The strategies keep their promises, use every rule, and are not vacuous."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from colocate.capability import Capability, needed
from colocate.instance import Instance
from colocate.testing import (
    InstanceKind,
    OracleAnswer,
    boundary_instances,
    degenerate_instances,
    feasible_instances,
    infeasible_instances,
    instances,
    solve_by_enumeration,
)

Spec = dict[str, Any]
DRAWN = 100
AT_LEAST = 0.2


@cache
def drawn(
    kind: InstanceKind,
    number: int = DRAWN,
    supported: frozenset[Capability] | None = None,
    slowdown_tables: bool | None = None,
) -> tuple[Instance, ...]:
    """The same instances in every run."""
    found: list[Instance] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(instances(kind, supported=supported, slowdown_tables=slowdown_tables))
    def keep(instance: Instance) -> None:
        found.append(instance)

    keep()
    return tuple(found)


def changed(instance: Instance, change: Callable[[Spec], None]) -> Instance:
    spec: Spec = json.loads(instance.model_dump_json(by_alias=True, exclude_none=True))
    change(spec)
    return Instance.model_validate(spec)


def same(a: OracleAnswer, b: OracleAnswer) -> bool:
    if a.objective is None or b.objective is None:
        return a.objective is b.objective
    return a.objective == pytest.approx(b.objective, rel=1e-9, abs=1e-9)


# -- not vacuous -------------------------------------------------------------------------------


def no_memory_limit(spec: Spec) -> None:
    for pool in spec["gpu_pools"]:
        pool["memory_gib"] = 1e9


def no_slo(spec: Spec) -> None:
    for service in spec["services"]:
        service["slo_ms"] = 1e12


def no_quota(spec: Spec) -> None:
    spec["rules"]["quotas"] = []


def no_gang(spec: Spec) -> None:
    """Let every worker be a task of its own; a gang's weight is shared out."""
    for task in spec["tasks"]:
        if spec["objective"]["name"] != "throughput":
            task["weight"] /= task["gang_size"]
        task["count"] *= task["gang_size"]
        task["gang_size"] = 1


def counts_gangs(instance: Instance) -> bool:
    """Whether a quota counts the tasks of a tenant with gangs, which `no_gang` would change."""
    tenants = {t.tenant for t in instance.tasks if t.gang_size > 1}
    return any(q.unit == "tasks" and q.tenant in tenants for q in instance.rules.quotas)


def other_weights(spec: Spec) -> None:
    """Ask for as many replicas as possible, then for the later tasks."""
    spec["objective"] = {"name": "throughput"}
    for service in spec["services"]:
        if not service["required"]:
            service["missing_price"] = 100.0
    for i, task in enumerate(spec["tasks"]):
        task["weight"] = 1.0 + 10 * i


def without_change(spec: Spec) -> None:
    del spec


class Asked:
    """An instance under its own objective and another one, each with the best that can be had."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.best = self.answers(without_change)

    def answers(self, without: Callable[[Spec], None]) -> list[OracleAnswer]:
        relaxed = changed(self.instance, without)
        return [solve_by_enumeration(i) for i in (relaxed, changed(relaxed, other_weights))]

    def binds(self, without: Callable[[Spec], None]) -> bool:
        """Whether the rule forbids a plan that would be the best, under either objective."""
        return not all(map(same, self.best, self.answers(without)))


def test_each_rule_decides_in_a_fifth_of_the_instances() -> None:
    """Without the rule there is a better plan: in 20 % of what `instances` draws, or more."""
    mixed = [Asked(i) for i in drawn("any")]
    for without in (no_memory_limit, no_slo, no_quota, no_gang):
        considered = [a for a in mixed if without is not no_gang or not counts_gangs(a.instance)]
        binding = sum(a.binds(without) for a in considered)
        assert binding >= AT_LEAST * len(mixed), f"{without.__name__}: {binding} of {len(mixed)}"


AXES = ("victim_batch", "neighbour_batch", "victim_share_pct", "neighbour_share_pct")


def features(instance: Instance) -> Iterator[str]:
    """What an instance makes use of."""
    rules = instance.rules
    yield instance.objective.name
    yield f"{instance.slo_model.name} {sorted(instance.slo_model.params)}"
    yield f"confidence {instance.confidence}"
    yield f"{len({p.gpu_type for p in instance.gpu_pools})} types"
    for name in ("services_per_gpu", "tasks_per_gpu", "workloads_per_gpu", "tenants_per_gpu"):
        yield f"{name} {getattr(rules, name)}"
    yield "anti_affinity" if rules.anti_affinity else ""
    for a in rules.anti_affinity:
        yield "repels itself" if set(a.left) & set(a.right) else ""
    for q in rules.quotas:
        yield f"{q.unit} maximum" if q.maximum is not None else ""
        yield f"{q.unit} minimum" if q.minimum is not None else ""
    for p in instance.gpu_pools:
        yield f"{p.sm_count} sms"
        for name in ("measured_sms", "uuids"):
            yield name if getattr(p, name) is not None else ""
        for name in ("first", "reserve_gib"):
            yield name if getattr(p, name) else ""
        yield "few clients" if p.max_clients < 48 else ""
        yield "unschedulable" if not p.schedulable else ""
    for s in instance.services:
        yield "required" if s.required else "optional"
        yield "free" if s.missing_price == 0 else ""
        yield "replicas" if s.replicas > 1 else ""
        yield "service processes" if s.processes > 1 else ""
        yield "min_share_pct" if s.min_share_pct > 1 else ""
        for name in ("pinned", "batches", "user_id"):
            yield name if getattr(s, name) is not None else ""
    for t in instance.tasks:
        yield f"gang {t.gang_size}"
        yield "training batches" if t.batches is not None else ""
        yield "several gangs" if t.gang_size > 1 < t.count else ""
        yield "task processes" if t.processes > 1 else ""
        yield "own memory" if t.memory_gib is not None else ""
    for profile in instance.profiles:
        yield profile.curve.family
        yield "several batches" if len(profile.curve.batches) > 1 else ""
        if profile.curve.family == "tabulated":
            rates = [p.rate for p in profile.curve.batches[0].points]
            yield "falling" if rates != sorted(rates) else ""
            yield "flat" if len(rates) > 1 and len(set(rates)) == 1 else ""
            yield "zero" if 0 in rates else ""
    default = instance.interference.default_slowdown
    yield "default slowdown" if default is not None else "no default slowdown"
    for pair in instance.interference.pairs:
        if pair.table is None:
            assert pair.slowdown is not None
            yield "speed-up" if pair.slowdown < 1 else "pair"
            continue
        yield "table"
        for axis, n in zip(AXES, pair.table.shape, strict=True):
            yield f"table over {axis}" if n > 1 else ""
        values = pair.table.slowdown
        yield "table in no order" if values != tuple(sorted(values)) else ""


EXPECTED = {
    *("throughput", "iteration_time", "degradation", "active_gpus", "training batches"),
    *("fill []", "fill ['rho_max']", "mudi []"),
    *("confidence 0.5", "confidence 0.9", "confidence 0.95", "1 types", "2 types"),
    *("services_per_gpu 0", "services_per_gpu 1", "services_per_gpu 2", "tasks_per_gpu 0"),
    *("tasks_per_gpu 1", "tasks_per_gpu 2", "workloads_per_gpu 1", "workloads_per_gpu 2"),
    *("tenants_per_gpu 1", "tenants_per_gpu 2", "anti_affinity", "repels itself"),
    *("tasks maximum", "tasks minimum", "gpu_share maximum", "gpu_share minimum"),
    *("2 sms", "3 sms", "4 sms", "5 sms", "6 sms", "7 sms", "8 sms", "measured_sms", "uuids"),
    *("first", "reserve_gib", "few clients", "unschedulable", "required", "optional", "free"),
    *("replicas", "service processes", "min_share_pct", "pinned", "batches", "user_id"),
    *("gang 1", "gang 2", "gang 3", "several gangs", "task processes", "own memory"),
    *("tabulated", "piecewise_linear", "several batches", "falling", "flat", "zero"),
    *("default slowdown", "no default slowdown", "pair", "speed-up", "table in no order"),
    *("table", *(f"table over {axis}" for axis in AXES)),
}


def test_every_rule_of_the_format_is_drawn() -> None:
    """A few hundred instances use everything that the oracle knows."""
    seen = {f for i in (*drawn("free", 300), *drawn("feasible", 100)) for f in features(i)}
    assert seen >= EXPECTED, EXPECTED - seen


def least_slowdowns(spec: Spec) -> None:
    """Let every table be the smallest of its values."""
    for pair in spec["interference"]["pairs"]:
        if "table" in pair:
            pair["slowdown"] = min(pair.pop("table")["slowdown"])


def test_slowdown_tables_decide() -> None:
    """In a tenth of the instances that have them, the best plan is another, or none is left."""
    found = drawn("any", 40, slowdown_tables=True)
    assert all(any(p.table is not None for p in i.interference.pairs) for i in found)
    binding = 0
    for i in found:
        relaxed = changed(i, least_slowdowns)
        binding += not same(*map(solve_by_enumeration, (i, relaxed)))
    assert binding >= AT_LEAST / 2 * len(found), f"{binding} of {len(found)}"


def test_slowdown_tables_can_be_left_out() -> None:
    """For whoever wants numbers only."""
    found = drawn("any", 30, slowdown_tables=False)
    assert not any(p.table is not None for i in found for p in i.interference.pairs)


def test_instances_are_small_and_differ() -> None:
    """At most four GPUs, three replicas and a few workers; no two of them alike."""
    found = drawn("any")
    assert len({i.sha256 for i in found}) == len(found)
    for i in found:
        assert i.gpu_count <= 4
        assert sum(s.replicas for s in i.services if not s.id.startswith("extra")) <= 3
        assert sum(t.count * t.gang_size for t in i.tasks if not t.id.startswith("extra")) <= 6


# -- kept promises -----------------------------------------------------------------------------


@given(feasible_instances())
def test_feasible_instances_are(instance: Instance) -> None:
    assert solve_by_enumeration(instance).status == "optimal"


@given(infeasible_instances())
def test_infeasible_instances_are(instance: Instance) -> None:
    assert solve_by_enumeration(instance).status == "infeasible"


@given(boundary_instances())
def test_boundary_instances_leave_no_margin(instance: Instance) -> None:
    """They can be satisfied, and with a millionth less memory or time some no longer can."""
    assert solve_by_enumeration(instance).status == "optimal"


def test_a_little_less_is_too_little_for_some_boundary_instances() -> None:
    """The fits are exact: a millionth less memory, or a shorter SLO, changes what can be done."""

    def less_memory(spec: Spec) -> None:
        for pool in spec["gpu_pools"]:
            free = pool["memory_gib"] - pool["reserve_gib"]
            pool["memory_gib"] = pool["reserve_gib"] + free * (1 - 1e-6)

    def less_time(spec: Spec) -> None:
        for service in spec["services"]:
            service["slo_ms"] *= 1 - 1e-6

    found = drawn("boundary", 80)
    for less in (less_memory, less_time):
        affected = [
            i
            for i in found
            if not same(solve_by_enumeration(i), solve_by_enumeration(changed(i, less)))
        ]
        assert len(affected) >= 8, f"{less.__name__}: {len(affected)}"


def test_degenerate_instances_lack_something() -> None:
    """Each of the ways to have next to nothing comes up."""
    found = drawn("degenerate", 100)
    assert any(not i.tasks and i.services for i in found)
    assert any(i.tasks and not i.services for i in found)
    assert any(not i.tasks and not i.services for i in found)
    assert any(not i.gpu_pools for i in found)
    assert any(i.gpu_pools and not any(p.schedulable for p in i.gpu_pools) for i in found)
    assert any(p.sm_count == 1 for i in found for p in i.gpu_pools)
    assert any(i.services and all(s.missing_price == 0 for s in i.services) for i in found)


@given(degenerate_instances())
def test_degenerate_instances_are_within_the_oracles_reach(instance: Instance) -> None:
    answer = solve_by_enumeration(instance)
    if not any(p.schedulable for p in instance.gpu_pools):
        assert answer.assignments == ()


@pytest.mark.parametrize("kind", ["free", "feasible", "infeasible"])
def test_failures_shrink_to_what_they_need(kind: InstanceKind) -> None:
    """Entries that a failure does not need are left out of the example that is shown."""
    smallest = find(
        instances(kind),
        lambda i: bool(i.tasks or kind == "infeasible"),
        settings=settings(max_examples=200, database=None, deadline=None, derandomize=True),
    )
    ids = [s.id for s in smallest.services] + [t.id for t in smallest.tasks]
    extra = [name for name in ids if name.startswith("extra")]
    assert len(smallest.services) + len(smallest.tasks) - len(extra) <= 1


ABOUT_INPUT = sorted(
    set(Capability)
    - {Capability.EXACT, Capability.BOUND, Capability.TIME_LIMIT, Capability.INTERRUPT}
)


@given(st.data())
def test_instances_can_be_drawn_to_the_measure_of_a_solver(data: st.DataObject) -> None:
    """Whatever a solver supports, it is asked for nothing else."""
    supported = frozenset(data.draw(st.sets(st.sampled_from(ABOUT_INPUT))))
    instance = data.draw(instances("free", supported=supported))
    assert needed(instance) <= supported


def test_what_is_supported_is_left_as_it_is() -> None:
    """Nothing is taken out for a solver that supports everything."""
    plain = drawn("any", 30)
    everything = drawn("any", 30, supported=frozenset(Capability))
    assert [i.sha256 for i in plain] == [i.sha256 for i in everything]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of any, free"):
        instances("easy")  # type: ignore[arg-type]
