"""What the user states: GPU pools, services, tasks, rules, and the instance that holds them.

Everything is plain data, strict and frozen. Lists are kept in a canonical order (by id), so that
the order in a file changes nothing, not even the instance's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr, model_validator

from colocate.instance.arrays import pools_from_columns, table_from_columns
from colocate.instance.checks import check_instance
from colocate.instance.fields import InstanceFields
from colocate.instance.order import canonical_order
from colocate.instance.parts import (
    VARYING_SERVICE,
    VARYING_TASK,
    AntiAffinity,
    BlastRadius,
    GpuPool,
    GpuRef,
    Moves,
    Quota,
    Rules,
    Service,
    ServiceTable,
    SmCount,
    Task,
    TaskTable,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "AntiAffinity",
    "BlastRadius",
    "GpuPool",
    "GpuRef",
    "Instance",
    "Moves",
    "Quota",
    "Rules",
    "Service",
    "ServiceTable",
    "SmCount",
    "Task",
    "TaskTable",
]


class Instance(InstanceFields):
    """A whole placement question."""

    _sha256: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_instance(self)
        self.__dict__.update(canonical_order(self))
        return self

    @property
    def sha256(self) -> str:
        """Hash of the canonical form: equal for equal questions, whatever the order in the file."""
        if self._sha256 is None:
            text = self.model_dump_json(by_alias=True, exclude_none=True)
            self._sha256 = hashlib.sha256(text.encode()).hexdigest()
        return self._sha256

    def __eq__(self, other: object) -> bool:
        """Return whether both ask the same question; what has been cached does not matter."""
        return isinstance(other, Instance) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash(self.sha256)

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - any field of the instance
        """Return this instance with some fields changed, checked as a whole again."""
        fields = {n: getattr(self, n) for n in type(self).model_fields if n != "schema_"}
        return type(self)(**{**fields, **changes})

    @classmethod
    def from_arrays(
        cls,
        *,
        name: str,
        gpus: Mapping[str, Any],
        services: Mapping[str, ArrayLike],
        tasks: Mapping[str, ArrayLike],
        **rest: Any,  # noqa: ANN401 - the remaining fields of the instance
    ) -> Self:
        """Build an instance from columns, without a Python object for each row.

        Parameters
        ----------
        name
            Name of the instance.
        gpus
            Columns `id`, `gpu_type`, `count`, `memory_gib`, `sm_count` and any other field of
            `GpuPool`; a scalar stands for all rows.
        services, tasks
            Columns of `ServiceTable` and `TaskTable`, as arrays or scalars; `rows` is taken from
            the longest column. An empty mapping means none.
        **rest
            `slo_model`, `confidence`, `objective`, `profiles`, `interference`, `rules`, ...
        """
        return cls(
            name=name,
            gpu_pools=pools_from_columns(GpuPool, gpus),
            service_table=table_from_columns(ServiceTable, services, VARYING_SERVICE),
            task_table=table_from_columns(TaskTable, tasks, VARYING_TASK),
            **rest,
        )
