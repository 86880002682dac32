"""Ways to ask for a little more than a valid plan gives: the plan is spoiled, its hash is not.

Each changes the instance so that the plan breaks it for certain, and signs the plan for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from colocate.instance import Instance
from colocate.plan import Plan
from colocate.runs import format_ids, ids_of
from tests.judging.corrupt_plans import placed
from tests.judging.words import in_group

Spec = dict[str, Any]
Case = tuple[Instance, Plan]
RULE_CORRUPTIONS: dict[str, tuple[Callable[[Instance, Plan], Iterator[Spec]], set[str]]] = {}


def spoils(*kinds: str) -> Callable[[Callable[[Instance, Plan], Iterator[Spec]]], object]:
    """Register a corruption, and the kinds of violation of which one must be found."""

    def add(make: Callable[[Instance, Plan], Iterator[Spec]]) -> object:
        RULE_CORRUPTIONS[make.__name__] = make, set(kinds)
        return make

    return add


def spoiled_cases(
    make: Callable[[Instance, Plan], Iterator[Spec]], instance: Instance, plan: Plan
) -> Iterator[Case]:
    """Yield the changed instances with the plan signed for each."""
    for spec in make(instance, plan):
        try:
            changed = Instance.model_validate(spec)
        except ValidationError:
            continue
        yield changed, plan.model_copy(update={"instance_sha256": changed.sha256})


def spec_of(instance: Instance) -> Spec:
    """Return the instance as plain data."""
    return instance.model_dump(by_alias=True, exclude_none=True)


def changing(instance: Instance, where: str, name: str, **fields: Any) -> Iterator[Spec]:
    """Yield the instance with other fields of one pool, service or task, if it is in a list."""
    spec = spec_of(instance)
    for entry in spec[where]:
        if entry["id"] == name:
            entry.update(fields)
            yield spec


def with_rules(instance: Instance, **rules: Any) -> Spec:
    """Return the instance with other rules."""
    spec = spec_of(instance)
    spec["rules"] = {**spec.get("rules", {}), **rules}
    return spec


def residents(plan: Plan, g: int) -> list[str]:
    """Return the ids of what a group holds."""
    group = plan.placements[g]
    return [s.service for s in group.services] + [t.task for t in group.tasks]


@spoils("memory")
def gpus_with_less_memory(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        needed = sum(x.predicted.memory_gib for x in in_group(group) if x.predicted)
        pool = instance.pool(group.pool)
        short = pool.reserve_gib + needed * (1 - 1e-6)
        yield from changing(instance, "gpu_pools", pool.id, memory_gib=short)
        reserve = pool.memory_gib - needed * (1 - 1e-6)
        yield from changing(instance, "gpu_pools", pool.id, reserve_gib=reserve)


@spoils("slo")
def slos_out_of_reach(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for _g, kind, _i, what in placed(plan):
        if kind == "services":
            latency = what.predicted.latency_hi_ms
            short = latency - 1e-6 * max(1.0, latency)
            yield from changing(instance, "services", what.service, slo_ms=short)


@spoils("slo")
def loads_beyond_the_rate(instance: Instance, plan: Plan) -> Iterator[Spec]:
    """The load is a hundredth above what is sure to be served, the SLO far away."""
    if instance.slo_model.name == "fill":
        for _g, kind, _i, what in placed(plan):
            if kind == "services":
                load = what.predicted.rate_lo_rps * 1.01
                fields = {"rate_rps": load, "slo_ms": 1e9}
                yield from changing(instance, "services", what.service, **fields)


@spoils("slo", "prediction")
def more_confidence(instance: Instance, plan: Plan) -> Iterator[Spec]:
    if any(kind == "services" for _, kind, _, _ in placed(plan)):
        yield {**spec_of(instance), "confidence": 0.999_999}


@spoils("clients")
def fewer_clients(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        entries = [instance.service(s.service).processes for s in group.services]
        entries += [instance.task(t.task).processes for t in group.tasks]
        if sum(entries) > 1:
            yield from changing(instance, "gpu_pools", group.pool, max_clients=sum(entries) - 1)


@spoils("services_per_gpu", "tasks_per_gpu", "workloads_per_gpu", "tenants_per_gpu")
def tighter_limits(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        n_services, n_tasks = len(group.services), len(group.tasks)
        if n_services:
            yield with_rules(instance, services_per_gpu=n_services - 1)
        if n_tasks:
            yield with_rules(instance, tasks_per_gpu=n_tasks - 1)
        if n_services + n_tasks > 1:
            yield with_rules(instance, workloads_per_gpu=n_services + n_tasks - 1)
        owners = {instance.service(s.service).tenant for s in group.services}
        owners |= {instance.task(t.task).tenant for t in group.tasks}
        if len(owners) > 1:
            yield with_rules(instance, tenants_per_gpu=len(owners) - 1)


@spoils("user_id")
def another_user(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for g in range(len(plan.placements)):
        names = residents(plan, g)
        if len(set(names)) > 1:
            for where in ("services", "tasks"):
                yield from changing(instance, where, names[0], user_id=4_000_000_000)


@spoils("anti_affinity")
def kept_apart(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for g in range(len(plan.placements)):
        names = residents(plan, g)
        if len(names) > 1:
            yield with_rules(instance, anti_affinity=[{"left": names[:1], "right": names[1:]}])
            yield with_rules(instance, anti_affinity=[{"left": names[-1:], "right": names[:-1]}])


@spoils("quota")
def quotas_and_floors(instance: Instance, plan: Plan) -> Iterator[Spec]:
    workers: dict[str, float] = {}
    shares: dict[str, float] = {}
    for _g, kind, _i, what in placed(plan):
        if kind == "tasks":
            task, n = instance.task(what.task), ids_of(what.workers).size
            workers[task.tenant] = workers.get(task.tenant, 0) + n / task.gang_size
            shares[task.tenant] = shares.get(task.tenant, 0) + n * what.share_pct / 100
    for unit, amounts in (("tasks", workers), ("gpu_share", shares)):
        for tenant, amount in amounts.items():
            quota = {"tenant": tenant, "unit": unit}
            yield with_rules(instance, quotas=[{**quota, "maximum": amount * (1 - 1e-6)}])
            yield with_rules(instance, quotas=[{**quota, "minimum": amount * (1 + 1e-6)}])


@spoils("unschedulable")
def gpus_out_of_service(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        yield from changing(instance, "gpu_pools", group.pool, schedulable=False)


@spoils("share")
def larger_smallest_shares(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for _g, kind, _i, what in placed(plan):
        if kind == "services" and what.share_pct < 100:
            more = what.share_pct + 1
            yield from changing(instance, "services", what.service, min_share_pct=more)


@spoils("knobs")
def other_batches(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for g, kind, _i, what in placed(plan):
        if kind == "services":
            pool = instance.pool(plan.placements[g].pool)
            profile = instance.profile(instance.service(what.service).profile, pool.gpu_type)
            assert profile is not None
            others = [b.batch for b in profile.curve.batches if b.batch != what.batch]
            if others:
                yield from changing(instance, "services", what.service, batches=others)


@spoils("pinned_service")
def pinned_elsewhere(instance: Instance, plan: Plan) -> Iterator[Spec]:
    """Pinned to as many GPUs, of which one is not where a replica is."""
    everywhere = [(p.id, i) for p in instance.gpu_pools for i in range(p.first, p.first + p.size)]
    for service in instance.services:
        held = [
            (g.pool, int(i))
            for g in plan.placements
            for s in g.services
            if s.service == service.id
            for i in ids_of(g.gpus)
        ]
        free = [at for at in everywhere if at not in held]
        pins = [*held[1:], *free][: service.replicas]
        if held and len(pins) == service.replicas:
            refs = [{"pool": pool, "gpus": str(i)} for pool, i in pins]
            yield from changing(instance, "services", service.id, pinned=refs)


@spoils("required_service")
def required_after_all(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for m in plan.missing:
        for spec in changing(instance, "services", m.service, required=True):
            for s in spec["services"]:
                if s["id"] == m.service:
                    del s["missing_price"]
            yield spec


@spoils("accounting", "required_service")
def more_of_everything(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for s in instance.services:
        if s.pinned is None:
            yield from changing(instance, "services", s.id, replicas=s.replicas + 1)
    for t in instance.tasks:
        yield from changing(instance, "tasks", t.id, count=t.count + 1)


@spoils("accounting", "reference")
def less_of_everything(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for s in instance.services:
        if s.replicas > 1:
            yield from changing(instance, "services", s.id, replicas=s.replicas - 1)
    for t in instance.tasks:
        if t.count > 1:
            yield from changing(instance, "tasks", t.id, count=t.count - 1)


@spoils("gang", "accounting", "reference")
def larger_gangs(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for t in instance.tasks:
        if any(t.id in residents(plan, g) for g in range(len(plan.placements))):
            yield from changing(instance, "tasks", t.id, gang_size=t.gang_size + 1)


@spoils("objective")
def other_weights(instance: Instance, plan: Plan) -> Iterator[Spec]:
    if abs(plan.objective.value) > 1e-3:
        for t in instance.tasks:
            held = any(t.id in residents(plan, g) for g in range(len(plan.placements)))
            if held or instance.objective.name == "iteration_time":
                yield from changing(instance, "tasks", t.id, weight=t.weight * 1.5)
    for m in plan.missing:
        price = (instance.service(m.service).missing_price or 0.0) + 0.75
        yield from changing(instance, "services", m.service, missing_price=price)


@spoils("objective")
def another_objective(instance: Instance, plan: Plan) -> Iterator[Spec]:
    if instance.objective.name == "throughput":
        other: Spec = {"name": "iteration_time", "params": {"unplaced_s": 123.0}}
    else:
        other = {"name": "throughput"}
    yield {**spec_of(instance), "objective": other}


@spoils("prediction", "slo")
def slower_profiles(instance: Instance, plan: Plan) -> Iterator[Spec]:
    """Every rate is a hundredth lower."""
    spec = spec_of(instance)
    for profile in spec["profiles"]:
        for at in profile["curve"]["batches"]:
            for point in at.get("points", ()):
                point["rate"] *= 0.99
            for line in at.get("lines", ()):
                line["intercept"] *= 0.99
                line["slope"] *= 0.99
    if plan.placements:
        yield spec


@spoils("prediction", "slo")
def more_interference(instance: Instance, plan: Plan) -> Iterator[Spec]:
    spec = spec_of(instance)
    model = spec.get("interference", {})
    for pair in model.get("pairs", ()):
        pair["slowdown"] *= 1.01
    if "default_slowdown" in model:
        model["default_slowdown"] *= 1.01
    if any(len(residents(plan, g)) > 1 for g in range(len(plan.placements))):
        yield spec


@spoils("rate")
def company_unknown(instance: Instance, plan: Plan) -> Iterator[Spec]:
    if any(len(residents(plan, g)) > 1 for g in range(len(plan.placements))):
        yield {**spec_of(instance), "interference": {}}


@spoils("rate")
def profile_of_another_gpu(instance: Instance, plan: Plan) -> Iterator[Spec]:
    """The GPUs turn out to be of a type that nothing was measured on."""
    for group in plan.placements:
        yield from changing(instance, "gpu_pools", group.pool, gpu_type="never-measured")


@spoils("prediction", "memory")
def hungrier_profiles(instance: Instance, plan: Plan) -> Iterator[Spec]:
    if any(kind == "services" for _, kind, _, _ in placed(plan)):
        spec = spec_of(instance)
        for profile in spec["profiles"]:
            for point in profile.get("memory", ()):
                point["memory_gib"] *= 1.01
        yield spec


@spoils("prediction", "memory", "clients")
def more_processes(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for g in range(len(plan.placements)):
        for name in residents(plan, g):
            for where in ("services", "tasks"):
                yield from changing(instance, where, name, processes=7)


@spoils("share", "prediction")
def fewer_multiprocessors(instance: Instance, plan: Plan) -> Iterator[Spec]:
    """Every share gives fewer multiprocessors than the plan states."""
    for group in plan.placements:
        pool = instance.pool(group.pool)
        if pool.measured_sms is None:
            each = in_group(group)
            fewer = pool.sm_count // 2
            if fewer and any(x.share_pct * fewer // 100 != x.sms for x in each):
                yield from changing(instance, "gpu_pools", pool.id, sm_count=fewer)


@spoils("share")
def shares_never_measured(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        used = {x.share_pct for x in in_group(group)}
        sm_count = instance.pool(group.pool).sm_count
        others = [q for q in (13, 37, 61) if q not in used]
        measured = [{"share_pct": q, "sms": max(1, q * sm_count // 100)} for q in others]
        yield from changing(instance, "gpu_pools", group.pool, measured_sms=measured)


@spoils("reference")
def gpus_renumbered(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements:
        pool = instance.pool(group.pool)
        if all(s.pinned is None for s in instance.services):
            far = pool.first + pool.size
            yield from changing(instance, "gpu_pools", pool.id, first=far)
            last = int(ids_of(group.gpus).max()) - pool.first
            if pool.uuids is None and last > 0:
                yield from changing(instance, "gpu_pools", pool.id, count=last)


@spoils("unsupported")
def rules_of_a_later_version(instance: Instance, plan: Plan) -> Iterator[Spec]:
    del plan
    yield {**with_rules(instance, moves={"price": 1.0}), "current": []}


@spoils("locked")
def a_locked_gpu_that_held_nothing(instance: Instance, plan: Plan) -> Iterator[Spec]:
    for group in plan.placements[:1]:
        gpus = format_ids(ids_of(group.gpus)[:1])
        yield {
            **with_rules(instance, locked=[{"pool": group.pool, "gpus": gpus}]),
            "current": [],
        }
