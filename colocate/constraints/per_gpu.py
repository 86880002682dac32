"""How many services, workers, workloads and owners one GPU may hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from colocate.constraints._residents import Holding, each_group
from colocate.constraints.base import CoTenantSets, PlainConstraint
from colocate.instance import Instance, Rules
from colocate.plan import Plan
from colocate.violation import Violation, ViolationKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PerGpuLimits(PlainConstraint):
    """services_per_gpu, tasks_per_gpu, workloads_per_gpu, tenants_per_gpu."""

    name: ClassVar[str] = "per_gpu"

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Admit the sets within all four limits."""
        import numpy as np

        rules = instance.rules
        width = sets.tenant.shape[1]
        n_tasks = width - sets.n_services
        if sets.n_services > rules.services_per_gpu or n_tasks > rules.tasks_per_gpu:
            return np.zeros(sets.size, dtype=bool)
        if rules.workloads_per_gpu is not None and width > rules.workloads_per_gpu:
            return np.zeros(sets.size, dtype=bool)
        if rules.tenants_per_gpu is None:
            return np.ones(sets.size, dtype=bool)
        ordered = np.sort(sets.tenant, axis=1)
        owners = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)
        return np.asarray(owners <= rules.tenants_per_gpu)

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield GPUs that hold too many."""
        return each_group(instance, plan, lambda held: _broken(instance.rules, held))


def _broken(rules: Rules, held: Holding) -> Iterator[Violation]:
    owners = {resident.entry.tenant for resident in held.residents}
    counts: tuple[tuple[ViolationKind, str, int, int | None], ...] = (
        ("services_per_gpu", "services", len(held.services), rules.services_per_gpu),
        ("tasks_per_gpu", "training workers", len(held.tasks), rules.tasks_per_gpu),
        ("workloads_per_gpu", "workloads", len(held.residents), rules.workloads_per_gpu),
        ("tenants_per_gpu", "tenants", len(owners), rules.tenants_per_gpu),
    )
    for kind, what, n, limit in counts:
        if limit is not None and n > limit:
            yield Violation(
                kind=kind,
                where=held.where,
                message=f"holds {n} {what}, but at most {limit} may share a GPU",
            )
