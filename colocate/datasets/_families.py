"""How the instance of each family is put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from colocate.datasets._design import design, design_rows
from colocate.datasets._dice import Dice
from colocate.datasets._draw import Cast, GpuType, draw_cast
from colocate.datasets.generator import FAMILIES
from colocate.datasets.parametric import significant
from colocate.instance import GpuPool, Instance, Quota, Rules, Service, Task
from colocate.schema import Component

__all__ = ["Sizes", "build"]

FILL = 0.9
"""Part of the GPUs that required replicas fill."""
RESERVE_GIB = 1.0


class Sizes(NamedTuple):
    """What the caller asks for."""

    gpus: int
    services: int | None
    tasks: int | None
    sm_count: int
    batches: tuple[int, ...]
    confidence: float

    @property
    def replicas(self) -> int:
        """Required replicas: at least one, and at least one GPU is left."""
        return max(1, min(self.gpus - 1, int(FILL * self.gpus)))

    @property
    def workers(self) -> int:
        """Training workers."""
        return self.gpus + max(1, self.gpus // 5)


Range = tuple[float, float]
"""Where a number is drawn from."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a family draws from."""

    services: int
    tasks: int
    share_pct: Range = (15, 60)
    """Share that a service needs alone when its SLO has no slack."""
    slack: Range = (1.0, 1.6)
    """SLO over the smallest latency at that share."""
    service_gib: Range = (2, 8)
    """Memory of a service without samples, and at its largest batch."""
    task_gib: Range = (3, 20)
    memory_gib: float = 40.0


_PLAIN = Family(services=5, tasks=8)
_FAMILIES = {
    "few_types": _PLAIN,
    "all_distinct": Family(services=12, tasks=24),
    "tight_slo": Family(services=6, tasks=8, share_pct=(35, 80), slack=(1.0, 1.02)),
    "loose_slo": Family(services=6, tasks=8, share_pct=(5, 12), slack=(2, 4)),
    "gangs": _PLAIN,
    "tenants": _PLAIN,
    "heterogeneous": _PLAIN,
    "binding_memory": Family(
        services=5,
        tasks=8,
        slack=(1.3, 2.5),
        service_gib=(4, 24),
        task_gib=(8, 28),
        memory_gib=32.0,
    ),
    "two_tasks": Family(services=4, tasks=6, share_pct=(10, 40), task_gib=(3, 14)),
    "typed": Family(
        services=50,
        tasks=200,
        share_pct=(8, 75),
        slack=(1.0, 1.5),
        service_gib=(3, 18),
        task_gib=(4, 34),
    ),
}

GPU = GpuType("gpu-medium")
LARGE, SMALL = GpuType("gpu-large", 1.6), GpuType("gpu-small", 0.45)
TEAMS = ("team-a", "team-b", "team-c")
USERS = (1000, 1001)
GANG_SIZES = (2, 1, 3, 1, 4, 1)
LEVELS = 16
"""Design points from which the rows of `all_distinct` vary."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What all families share while an instance is being made."""

    name: str
    family: Family
    sizes: Sizes
    dice: Dice
    cast: Cast
    service_kinds: int
    task_kinds: int

    def whole(self, *, pools: tuple[GpuPool, ...] | None = None, **fields: Any) -> Instance:  # noqa: ANN401 - fields of Instance
        """Return the instance with these services, tasks and rules."""
        return Instance(
            gpu_pools=pools or (self.pool(GPU, self.sizes.gpus),), **self.rest(), **fields
        )

    def rest(self) -> dict[str, Any]:
        """Return the fields that do not depend on the family."""
        gpus = self.sizes.gpus
        family = self.name.partition("-")[0]
        return {
            "name": self.name,
            "description": (
                f"Generated family `{family}` with {gpus} GPUs: {FAMILIES[family]}. "
                "All curves, memory and slowdowns are made up."
            ),
            "slo_model": Component(name="fill"),
            "confidence": self.sizes.confidence,
            "objective": Component(name="throughput"),
            "profiles": tuple(self.cast.profiles.values()),
            "interference": self.cast.interference,
        }

    def pool(self, gpu: GpuType, count: int, memory: float = 1.0, sms: float = 1.0) -> GpuPool:
        """Return a pool; memory and multiprocessors are relative to the family's."""
        return GpuPool(
            id=f"pool-{gpu.name.removeprefix('gpu-')}",
            gpu_type=gpu.name,
            count=count,
            memory_gib=significant(self.family.memory_gib * memory),
            reserve_gib=RESERVE_GIB,
            sm_count=max(4, int(self.sizes.sm_count * sms)),
        )

    def service_rows(self, gpu_of: dict[int, GpuType] | None = None) -> list[dict[str, Any]]:
        """Return profile, rate, SLO and replicas of each kind of service.

        `gpu_of` says on which GPU type a kind is just feasible, where that is not the only type.
        """
        found = []
        family, dice = self.family, self.dice
        for i, replicas in enumerate(dice.split(self.sizes.replicas, self.service_kinds)):
            workload = self.cast.inference[i % len(self.cast.inference)].name
            asked = design(
                self.cast.profiles[workload, (gpu_of or {}).get(i, GPU).name],
                self.sizes.batches,
                share_pct=dice.uniform(*family.share_pct),
                load=dice.uniform(0.45, 0.9),
                slack=dice.uniform(*family.slack),
                confidence=self.sizes.confidence,
            )
            found.append({"profile": workload, "replicas": replicas, **asked._asdict()})
        return found

    def task_rows(self) -> list[dict[str, Any]]:
        """Return profile, batch, count and weight of each kind of task."""
        found = []
        for i, count in enumerate(self.dice.split(self.sizes.workers, self.task_kinds)):
            k = i % len(self.cast.training)
            found.append(
                {
                    "profile": self.cast.training[k].name,
                    "batch": self.cast.training_batch[k],
                    "count": count,
                    "weight": significant(self.dice.uniform(0.5, 2), 3),
                }
            )
        return found


def build(name: str, seed: int, sizes: Sizes) -> Instance:
    """Return the instance of a family."""
    family = _FAMILIES[name]
    dice = Dice(name, seed)
    service_kinds = min(sizes.services or family.services, sizes.replicas)
    task_kinds = min(sizes.tasks or family.tasks, sizes.workers)
    cast = draw_cast(
        dice,
        services=service_kinds,
        tasks=task_kinds,
        batches=sizes.batches,
        service_gib=family.service_gib,
        task_gib=family.task_gib,
        gpu_types=(GPU, LARGE, SMALL) if name == "heterogeneous" else (GPU,),
        training_pairs=name == "two_tasks",
    )
    draft = Draft(
        f"{name}-{sizes.gpus}-seed{seed}", family, sizes, dice, cast, service_kinds, task_kinds
    )
    return _BUILDERS.get(name, _kinds)(draft)


def _services(rows: list[dict[str, Any]]) -> tuple[Service, ...]:
    return tuple(Service(id=f"service-{i}", **row) for i, row in enumerate(rows))


def _tasks(rows: list[dict[str, Any]]) -> tuple[Task, ...]:
    return tuple(Task(id=f"task-{i}", **row) for i, row in enumerate(rows))


def _kinds(draft: Draft) -> Instance:
    return draft.whole(
        services=_services(draft.service_rows()), tasks=_tasks(draft.task_rows()), rules=Rules()
    )


def _two_tasks(draft: Draft) -> Instance:
    return draft.whole(
        services=_services(draft.service_rows()),
        tasks=_tasks(draft.task_rows()),
        rules=Rules(tasks_per_gpu=2),
    )


def _gangs(draft: Draft) -> Instance:
    rows = draft.task_rows()
    for i, row in enumerate(rows):
        size = min(GANG_SIZES[i % len(GANG_SIZES)], draft.sizes.gpus)
        row.update(gang_size=size, count=max(1, row["count"] // size))
    return draft.whole(services=_services(draft.service_rows()), tasks=_tasks(rows), rules=Rules())


def _tenants(draft: Draft) -> Instance:
    services, tasks = draft.service_rows(), draft.task_rows()
    for i, row in enumerate(services):
        row.update(user_id=USERS[i % 2], tenant="platform")
    counts = dict.fromkeys(TEAMS[: len(tasks)], 0)
    for i, row in enumerate(tasks):
        team = TEAMS[i % 3]
        # team-c has tasks of both users
        row.update(tenant=team, user_id=USERS[(i % 3 + (i // 3) * (team == "team-c")) % 2])
        counts[team] += row["count"]
    return draft.whole(
        services=_services(services),
        tasks=_tasks(tasks),
        rules=Rules(quotas=_quotas(counts, draft.sizes)),
    )


def _quotas(counts: dict[str, int], sizes: Sizes) -> tuple[Quota, ...]:
    """Return quotas that bind, and a floor that GPUs without a service can meet by themselves."""
    free = sizes.gpus - sizes.replicas
    quotas = [Quota(tenant="team-a", maximum=float(max(1, counts["team-a"] // 2)))]
    if "team-b" in counts:
        quotas.append(
            Quota(tenant="team-b", unit="gpu_share", maximum=significant(max(0.5, sizes.gpus / 12)))
        )
    if "team-c" in counts:
        floor = min(counts["team-c"], max(1, free // 2))
        quotas.append(Quota(tenant="team-c", minimum=float(floor)))
    return tuple(quotas)


def _heterogeneous(draft: Draft) -> Instance:
    gpus = draft.sizes.gpus
    large, small = max(1, gpus // 4), gpus // 4
    pools = [draft.pool(LARGE, large, 2.0, 1.25), draft.pool(GPU, gpus - large - small)]
    if small:
        pools.append(draft.pool(SMALL, small, 0.6, 0.6))
    for i, w in enumerate(draft.cast.inference):
        if i % 2:
            del draft.cast.profiles[w.name, SMALL.name]
    for i, w in enumerate(draft.cast.training):
        if i % 3 == 2:
            del draft.cast.profiles[w.name, SMALL.name]
    of_workload = [GPU if i % 2 else SMALL for i in range(len(draft.cast.inference))]
    rows = draft.service_rows(
        {i: of_workload[i % len(of_workload)] for i in range(draft.service_kinds)}
    )
    # What does not run on small GPUs must find room on the others.
    excess = sum(r["replicas"] for r in rows if int(r["profile"][6:]) % 2) - (gpus - small)
    for row in rows:
        moved = min(row["replicas"] - 1, excess) if int(row["profile"][6:]) % 2 else 0
        if moved > 0:
            row["replicas"] -= moved
            rows[0]["replicas"] += moved
            excess -= moved
    return draft.whole(
        pools=tuple(pools),
        services=_services(rows),
        tasks=_tasks(draft.task_rows()),
        rules=Rules(),
    )


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _typed(draft: Draft) -> Instance:
    tasks = _columns(draft.task_rows())
    tasks["memory_gib"] = [
        significant(draft.dice.uniform(*draft.family.task_gib), 3) for _ in tasks["profile"]
    ]
    return Instance.from_arrays(
        gpus=draft.pool(GPU, draft.sizes.gpus).model_dump(exclude_none=True),
        services=_columns(draft.service_rows()),
        tasks=tasks,
        **draft.rest(),
    )


def _all_distinct(draft: Draft) -> Instance:
    family, dice, cast, sizes = draft.family, draft.dice, draft.cast, draft.sizes
    n = sizes.replicas
    level = dice.wholes(LEVELS * len(cast.inference), n)
    rate, slo = design_rows(
        [cast.profiles[w.name, GPU.name] for w in cast.inference for _ in range(LEVELS)],
        sizes.batches,
        share_pct=[dice.uniform(*family.share_pct) for _ in range(LEVELS * len(cast.inference))],
        level=level,
        load=dice.distinct(0.45, 0.9, n),
        slack=dice.distinct(*family.slack, n),
        confidence=sizes.confidence,
    )
    kind = dice.wholes(len(cast.training), sizes.workers)
    names = [w.name for w in cast.inference]
    return Instance.from_arrays(
        gpus=draft.pool(GPU, sizes.gpus).model_dump(exclude_none=True),
        services={
            "profile": [names[i] for i in (level // LEVELS).tolist()],
            "rate_rps": rate,
            "slo_ms": slo,
        },
        tasks={
            "profile": [cast.training[i].name for i in kind.tolist()],
            "batch": [cast.training_batch[i] for i in kind.tolist()],
            "weight": np.round(dice.distinct(0.5, 2, sizes.workers), 9),
        },
        **draft.rest(),
    )


_BUILDERS = {
    "all_distinct": _all_distinct,
    "gangs": _gangs,
    "heterogeneous": _heterogeneous,
    "tenants": _tenants,
    "two_tasks": _two_tasks,
    "typed": _typed,
}
