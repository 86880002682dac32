"""Changes of an instance that an operator can think of, each with its words.

`apply_changes` makes a new instance of all of them. GPUs that are taken out of use split their
pool; `Applied.pool_names` leads from the new names back to the old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from colocate.explain.change_gpus import AddGpus, Quarantine, Release, SetClients, SetMemory
from colocate.explain.change_rules import (
    DropAntiAffinity,
    DropConstraint,
    DropRule,
    OneUser,
    SetConfidence,
    SetQuota,
    SetRule,
)
from colocate.explain.change_work import (
    AnyBatch,
    MakeOptional,
    SetGangSize,
    SetLeastShare,
    SetRate,
    SetReplicas,
    SetSlo,
    SetWeight,
    Unpin,
)
from colocate.explain.draft import Draft
from colocate.instance import Instance
from colocate.runs import format_ids, ids_of

__all__ = [
    "AddGpus",
    "AnyBatch",
    "Applied",
    "Change",
    "DropAntiAffinity",
    "DropConstraint",
    "DropRule",
    "MakeOptional",
    "OneUser",
    "Quarantine",
    "Release",
    "SetClients",
    "SetConfidence",
    "SetGangSize",
    "SetLeastShare",
    "SetMemory",
    "SetQuota",
    "SetRate",
    "SetReplicas",
    "SetRule",
    "SetSlo",
    "SetWeight",
    "Unpin",
    "apply_changes",
]


class Change(Protocol):
    """One change of an instance."""

    def apply(self, draft: Draft) -> None:
        """Change the draft."""
        ...

    def words(self, instance: Instance) -> str:
        """Say the change, against the instance as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """A changed instance."""

    instance: Instance
    pool_names: dict[str, str] = field(default_factory=dict)
    """From the names of the pieces of pools that were split to the pool's."""


def apply_changes(instance: Instance, changes: Sequence[Change]) -> Applied:
    """Return the instance with all changes made.

    Raises
    ------
    InstanceError
        When a change names what is not there, or leaves an instance that contradicts itself.
    """
    draft = Draft(instance)
    quarantined: dict[str, list[str]] = {}
    for change in changes:
        if isinstance(change, Quarantine):
            quarantined.setdefault(change.pool, []).append(change.gpus)
        else:
            change.apply(draft)
    # Last, because the other changes name the pool as it was.
    for pool, gpus in quarantined.items():
        ids = np.unique(np.concatenate([ids_of(g) for g in gpus]))
        Quarantine(pool, format_ids(ids)).apply(draft)
    return Applied(draft.instance(), dict(draft.pool_names))
