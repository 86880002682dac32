"""An instance taken apart, so that many of its parts can be changed before it is checked again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from colocate.errors import InstanceError, clean_text
from colocate.instance import (
    AntiAffinity,
    GpuPool,
    Instance,
    Quota,
    Service,
    ServiceTable,
    Task,
    TaskTable,
)
from colocate.schema import Component, Frozen

Table = TypeVar("Table", ServiceTable, TaskTable)
Model = TypeVar("Model", bound=Frozen)

__all__ = ["TABLE", "Draft", "checked", "names_row"]


TABLE = "*"
"""Ends the name of a table of services or tasks; no id does."""


class Draft:
    """The parts of an instance by their names; `instance()` puts them together again."""

    def __init__(self, instance: Instance) -> None:
        rules = instance.rules
        self.source = instance
        self.pools: dict[str, GpuPool] = {p.id: p for p in instance.gpu_pools}
        self.services: dict[str, Service] = {s.id: s for s in instance.services}
        self.tasks: dict[str, Task] = {t.id: t for t in instance.tasks}
        self.service_table = instance.service_table
        self.task_table = instance.task_table
        self.quotas: dict[tuple[str, str], Quota] = {(q.tenant, q.unit): q for q in rules.quotas}
        self.apart: dict[int, AntiAffinity] = dict(enumerate(rules.anti_affinity))
        self.constraints: dict[int, Component] = dict(enumerate(instance.constraints))
        self.pool_names: dict[str, str] = {}
        """From the names of pieces of pools to those of the pools."""
        self.limits: dict[str, Any] = {}
        """Other fields of the rules."""
        self.fields: dict[str, Any] = {}
        """Other fields of the instance."""

    def pool(self, name: str, **changes: Any) -> None:  # noqa: ANN401 - any field
        """Change fields of a pool."""
        if name not in self.pools:
            raise _unknown("GPU pool", name, self.pools)
        self.pools[name] = checked(self.pools[name], f"pool {name!r}", changes)

    def service(self, name: str, **changes: Any) -> None:  # noqa: ANN401 - any field
        """Change fields of a service, of a row of the table, or, for `prefix*`, of all rows."""
        if name in self.services:
            self.services[name] = checked(self.services[name], f"service {name!r}", changes)
        else:
            self.service_table = _changed("service", name, self.service_table, changes)

    def task(self, name: str, **changes: Any) -> None:  # noqa: ANN401 - any field
        """Change fields of a task entry, of a row of the table, or, for `prefix*`, of all rows."""
        if name in self.tasks:
            self.tasks[name] = checked(self.tasks[name], f"task {name!r}", changes)
        else:
            self.task_table = _changed("task", name, self.task_table, changes)

    def tenants(self) -> set[str]:
        """Return the owners of tasks."""
        found = {t.tenant for t in self.tasks.values()}
        if self.task_table is not None:
            names = self.task_table.tenant
            found |= set(names) if isinstance(names, tuple) else {names}
        return found

    def obliged(self, wanted: Iterable[str] = ()) -> None:
        """Leave out what every plan may leave out; a plan for the rest is one for the whole.

        That is what is not required, and the tasks of tenants without a floor, but not those that
        are wanted all the same.
        """
        kept_tasks = set(wanted)
        floors = {q.tenant for q in self.quotas.values() if q.minimum}
        self.services = {n: s for n, s in self.services.items() if s.required}
        self.tasks = {n: t for n, t in self.tasks.items() if t.tenant in floors or n in kept_tasks}
        if self.service_table is not None and not self.service_table.required:
            self.service_table = None
        if self.task_table is not None:
            names = self.task_table.tenant
            owners = set(names) if isinstance(names, tuple) else {names}
            table = self.task_table
            holds = any(names_row(table, name) is not None for name in kept_tasks)
            if not owners & floors and not holds:
                self.task_table = None
        owners = self.tenants()
        self.quotas = {k: q for k, q in self.quotas.items() if q.tenant in owners}
        kept = {}
        for i, rule in self.apart.items():
            left, right = (tuple(filter(self._holds, s)) for s in (rule.left, rule.right))
            if left and right:
                kept[i] = AntiAffinity(left=left, right=right)
        self.apart = kept

    def _holds(self, name: str) -> bool:
        tables = (self.service_table, self.task_table)
        return (
            name in self.services
            or name in self.tasks
            or any(t is not None and name.startswith(t.id_prefix) for t in tables)
        )

    def instance(self) -> Instance:
        """Return the instance, checked as a whole."""
        changes = {
            "quotas": tuple(self.quotas.values()),
            "anti_affinity": tuple(self.apart.values()),
            **self.limits,
        }
        rules = checked(self.source.rules, "rules", changes)
        return self.source.replace(
            gpu_pools=tuple(self.pools.values()),
            services=tuple(self.services.values()),
            tasks=tuple(self.tasks.values()),
            service_table=self.service_table,
            task_table=self.task_table,
            rules=rules,
            constraints=tuple(self.constraints.values()),
            **self.fields,
        )


def checked(row: Model, what: str, changes: dict[str, Any]) -> Model:
    """Return an object with some fields changed, or say which of them cannot be."""
    fields = {n: getattr(row, n) for n in type(row).model_fields}
    try:
        return type(row)(**{**fields, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        got = clean_text(str(first.get("input")), 60)
        raise InstanceError(
            f"{what}: {clean_text(at, 80)} cannot be {got}: {first['msg']}",
            advice="choose another value.",
        ) from error


def names_row(table: ServiceTable | TaskTable | None, name: str) -> int | None:
    """Return the row of a table that a name stands for; -1 for the whole table, None for none."""
    if table is None or not name.startswith(table.id_prefix):
        return None
    rest = name[len(table.id_prefix) :]
    if rest == TABLE:
        return -1
    return int(rest) if rest.isdecimal() and int(rest) < table.rows else None


def _changed(what: str, name: str, table: Table | None, changes: dict[str, Any]) -> Table:
    row = names_row(table, name)
    if table is None or row is None:
        raise _unknown(what, name, ())
    if row >= 0:
        changes = {n: _with_row(table, n, row, value) for n, value in changes.items()}
    return checked(table, f"{what} {name!r}", changes)


def _with_row(table: ServiceTable | TaskTable, name: str, row: int, value: object) -> object:
    column = getattr(table, name)
    full = list(column) if isinstance(column, tuple) else [column] * table.rows
    full[row] = value
    return tuple(full)


def _unknown(what: str, name: str, known: Iterable[str]) -> InstanceError:
    listed = ", ".join(sorted(known)[:8])
    return InstanceError(
        f"there is no {what} {clean_text(name)!r}" + (f" (known: {listed})" if listed else ""),
        advice=f"name a {what} of the instance.",
    )
