"""The fields of an instance, and how they are looked up by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from colocate.instance.parts import (
    GpuPool,
    Rules,
    Service,
    ServiceTable,
    Task,
    TaskTable,
)
from colocate.placement import PlacementGroup
from colocate.profile import Interference, Profile
from colocate.schema import Component, Confidence, Frozen, Id, ListOf

__all__ = ["InstanceFields"]


class InstanceFields(Frozen):
    """A whole placement question as it is stated, not yet checked as a whole."""

    schema_: Literal["colocate/instance/v1"] = Field(
        default="colocate/instance/v1", alias="schema", validate_default=False
    )
    """Format and version."""
    name: Id
    """Name of the instance."""
    description: Annotated[str, Field(max_length=10_000)] = ""
    """For readers."""
    slo_model: Component
    """How a service is held against its SLO: `queue`, `fill` or `mudi`."""
    confidence: Confidence
    """Probability with which a prediction must hold; 0.5 plans with the mean."""
    objective: Component
    """What a plan is worth: `throughput`, `iteration_time`, `degradation`, `active_gpus`,
    `max_slowdown`, `finish_time_fairness` or `within`."""
    gpu_pools: Annotated[tuple[GpuPool, ...], ListOf, Field(max_length=100_000)]
    """The GPUs."""
    services: Annotated[tuple[Service, ...], ListOf, Field(max_length=1_000_000)] = ()
    """Inference services."""
    service_table: ServiceTable | None = None
    """Many services as columns."""
    tasks: Annotated[tuple[Task, ...], ListOf, Field(max_length=1_000_000)] = ()
    """Training tasks."""
    task_table: TaskTable | None = None
    """Many tasks as columns."""
    profiles: Annotated[tuple[Profile, ...], ListOf, Field(max_length=100_000)] = ()
    """Profiles, one for each workload and GPU type."""
    interference: Interference = Interference()
    """Slowdown in company."""
    rules: Rules = Rules()
    """What is allowed."""
    constraints: Annotated[tuple[Component, ...], ListOf, Field(max_length=100)] = ()
    """Further constraints by registered name."""
    current: Annotated[tuple[PlacementGroup, ...], ListOf, Field(max_length=1_000_000)] | None = (
        None
    )
    """What runs now: the placements of an earlier plan."""

    _index: dict[str, dict[Any, Any]] = PrivateAttr(default_factory=dict)

    @property
    def gpu_count(self) -> int:
        """Number of GPUs in all pools, schedulable or not."""
        return sum(p.size for p in self.gpu_pools)

    def pool(self, pool_id: str) -> GpuPool:
        """Return the pool with this id, or raise `KeyError`."""
        rows: dict[str, GpuPool] = self._lookup("pool", lambda: {p.id: p for p in self.gpu_pools})
        return rows[pool_id]

    def service(self, service_id: str) -> Service:
        """Return the service with this id (of the list or of the table), or raise `KeyError`."""
        rows: dict[str, Service] = self._lookup("service", lambda: {s.id: s for s in self.services})
        if service_id in rows:
            return rows[service_id]
        found: Service = _table_row(self.service_table, service_id)
        return found

    def task(self, task_id: str) -> Task:
        """Return the task with this id (of the list or of the table), or raise `KeyError`."""
        rows: dict[str, Task] = self._lookup("task", lambda: {t.id: t for t in self.tasks})
        if task_id in rows:
            return rows[task_id]
        found: Task = _table_row(self.task_table, task_id)
        return found

    def iter_services(self) -> Iterator[Service]:
        """Yield every service: the list first, then the table's rows."""
        yield from self.services
        if self.service_table is not None:
            yield from (self.service_table.row(i) for i in range(self.service_table.rows))

    def iter_tasks(self) -> Iterator[Task]:
        """Yield every task: the list first, then the table's rows."""
        yield from self.tasks
        if self.task_table is not None:
            yield from (self.task_table.row(i) for i in range(self.task_table.rows))

    def service_name(self, index: int) -> str:
        """Return the id of the index-th service: the list first, then the table's rows."""
        return _entry_name(self.services, self.service_table, index)

    def task_name(self, index: int) -> str:
        """Return the id of the index-th task entry: the list first, then the table's rows."""
        return _entry_name(self.tasks, self.task_table, index)

    def profile(self, workload: str, gpu_type: str) -> Profile | None:
        """Return the profile of a workload on a GPU type, or None."""
        rows: dict[tuple[str, str], Profile] = self._lookup(
            "profile", lambda: {(p.workload, p.gpu_type): p for p in self.profiles}
        )
        return rows.get((workload, gpu_type))

    def _lookup(self, name: str, build: Any) -> Any:  # noqa: ANN401 - one cache for several types
        if name not in self._index:
            self._index[name] = build()
        return self._index[name]


def _entry_name(
    rows: tuple[Service, ...] | tuple[Task, ...],
    table: ServiceTable | TaskTable | None,
    index: int,
) -> str:
    if index < len(rows) or table is None:
        return rows[index].id
    return f"{table.id_prefix}{index - len(rows)}"


def _table_row(table: Any, row_id: str) -> Any:  # noqa: ANN401 - either kind of table
    if table is not None and row_id.startswith(table.id_prefix):
        digits = row_id[len(table.id_prefix) :]
        if (
            digits.isascii()
            and digits.isdecimal()
            and str(int(digits)) == digits
            and int(digits) < table.rows
        ):
            return table.row(int(digits))
    raise KeyError(row_id)
