"""What a constraint is: pruning and rows for the compiler, violations for the judge.

The two faces are written separately. `admits` looks at who is together on a GPU, `rows` adds linear
rows over the columns; a constraint may have either or both. Memory is the one constraint that also
depends on the batches, and the configurator holds it while it chooses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from colocate import registry
from colocate.components import make
from colocate.instance import Instance, Quota
from colocate.plan import Plan
from colocate.schema import Component, Frozen
from colocate.violation import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CoTenantSets",
    "ColumnView",
    "Constraint",
    "PlainConstraint",
    "RowSpec",
    "constraints_of",
]

BUILT_IN = (
    "memory",
    "clients",
    "user_id",
    "per_gpu",
    "anti_affinity",
    "quota",
    "blast_radius",
    "locked",
)


@dataclass(frozen=True, slots=True)
class CoTenantSets:
    """n candidate sets of co-tenants of one shape on one GPU class, a row each.

    The arrays have a column for each workload of the set, services first.
    """

    n_services: int
    """How many of the columns are services."""
    max_clients: int
    user: NDArray[np.int64]
    """User code of each workload."""
    tenant: NDArray[np.int64]
    """Owner code."""
    processes: NDArray[np.int64]
    left: NDArray[np.bool_]
    """[set, workload, rule]: named on the left of an anti-affinity rule."""
    right: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of sets."""
        return int(self.user.shape[0])


@dataclass(frozen=True, slots=True)
class ColumnView:
    """The columns of a problem, seen by constraints that add rows."""

    tenants: tuple[str, ...]
    """Names behind the owner codes."""
    n_columns: int
    worker_column: NDArray[np.int64]
    """Column of each training worker."""
    worker_tenant: NDArray[np.int64]
    worker_share: NDArray[np.float64]
    """Its share in whole GPUs."""
    worker_gang: NDArray[np.int64]
    """Gang size of its task."""
    level_tenant: NDArray[np.int64]
    """Owner of each gang level."""
    column_gpu: NDArray[np.int64]
    """GPU class of each column."""
    gpu_node: tuple[str, ...]
    """Node of each GPU class; told apart only where there is a blast radius."""
    replica_column: NDArray[np.int64]
    """Column of each replica."""
    replica_service: NDArray[np.int64]
    """Its service class."""
    service_id: tuple[str, ...]
    """One service of each class; the only one where there is a blast radius."""
    service_count: tuple[int, ...]
    """Replicas of each service class."""


class RowSpec(NamedTuple):
    """One linear row: lower <= sum of coefficients * columns + coefficients * levels <= upper."""

    name: str
    column_coefficients: NDArray[np.float64]
    """One for each column."""
    level_coefficients: NDArray[np.float64]
    """One for each gang level."""
    lower: float
    upper: float
    quota: Quota | None = None
    """The quota that the row stands for, if any: its price can be said in the certificate."""


class PlainConstraint:
    """Prunes nothing and adds no row; the built-in constraints override what they need."""

    class Params(Frozen):
        """It has no parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Admit every set."""
        import numpy as np

        del instance
        return np.ones(sets.size, dtype=bool)

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        """Add no row."""
        del instance, columns
        return []


class Constraint(Protocol):
    """A rule over one GPU, over the plan, or both."""

    name: ClassVar[str]

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Return which sets may share a GPU."""
        ...

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        """Return the rows that this constraint adds to the master problem."""
        ...

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield what a plan breaks, from the instance and the plan alone."""
        ...


def constraints_of(instance: Instance) -> list[Constraint]:
    """Return the built-in constraints, then those that the instance names."""
    specs = [Component(name=name) for name in BUILT_IN]
    found: list[Constraint] = [make(registry.get("constraint", s.name), s, "$") for s in specs]
    for i, spec in enumerate(instance.constraints):
        found.append(make(registry.get("constraint", spec.name), spec, f"$.constraints[{i}]"))
    return found
