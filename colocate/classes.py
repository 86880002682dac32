"""What is indistinguishable forms a class with a multiplicity.

A million GPUs with 50 kinds of service and 200 kinds of task are a 50 x 200 problem. Everything
after this module works on classes; `entry_class` and `entry_count` lead back to names.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from colocate.constraints.blast_radius import node_of
from colocate.errors import TooLargeError
from colocate.instance import GpuPool, Instance, Service, ServiceTable, Task, TaskTable
from colocate.objectives.base import reads_work
from colocate.runs import run_pairs

__all__ = ["Classes", "Entries", "GpuClass", "ShareGrid", "classify"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_CLASSES = 50_000


@dataclass(frozen=True, slots=True)
class ShareGrid:
    """The percentages worth using on one kind of GPU, ascending in what they take."""

    share_pct: Ints
    lo: Ints
    """Multiprocessors that the percentage is sure to give."""
    hi: Ints
    """Multiprocessors that it may take."""

    @property
    def size(self) -> int:
        """Number of percentages."""
        return int(self.share_pct.size)


@dataclass(frozen=True, slots=True)
class GpuClass:
    """GPUs that are alike in everything a column depends on."""

    gpu_type: str
    memory_gib: float
    """What may be planned with."""
    sm_count: int
    max_clients: int
    grid: ShareGrid
    pinned: tuple[int, ...]
    """Service classes that have a replica pinned to each of these GPUs."""
    members: tuple[tuple[str, Ints], ...]
    """(pool, runs) in canonical order; a row of runs is the first ordinal and how many follow."""
    node: str = ""
    """Where they are, if there is a blast radius."""

    @property
    def count(self) -> int:
        """Number of GPUs."""
        return sum(int(runs[:, 1].sum()) for _, runs in self.members)


@dataclass(frozen=True)
class Entries:
    """The services, or the tasks, of an instance and the classes they fall into."""

    entry_class: Ints
    """Class of each entry: those of the list first, then the table's rows."""
    entry_count: Ints
    """Replicas, or tasks, of each entry."""
    representative: tuple[Any, ...]
    """One `Service` or `Task` of each class."""
    count: Ints
    """Replicas, or tasks, of each class."""
    tenant: Ints
    """Owner code of each class."""
    user: Ints
    """User code of each class."""
    left: Bools
    """[class, rule]: named on the left of an anti-affinity rule."""
    right: Bools

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.representative)


@dataclass(frozen=True)
class Classes:
    """All classes of an instance."""

    gpus: tuple[GpuClass, ...]
    services: Entries
    tasks: Entries
    tenants: tuple[str, ...]
    """Names behind the owner codes."""


def classify(instance: Instance) -> Classes:
    """Group what is indistinguishable."""
    tenants: dict[str, int] = {}
    users: dict[int | None, int] = {}
    rules = instance.rules.anti_affinity
    left, right = [set(r.left) for r in rules], [set(r.right) for r in rules]
    # How many of one service a node holds is counted by name.
    service_key = _service_key if instance.rules.blast_radius is None else _named_service_key
    services = _entries(
        instance.services, instance.service_table, service_key, tenants, users, left, right
    )
    task_key = _working_task_key if reads_work(instance.objective) else _task_key
    tasks = _entries(instance.tasks, instance.task_table, task_key, tenants, users, left, right)
    return Classes(_gpu_classes(instance, services), services, tasks, tuple(tenants))


def _service_key(s: Service) -> tuple[Hashable, ...]:
    batches = None if s.batches is None else tuple(sorted(s.batches))
    # A pinned service is a class of its own: its replicas belong on its own GPUs.
    return (
        s.profile,
        s.rate_rps,
        s.slo_ms,
        s.slo_percentile,
        batches,
        s.required,
        s.missing_price,
        s.min_share_pct,
        s.processes,
        s.tenant,
        s.user_id,
        s.id if s.pinned is not None else None,
    )


def _named_service_key(s: Service) -> tuple[Hashable, ...]:
    return (*_service_key(s), s.id)


def _task_key(t: Task) -> tuple[Hashable, ...]:
    return (
        t.profile,
        t.batch,
        None if t.batches is None else tuple(sorted(t.batches)),
        t.noise_scale,
        t.weight,
        t.gang_size,
        t.memory_gib,
        t.processes,
        t.tenant,
        t.user_id,
    )


def _working_task_key(t: Task) -> tuple[Hashable, ...]:
    return (*_task_key(t), t.remaining_samples, t.attained_gpu_s)


def _table_sides(
    table: ServiceTable | TaskTable, left: list[set[str]], right: list[set[str]]
) -> Ints:
    """Return a code for each row that tells apart which anti-affinity rules name it."""
    codes = np.zeros(table.rows, dtype=np.int64)
    seen: dict[Hashable, int] = {}
    for name in sorted(set().union(*left, *right)):
        digits = name.removeprefix(table.id_prefix)
        if digits != name and digits.isdecimal() and int(digits) < table.rows:
            sides = tuple(name in s for s in left), tuple(name in s for s in right)
            codes[int(digits)] = seen.setdefault(sides, len(seen) + 1)
    return codes


def _table_rows(table: ServiceTable | TaskTable, sides: Ints) -> tuple[Ints, Ints]:
    """Return (first row of each distinct row, index of each row among the distinct ones)."""
    codes = [sides] if sides.any() else []
    for name in type(table).model_fields:
        column = getattr(table, name)
        # Neither the multiplicity nor a list that holds for all rows tells rows apart.
        if not isinstance(column, tuple) or name in ("count", "replicas", "batches"):
            continue
        codes.append(np.unique(np.asarray(column), return_inverse=True)[1].reshape(-1))
    if not codes:
        return np.zeros(1, dtype=np.int64), np.zeros(table.rows, dtype=np.int64)
    _, first, inverse = np.unique(
        np.stack(codes, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return first, inverse.reshape(-1)


def _entries(
    rows: Sequence[Any],
    table: ServiceTable | TaskTable | None,
    key_of: Any,  # noqa: ANN401 - the key function of either kind
    tenants: dict[str, int],
    users: dict[int | None, int],
    left: list[set[str]],
    right: list[set[str]],
) -> Entries:
    index: dict[Hashable, int] = {}
    representative: list[Any] = []
    entry_class: list[int] = []
    entry_count: list[int] = []

    def class_of(entry: Any) -> int:  # noqa: ANN401 - Service or Task
        sides = tuple(entry.id in s for s in left), tuple(entry.id in s for s in right)
        key = (key_of(entry), sides)
        if key not in index:
            index[key] = len(representative)
            representative.append(entry)
        return index[key]

    for entry in rows:
        entry_class.append(class_of(entry))
        entry_count.append(getattr(entry, "replicas", None) or entry.count)
    classes = np.array(entry_class, dtype=np.int64)
    counts = np.array(entry_count, dtype=np.int64)
    if table is not None:
        sides = _table_sides(table, left, right)
        by_name = key_of is _named_service_key
        first, inverse = _table_rows(table, np.arange(table.rows) if by_name else sides)
        if first.size > MAX_CLASSES:
            raise TooLargeError(
                f"the table has {first.size} different rows; at most {MAX_CLASSES} classes",
                path="$.service_table" if isinstance(table, ServiceTable) else "$.task_table",
                advice="round rates and SLOs so that more rows are alike.",
            )
        of_distinct = np.array([class_of(table.row(int(i))) for i in first], dtype=np.int64)
        table_class = of_distinct[inverse]
        multiplicity = table.replicas if isinstance(table, ServiceTable) else table.count
        table_count = np.broadcast_to(np.asarray(multiplicity, dtype=np.int64), (table.rows,))
        classes = np.concatenate([classes, table_class])
        counts = np.concatenate([counts, table_count])
    if len(representative) > MAX_CLASSES:
        raise TooLargeError(
            f"{len(representative)} different classes; at most {MAX_CLASSES}",
            path="$.services" if key_of in (_service_key, _named_service_key) else "$.tasks",
            advice="make more of them alike.",
        )
    return Entries(
        entry_class=classes,
        entry_count=counts,
        representative=tuple(representative),
        count=np.bincount(classes, weights=counts, minlength=len(representative)).astype(np.int64),
        tenant=_codes([e.tenant for e in representative], tenants),
        user=_codes([e.user_id for e in representative], users),
        left=_sides(representative, left),
        right=_sides(representative, right),
    )


def _codes(values: Sequence[Any], codes: dict[Any, int]) -> Ints:
    return np.array([codes.setdefault(v, len(codes)) for v in values], dtype=np.int64)


def _sides(entries: Sequence[Any], sides: list[set[str]]) -> Bools:
    found = [[e.id in side for side in sides] for e in entries]
    return np.array(found, dtype=bool).reshape(len(entries), len(sides))


Keep = Literal["least", "each", "ends", "all"]
"""Which percentages to keep: the least that gives so much; or, of those that give and take the
same, the least, the least and the largest, or all."""


def _keep(instance: Instance, *, tabulated: bool) -> Keep:
    """Return which percentages can matter: floors on shares make larger ones worth something.

    Where slowdowns depend on shares, it also matters what a workload may take beyond what it gets.
    """
    by_share = [q for q in instance.rules.quotas if q.unit == "gpu_share"]
    if any(q.minimum is not None and q.maximum is not None for q in by_share):
        return "all"
    if any(q.minimum is not None for q in by_share):
        return "ends"
    return "each" if tabulated else "least"


def _takes_least(lo: Ints, among: Bools) -> Bools:
    """Return which percentages give more than every one among these that takes less."""
    given = np.where(among, lo, 0)
    best = np.concatenate(([0], np.maximum.accumulate(given)[:-1]))
    return np.asarray(given > best)


def _is_new(lo: Ints, hi: Ints, among: Bools) -> Bools:
    """Return which percentages are the first among these of those that give and take the same."""
    at = np.flatnonzero(among)
    found = np.zeros(lo.size, dtype=bool)
    same = (lo[at[1:]] == lo[at[:-1]]) & (hi[at[1:]] == hi[at[:-1]])
    found[at[np.concatenate(([True], ~same))[: at.size]]] = True
    return found


def share_grid(pool: GpuPool, keep: Keep, floors: Sequence[int] = (1,)) -> ShareGrid:
    """Return the percentages of a pool worth using, with what each is sure to give and may take.

    `floors` are the smallest percentages that services accept: what takes least above a floor may
    be beaten by something below it.
    """
    if pool.measured_sms is not None:
        listed = sorted((m.share_pct, m.sms) for m in pool.measured_sms)
        share = np.array([q for q, _ in listed], dtype=np.int64)
        lo = hi = np.array([n for _, n in listed], dtype=np.int64)
    else:
        share = np.arange(1, 101, dtype=np.int64)
        lo = share * pool.sm_count // 100
        hi = -(-share * pool.sm_count // 100)
    order = np.lexsort((share, lo, hi))
    share, lo, hi = share[order], lo[order], hi[order]
    kept = lo >= 1
    if keep == "least":
        kept &= np.logical_or.reduce([_takes_least(lo, share >= least) for least in floors])
    elif keep == "each":
        kept &= np.logical_or.reduce([_is_new(lo, hi, share >= least) for least in floors])
    elif keep == "ends":
        same = (lo[1:] == lo[:-1]) & (hi[1:] == hi[:-1])
        inner = np.zeros(lo.size, dtype=bool)
        inner[1:-1] = same[1:] & same[:-1]
        kept &= ~inner
    return ShareGrid(share[kept], lo[kept], hi[kept])


def _gpu_classes(instance: Instance, services: Entries) -> tuple[GpuClass, ...]:
    tabulated = {p.gpu_type for p in instance.interference.pairs if p.table is not None}
    floors = sorted({1, *(s.min_share_pct for s in services.representative)})
    pins: dict[str, list[tuple[int, int, int]]] = {}
    for e, s in enumerate(instance.services):
        for ref in s.pinned or ():
            cls = int(services.entry_class[e])
            ends = [(cls, low, high + 1) for low, high in run_pairs(ref.gpus)]
            pins.setdefault(ref.pool, []).extend(ends)
    apart = instance.rules.blast_radius is not None
    grouped: dict[Hashable, list[tuple[GpuPool, tuple[int, ...], Ints]]] = {}
    for pool in instance.gpu_pools:
        if not pool.schedulable:
            continue
        shape = (pool.gpu_type, pool.memory_gib - pool.reserve_gib, pool.sm_count, pool.max_clients)
        for pinned, runs in _split_by_pins(pool, pins.get(pool.id, [])):
            key = (shape, pool.measured_sms, pinned, node_of(pool) if apart else "")
            grouped.setdefault(key, []).append((pool, pinned, runs))
    return tuple(
        GpuClass(
            gpu_type=parts[0][0].gpu_type,
            memory_gib=parts[0][0].memory_gib - parts[0][0].reserve_gib,
            sm_count=parts[0][0].sm_count,
            max_clients=parts[0][0].max_clients,
            grid=share_grid(
                parts[0][0],
                _keep(instance, tabulated=parts[0][0].gpu_type in tabulated),
                floors,
            ),
            pinned=parts[0][1],
            members=tuple((pool.id, runs) for pool, _, runs in parts),
            node=node_of(parts[0][0]) if apart else "",
        )
        for parts in grouped.values()
    )


def _split_by_pins(
    pool: GpuPool, pins: list[tuple[int, int, int]]
) -> list[tuple[tuple[int, ...], Ints]]:
    """Return the runs of a pool by the service classes that are pinned there.

    A pin is a class, the first ordinal, and the one after the last.
    """
    changes: dict[int, list[tuple[int, int]]] = {pool.first: [], pool.first + pool.size: []}
    for cls, low, end in pins:
        changes.setdefault(low, []).append((cls, 1))
        changes.setdefault(end, []).append((cls, -1))
    here: dict[int, int] = {}
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for low, end in pairwise(sorted(changes)):
        for cls, more in changes[low]:
            here[cls] = here.get(cls, 0) + more
            if not here[cls]:
                del here[cls]
        runs = found.setdefault(tuple(sorted(here)), [])
        if runs and sum(runs[-1]) == low:
            low, _ = runs.pop()
        runs.append((low, end - low))
    # In the order of rows that say of each class in turn whether it is pinned there.
    most = max((c for kind in found for c in kind), default=0)
    kinds = sorted(found, key=lambda kind: sum(1 << (most - c) for c in kind))
    return [(kind, np.array(found[kind], dtype=np.int64)) for kind in kinds]
