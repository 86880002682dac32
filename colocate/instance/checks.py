"""Cross-references and contradictions within an instance, each with path, values and advice."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from colocate.errors import InstanceError
from colocate.instance.batch_checks import check_service, check_tables, check_task
from colocate.runs import MAX_ORDINAL, iter_runs

if TYPE_CHECKING:
    from colocate.instance.fields import InstanceFields
    from colocate.instance.parts import GpuPool, GpuRef, Service
    from colocate.placement import PlacementGroup
    from colocate.profile import Profile

MAX_GPUS = 10_000_000
MAX_WORKERS = 100_000_000
_SIDE = MAX_ORDINAL.bit_length()
_LAST = (1 << _SIDE) - 1


def check_instance(instance: InstanceFields) -> None:
    """Raise `InstanceError` at the first contradiction."""
    _pools(instance)
    _unique("profiles", ((p.workload, p.gpu_type) for p in instance.profiles))
    _tables(instance)
    profiled: dict[str, list[Profile]] = {}
    for p in instance.profiles:
        profiled.setdefault(p.workload, []).append(p)
    for i, p in enumerate(instance.profiles):
        if p.role != profiled[p.workload][0].role:
            raise InstanceError(
                f"workload {p.workload!r} is profiled as inference and as training",
                path=f"$.profiles[{i}].role",
                advice="give the two roles two workload names.",
            )
    pools = {p.id: p for p in instance.gpu_pools}
    for i, s in enumerate(instance.services):
        _service(s, f"$.services[{i}]", profiled, pools)
    for i, t in enumerate(instance.tasks):
        check_task(t, f"task {t.id!r}", f"$.tasks[{i}]", profiled)
    check_tables(instance, profiled)
    _workers(instance)
    _rules(instance, pools)


def _unique(where: str, keys: Iterable[object]) -> None:
    seen = set()
    for i, key in enumerate(keys):
        if key in seen:
            shown = key if isinstance(key, str) else " on ".join(key)  # type: ignore[arg-type]
            raise InstanceError(
                f"{shown!r} is listed twice", path=f"$.{where}[{i}]", advice="remove or rename one."
            )
        seen.add(key)


def _pools(instance: InstanceFields) -> None:
    _unique("gpu_pools", (p.id for p in instance.gpu_pools))
    owners: dict[str, str] = {}
    for i, p in enumerate(instance.gpu_pools):
        path = f"$.gpu_pools[{i}]"
        if (p.count is None) == (p.uuids is None):
            raise InstanceError(
                f"pool {p.id!r} must have exactly one of count and uuids",
                path=path,
                advice="keep `count` for anonymous GPUs, `uuids` for GPUs known by name.",
            )
        if p.reserve_gib >= p.memory_gib:
            raise InstanceError(
                f"pool {p.id!r} reserves {p.reserve_gib:g} GiB of {p.memory_gib:g} GiB",
                path=f"{path}.reserve_gib",
                advice="lower reserve_gib, or set schedulable to false.",
            )
        for j, uuid in enumerate(p.uuids or ()):
            if uuid in owners:
                raise InstanceError(
                    f"GPU {uuid} is in pool {owners[uuid]!r} and in pool {p.id!r}",
                    path=f"{path}.uuids[{j}]",
                    advice="remove one of them.",
                )
            owners[uuid] = p.id
        seen: dict[int, int] = {}
        for j, m in enumerate(p.measured_sms or ()):
            if m.sms > p.sm_count or m.share_pct in seen:
                raise InstanceError(
                    f"pool {p.id!r}: {m.sms} multiprocessors at {m.share_pct} % "
                    f"(GPU has {p.sm_count}; each percentage once)",
                    path=f"{path}.measured_sms[{j}]",
                    advice="check sm_count and the measured list.",
                )
            seen[m.share_pct] = m.sms
    if instance.gpu_count > MAX_GPUS:
        raise InstanceError(
            f"{instance.gpu_count} GPUs; at most {MAX_GPUS} can be planned at once",
            path="$.gpu_pools",
            advice="split the instance by cluster.",
        )


def _tables(instance: InstanceFields) -> None:
    ids = [s.id for s in instance.services]
    _unique("services", ids)
    seen = set(ids)
    for i, t in enumerate(instance.tasks):
        if t.id in seen:
            raise InstanceError(
                f"{t.id!r} is listed twice among services and tasks",
                path=f"$.tasks[{i}].id",
                advice="rename one: ids are shared by services and tasks.",
            )
        seen.add(t.id)
    tables = {"service_table": instance.service_table, "task_table": instance.task_table}
    for where, table in tables.items():
        if table is None:
            continue
        for field in type(table).model_fields:
            value = getattr(table, field)
            if isinstance(value, tuple) and field != "batches" and len(value) != table.rows:
                raise InstanceError(
                    f"column {field!r} has {len(value)} values for {table.rows} rows",
                    path=f"$.{where}.{field}",
                    advice="give one value for each row, or a single value for all.",
                )
        for name in seen:
            if name.startswith(table.id_prefix) and name[len(table.id_prefix) :].isdecimal():
                raise InstanceError(
                    f"{name!r} is also the name of a row of {where}",
                    path=f"$.{where}.id_prefix",
                    advice="choose another id_prefix.",
                )
    a, b = tables.values()
    if a is not None and b is not None and a.id_prefix == b.id_prefix:
        raise InstanceError(
            f"both tables name their rows {a.id_prefix!r}",
            path="$.task_table.id_prefix",
            advice="choose another id_prefix.",
        )


def _service(
    s: Service, path: str, profiled: dict[str, list[Profile]], pools: dict[str, GpuPool]
) -> None:
    owner = f"service {s.id!r}"
    if s.required and s.missing_price is not None:
        raise InstanceError(
            f"{owner} is required and has missing_price {s.missing_price:g}",
            path=f"{path}.missing_price",
            advice="set required to false, or drop the price.",
        )
    if not s.required and s.missing_price is None:
        raise InstanceError(
            f"{owner} is not required but has no missing_price",
            path=f"{path}.missing_price",
            advice="state what a missing replica costs; 0 is allowed.",
        )
    check_service(s, owner, path, profiled)
    if s.pinned is not None:
        pinned = _check_refs(s.pinned, f"{path}.pinned", pools)
        if pinned != s.replicas:
            raise InstanceError(
                f"{owner} has {s.replicas} replicas pinned to {pinned} GPUs",
                path=f"{path}.pinned",
                advice="name one GPU for each replica.",
            )


def _workers(instance: InstanceFields) -> None:
    replicas = sum(s.replicas for s in instance.services)
    workers = sum(t.count * t.gang_size for t in instance.tasks)
    st, tt = instance.service_table, instance.task_table
    if st is not None:
        replicas += sum(st.replicas) if isinstance(st.replicas, tuple) else st.replicas * st.rows
    if tt is not None:
        workers += tt.gang_size * (
            sum(tt.count) if isinstance(tt.count, tuple) else tt.count * tt.rows
        )
    for what, n, path in (("replicas", replicas, "$.services"), ("workers", workers, "$.tasks")):
        if n > MAX_WORKERS:
            raise InstanceError(
                f"{n} {what}; at most {MAX_WORKERS} can be planned at once",
                path=path,
                advice="split the instance.",
            )


def _check_refs(
    refs: Iterable[GpuRef | PlacementGroup], path: str, pools: dict[str, GpuPool]
) -> int:
    """Check that the GPUs exist and are named once; return how many they are."""
    # One whole number for each run, first and last side by side: a tuple takes three times as much.
    spans: dict[str, list[int]] = {}
    total = 0
    for k, ref in enumerate(refs):
        pool = pools.get(ref.pool)
        if pool is None:
            raise InstanceError(
                f"GPU pool {ref.pool!r} does not exist (known: {', '.join(sorted(pools)[:8])})",
                path=f"{path}[{k}].pool",
                advice="correct the pool's name.",
            )
        mine = spans.setdefault(ref.pool, [])
        for low, high in iter_runs(ref.gpus):
            if low < pool.first or high >= pool.first + pool.size:
                raise InstanceError(
                    f"GPUs {low}-{high} of pool {ref.pool!r}, which has "
                    f"{pool.first}-{pool.first + pool.size - 1}",
                    path=f"{path}[{k}].gpus",
                    advice="correct the ordinals, or the pool's count.",
                )
            mine.append(low << _SIDE | high)
            total += high - low + 1
            if len(mine) > pool.size:
                break  # more runs than GPUs: one of them is found twice below
    for pool_id, mine in spans.items():
        mine.sort()
        for a, b in pairwise(mine):
            if b >> _SIDE <= a & _LAST:
                raise InstanceError(
                    f"GPU {b >> _SIDE} of pool {pool_id!r} is named twice",
                    path=path,
                    advice="name each GPU once.",
                )
    return total


def _rules(instance: InstanceFields, pools: dict[str, GpuPool]) -> None:
    rules = instance.rules
    tenants = {t.tenant for t in instance.tasks}
    if instance.task_table is not None:
        names = instance.task_table.tenant
        tenants |= set(names) if isinstance(names, tuple) else {names}
    _unique("rules.quotas", ((q.tenant, q.unit) for q in rules.quotas))
    for i, q in enumerate(rules.quotas):
        path = f"$.rules.quotas[{i}]"
        if q.tenant not in tenants:
            raise InstanceError(
                f"quota for tenant {q.tenant!r}, who has no training task",
                path=f"{path}.tenant",
                advice="correct the tenant's name, or drop the quota.",
            )
        if q.maximum is None and q.minimum is None:
            raise InstanceError(
                f"quota for tenant {q.tenant!r} has neither maximum nor minimum",
                path=path,
                advice="state at least one of them.",
            )
        if q.maximum is not None and q.minimum is not None and q.minimum > q.maximum:
            raise InstanceError(
                f"quota of {q.tenant!r}: minimum {q.minimum:g} exceeds maximum {q.maximum:g}",
                path=f"{path}.minimum",
                advice="swap them.",
            )
    for i, a in enumerate(rules.anti_affinity):
        for side, names_ in (("left", a.left), ("right", a.right)):
            for k, name in enumerate(names_):
                if not _exists(instance, name):
                    raise InstanceError(
                        f"anti-affinity names {name!r}, which is neither a service nor a task",
                        path=f"$.rules.anti_affinity[{i}].{side}[{k}]",
                        advice="use ids of services and tasks.",
                    )
    _check_refs(rules.locked, "$.rules.locked", pools)
    if instance.current is None:
        if rules.locked or rules.moves is not None:
            raise InstanceError(
                "locked placements and move prices need `current`, which is not there",
                path="$.rules",
                advice="add the placements of the present plan as `current`.",
            )
        return
    _check_refs(instance.current, "$.current", pools)


def _exists(instance: InstanceFields, name: str) -> bool:
    for find in (instance.service, instance.task):
        try:
            find(name)
        except KeyError:
            continue
        return True
    return False
