"""Ways to spoil a valid plan. Each yields plans that are wrong for certain, or nothing.

Where a change could be legal by luck (two GPUs of one kind swapped, a share that gives the same
multiprocessors), the change is made only if the plain reading of the formulation says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from colocate.instance import Instance
from colocate.plan import MissingReplicas, Plan, Price
from colocate.runs import count_ids, format_ids, ids_of
from colocate.schema import Evidence
from colocate.testing._plain_model import knobs_of
from colocate.verify import verify
from tests.judging.plans import reworked
from tests.judging.words import in_group, swap, swap_in

Spoiled = Iterator[Plan]
PLAN_CORRUPTIONS: dict[str, tuple[Callable[[Instance, Plan], Spoiled], set[str]]] = {}


def spoils(*kinds: str) -> Callable[[Callable[[Instance, Plan], Spoiled]], object]:
    """Register a corruption, and the kinds of violation of which one must be found."""

    def add(make: Callable[[Instance, Plan], Spoiled]) -> object:
        PLAN_CORRUPTIONS[make.__name__] = make, set(kinds)
        return make

    return add


def group_with(plan: Plan, i: int, **fields: object) -> Plan:
    """Return the plan with other fields of one group."""
    placements = list(plan.placements)
    placements[i] = placements[i].model_copy(update=fields)
    return swap(plan, placements=tuple(placements))


def without_group(plan: Plan, i: int) -> Plan:
    """Return the plan with a group left out."""
    return swap(plan, placements=plan.placements[:i] + plan.placements[i + 1 :])


def one_gpu_less(plan: Plan, g: int) -> Plan:
    """Return the plan without the last GPU of a group."""

    def shorter(runs: str) -> str:
        return format_ids(ids_of(runs)[:-1])

    group = plan.placements[g]
    services = [s.model_copy(update={"replicas": shorter(s.replicas)}) for s in group.services]
    tasks = [t.model_copy(update={"workers": shorter(t.workers)}) for t in group.tasks]
    return group_with(
        plan, g, gpus=shorter(group.gpus), services=tuple(services), tasks=tuple(tasks)
    )


def placed(plan: Plan) -> Iterator[tuple[int, str, int, Any]]:
    """Yield (group, services or tasks, position, what is placed)."""
    for g, group in enumerate(plan.placements):
        for kind in ("services", "tasks"):
            for i, what in enumerate(getattr(group, kind)):
                yield g, kind, i, what


def predicts_otherwise(instance: Instance, plan: Plan) -> bool:
    """Return whether the plain reading predicts something else than the plan states."""
    right = reworked(instance, plan)
    for (*_, a), (*_, b) in zip(placed(plan), placed(right), strict=True):
        for field in type(a.predicted).model_fields:
            x, y = getattr(a.predicted, field), getattr(b.predicted, field)
            if field != "evidence" and abs(x - y) > 1e-6 * max(abs(x), abs(y)):
                return True
    return False


def shares_overflow(instance: Instance, plan: Plan) -> bool:
    """Return whether the shares of some GPU do not fit."""
    for group in plan.placements:
        pool = instance.pool(group.pool)
        taken = sum(
            next((k.taken for k in knobs_of(pool) if k.first <= x.share_pct <= k.last), 10**9)
            for x in in_group(group)
        )
        if taken > pool.sm_count:
            return True
    return False


# -- which instance, which things -----------------------------------------------------------------


@spoils("instance")
def wrong_hash(_: Instance, plan: Plan) -> Spoiled:
    digits = plan.instance_sha256
    yield swap(plan, instance_sha256=digits[:-1] + ("0" if digits[-1] != "0" else "1"))


@spoils("instance")
def wrong_name(_: Instance, plan: Plan) -> Spoiled:
    yield swap(plan, instance_name=f"{plan.instance_name[:50]}x")


@spoils("reference")
def unknown_pool(_: Instance, plan: Plan) -> Spoiled:
    yield group_with(plan, 0, pool="no-such-pool")


@spoils("reference")
def unknown_workload(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        name = "service" if kind == "services" else "task"
        yield swap_in(plan, g, kind, i, **{name: f"{getattr(what, name)[:50]}-x"})


@spoils("reference")
def gpus_out_of_range(instance: Instance, plan: Plan) -> Spoiled:
    for g, group in enumerate(plan.placements):
        pool = instance.pool(group.pool)
        ids = ids_of(group.gpus)
        yield group_with(plan, g, gpus=format_ids(ids + (pool.first + pool.size - ids.min())))


@spoils("reference")
def ordinals_out_of_range(instance: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        if kind == "services":
            beyond = ids_of(what.replicas) + instance.service(what.service).replicas
            yield swap_in(plan, g, kind, i, replicas=format_ids(beyond))
        else:
            task = instance.task(what.task)
            beyond = ids_of(what.workers) + task.count * task.gang_size
            yield swap_in(plan, g, kind, i, workers=format_ids(beyond))


# -- once and only once ---------------------------------------------------------------------------


@spoils("gpu_used_twice")
def group_listed_twice(_: Instance, plan: Plan) -> Spoiled:
    for group in plan.placements:
        yield swap(plan, placements=(*plan.placements, group))


@spoils("gpu_used_twice")
def two_groups_on_one_gpu(_: Instance, plan: Plan) -> Spoiled:
    for g, a in enumerate(plan.placements):
        for b in plan.placements[:g]:
            if a.pool == b.pool:
                low = int(ids_of(b.gpus)[0])
                yield group_with(plan, g, gpus=f"{low}-{low + a.count - 1}")


@spoils("replica_placed_twice", "worker_placed_twice")
def ordinal_placed_twice(_: Instance, plan: Plan) -> Spoiled:
    seen: dict[str, str] = {}
    for g, kind, i, what in placed(plan):
        field = "replicas" if kind == "services" else "workers"
        name = what.service if kind == "services" else what.task
        ids = ids_of(getattr(what, field)).copy()
        if name in seen:
            ids[-1] = ids_of(seen[name])[0]
            yield swap_in(plan, g, kind, i, **{field: format_ids(ids)})
        elif ids.size > 1:
            ids[-1] = ids[0]
            yield swap_in(plan, g, kind, i, **{field: format_ids(ids)})
        seen[name] = getattr(what, field)


@spoils("accounting", "gang", "required_service")
def group_dropped(_: Instance, plan: Plan) -> Spoiled:
    for g in range(len(plan.placements)):
        yield without_group(plan, g)


@spoils("accounting", "gang")
def workers_dropped(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, _what in placed(plan):
        if kind == "tasks":
            tasks = plan.placements[g].tasks
            rest = tasks[:i] + tasks[i + 1 :]
            if rest or plan.placements[g].services:
                yield group_with(plan, g, tasks=rest)
            else:
                yield without_group(plan, g)


@spoils("gang")
def gang_member_dropped(instance: Instance, plan: Plan) -> Spoiled:
    """One GPU with a worker of a gang is left empty."""
    for g, group in enumerate(plan.placements):
        if any(instance.task(t.task).gang_size > 1 for t in group.tasks):
            yield one_gpu_less(plan, g) if group.count > 1 else without_group(plan, g)


@spoils("accounting")
def replicas_miscounted(_: Instance, plan: Plan) -> Spoiled:
    for i, m in enumerate(plan.missing):
        rest = plan.missing[:i] + plan.missing[i + 1 :]
        yield swap(plan, missing=rest)
        yield swap(plan, missing=(*plan.missing, m))
    for _g, kind, _i, what in placed(plan):
        if kind == "services":
            also = MissingReplicas(service=what.service, replicas=what.replicas, reason="outbid")
            yield swap(plan, missing=(*plan.missing, also))


@spoils("accounting", "reference")
def tasks_miscounted(instance: Instance, plan: Plan) -> Spoiled:
    for i, u in enumerate(plan.unplaced):
        yield swap(plan, unplaced=plan.unplaced[:i] + plan.unplaced[i + 1 :])
        yield swap(plan, unplaced=(*plan.unplaced, u))
        n = instance.task(u.task).count
        beyond = u.model_copy(update={"ids": f"{n}-{n + count_ids(u.ids) - 1}"})
        yield swap(plan, unplaced=(*plan.unplaced[:i], beyond, *plan.unplaced[i + 1 :]))
        for other in instance.iter_tasks():
            if other.id != u.task:
                renamed = u.model_copy(update={"task": other.id})
                yield swap(plan, unplaced=(*plan.unplaced[:i], renamed, *plan.unplaced[i + 1 :]))


# -- knobs ----------------------------------------------------------------------------------------


@spoils("share", "prediction", "slo", "rate")
def share_one_more_or_less(instance: Instance, plan: Plan) -> Spoiled:
    """The share changes and the stated multiprocessors with it, as far as they are known."""
    for g, kind, i, what in placed(plan):
        pool = instance.pool(plan.placements[g].pool)
        for share in (what.share_pct + 1, what.share_pct - 1):
            sure = next((k.sure for k in knobs_of(pool) if k.first <= share <= k.last), None)
            spoiled = swap_in(plan, g, kind, i, share_pct=share, sms=sure or what.sms)
            if (
                not 1 <= share <= 100
                or shares_overflow(instance, spoiled)
                or predicts_otherwise(instance, spoiled)
            ):
                yield spoiled


@spoils("share")
def multiprocessors_one_more_or_less(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        yield swap_in(plan, g, kind, i, sms=what.sms + 1)
        yield swap_in(plan, g, kind, i, sms=what.sms - 1)


@spoils("knobs")
def batch_of_nobody(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, _what in placed(plan):
        yield swap_in(plan, g, kind, i, batch=999_983)


@spoils("prediction", "slo", "knobs", "memory", "rate")
def batch_changed(instance: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        if kind == "services":
            profile = instance.profile(
                instance.service(what.service).profile,
                instance.pool(plan.placements[g].pool).gpu_type,
            )
            assert profile is not None
            for known in profile.curve.batches:
                if known.batch != what.batch:
                    spoiled = swap_in(plan, g, kind, i, batch=known.batch)
                    if predicts_otherwise(instance, spoiled):
                        yield spoiled


@spoils("share", "prediction")
def shares_exchanged(instance: Instance, plan: Plan) -> Spoiled:
    for g, group in enumerate(plan.placements):
        if group.services and group.tasks:
            s, t = group.services[0], group.tasks[0]
            spoiled = swap_in(plan, g, "services", 0, share_pct=t.share_pct, sms=t.sms)
            spoiled = swap_in(spoiled, g, "tasks", 0, share_pct=s.share_pct, sms=s.sms)
            if predicts_otherwise(instance, spoiled):
                yield spoiled


# -- places ---------------------------------------------------------------------------------------


@spoils("prediction", "rate", "slo", "memory", "knobs", "share", "pinned_service")
def moved_to_a_gpu_of_another_type(instance: Instance, plan: Plan) -> Spoiled:
    used = {(g.pool, int(i)) for g in plan.placements for i in ids_of(g.gpus)}
    for g, group in enumerate(plan.placements):
        here = instance.pool(group.pool)
        for pool in instance.gpu_pools:
            free = [
                i for i in range(pool.first, pool.first + pool.size) if (pool.id, i) not in used
            ]
            if pool.gpu_type == here.gpu_type or not pool.schedulable or len(free) < group.count:
                continue
            gpus = ",".join(map(str, free[: group.count]))
            spoiled = group_with(plan, g, pool=pool.id, gpus=gpus)
            if predicts_otherwise(instance, spoiled):
                yield spoiled


@spoils("prediction", "rate", "slo", "memory", "knobs", "share", "pinned_service")
def swapped_with_a_gpu_of_another_type(instance: Instance, plan: Plan) -> Spoiled:
    for g, a in enumerate(plan.placements):
        for h, b in enumerate(plan.placements[:g]):
            types = {instance.pool(x.pool).gpu_type for x in (a, b)}
            if len(types) == 2 and a.count == b.count:
                spoiled = group_with(plan, g, pool=b.pool, gpus=b.gpus)
                spoiled = group_with(spoiled, h, pool=a.pool, gpus=a.gpus)
                if predicts_otherwise(instance, spoiled):
                    yield spoiled


@spoils("share")
def moved_to_a_gpu_without_room(instance: Instance, plan: Plan) -> Spoiled:
    """A tenant joins others on a GPU whose shares are taken."""
    for g, kind, i, what in placed(plan):
        for h, group in enumerate(plan.placements):
            if g == h or group.count != plan.placements[g].count:
                continue
            left = getattr(plan.placements[g], kind)
            spoiled = group_with(plan, h, **{kind: (*getattr(group, kind), what)})
            spoiled = group_with(spoiled, g, **{kind: left[:i] + left[i + 1 :]})
            emptied = spoiled.placements[g]
            if not emptied.services and not emptied.tasks:
                spoiled = without_group(spoiled, g)
            if shares_overflow(instance, spoiled):
                yield spoiled


@spoils("prediction")
def company_left_out_of_the_prediction(instance: Instance, plan: Plan) -> Spoiled:
    """What shares a GPU states the numbers that it would have alone."""
    for g, group in enumerate(plan.placements):
        for kind in ("services", "tasks"):
            other = "tasks" if kind == "services" else "services"
            if getattr(group, kind) and getattr(group, other):
                alone = reworked(
                    instance, swap(plan, placements=(group.model_copy(update={other: ()}),))
                )
                said = getattr(alone.placements[0], kind)
                spoiled = group_with(plan, g, **{kind: said})
                if predicts_otherwise(instance, spoiled):
                    yield spoiled


# -- numbers --------------------------------------------------------------------------------------


@spoils("prediction")
def prediction_forged(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        for field in type(what.predicted).model_fields:
            value = getattr(what.predicted, field)
            if field != "evidence" and value > 0:
                better = what.predicted.model_copy(update={field: value * 1.001})
                yield swap_in(plan, g, kind, i, predicted=better)


@spoils("prediction")
def evidence_forged(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, what in placed(plan):
        for evidence in Evidence:
            if evidence is not what.predicted.evidence:
                better = what.predicted.model_copy(update={"evidence": evidence})
                yield swap_in(plan, g, kind, i, predicted=better)


@spoils("prediction")
def prediction_missing(_: Instance, plan: Plan) -> Spoiled:
    for g, kind, i, _what in placed(plan):
        yield swap_in(plan, g, kind, i, predicted=None)


@spoils("objective")
def objective_forged(_: Instance, plan: Plan) -> Spoiled:
    stated = plan.objective
    for value in (stated.value + 1e-4 * max(1, abs(stated.value)), stated.value - 1.0):
        yield swap(plan, objective=stated.model_copy(update={"value": value}))
    other = "min" if stated.sense == "max" else "max"
    yield swap(plan, objective=stated.model_copy(update={"sense": other}))
    yield swap(plan, objective=stated.model_copy(update={"name": "something-else"}))


@spoils("totals")
def totals_forged(_: Instance, plan: Plan) -> Spoiled:
    for field in type(plan.totals).model_fields:
        more = getattr(plan.totals, field) + 1
        yield swap(plan, totals=plan.totals.model_copy(update={field: more}))


@spoils("certificate")
def bound_too_tight(instance: Instance, plan: Plan) -> Spoiled:
    bound = verify(instance, plan).bound
    if bound is not None and plan.certificate is not None:
        sign = 1 if plan.objective.sense == "max" else -1
        for part in (1e-5, 0.5):
            tight = bound - sign * part * max(1.0, abs(bound))
            yield swap(plan, certificate=plan.certificate.model_copy(update={"bound": tight}))


@spoils("certificate")
def prices_of_nobody(_: Instance, plan: Plan) -> Spoiled:
    if plan.certificate is not None:
        nobody = Price(id="nobody-at-all", price=1.0)
        for field in ("services", "tasks"):
            more = (*getattr(plan.certificate, field), nobody)
            yield swap(plan, certificate=plan.certificate.model_copy(update={field: more}))
        for field in ("services", "tasks"):
            twice = getattr(plan.certificate, field) * 2
            if twice:
                yield swap(plan, certificate=plan.certificate.model_copy(update={field: twice}))
