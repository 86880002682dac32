"""MPS client limit: the processes on one GPU are at most `max_clients` of its pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from colocate.constraints._residents import Holding, each_group
from colocate.constraints.base import CoTenantSets, PlainConstraint
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.violation import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ClientLimit(PlainConstraint):
    """sum of processes <= max_clients."""

    name: ClassVar[str] = "clients"

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Admit the sets whose processes fit."""
        import numpy as np

        del instance
        return np.asarray(sets.processes.sum(axis=1) <= sets.max_clients)

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield GPUs with too many processes."""
        return each_group(instance, plan, _broken)


def _broken(held: Holding) -> Iterator[Violation]:
    processes = sum(resident.entry.processes for resident in held.residents)
    if processes > held.pool.max_clients:
        yield Violation(
            kind="clients",
            where=held.where,
            message=f"{processes} processes, but MPS takes {held.pool.max_clients} clients",
        )
