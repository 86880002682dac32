"""One MPS server serves one user: all workloads on a GPU have the same `user_id`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from colocate.constraints._residents import Holding, Resident, each_group
from colocate.constraints.base import CoTenantSets, PlainConstraint
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.violation import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UserIdConstraint(PlainConstraint):
    """Equal users; a user that is left out is a user of its own."""

    name: ClassVar[str] = "user_id"

    def admits(self, instance: Instance, sets: CoTenantSets) -> NDArray[np.bool_]:
        """Admit the sets of one user."""
        import numpy as np

        del instance
        return np.asarray((sets.user == sets.user[:, :1]).all(axis=1))

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield GPUs with workloads of different users."""
        return each_group(instance, plan, _broken)


def _broken(held: Holding) -> Iterator[Violation]:
    for first, other in pairwise(held.residents):
        if other.entry.user_id != first.entry.user_id:
            yield Violation(
                kind="user_id",
                where=held.where,
                message=f"{first.name} runs as {_user(first)}, {other.name} as "
                f"{_user(other)}; one MPS server serves one user",
            )
            return


def _user(resident: Resident) -> str:
    user = resident.entry.user_id
    return "no stated user" if user is None else f"user {user}"
