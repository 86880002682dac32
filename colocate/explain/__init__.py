"""Why there is no plan, why a task is not in it, what would help, and what a change would bring."""

from __future__ import annotations

from colocate.explain.changes import (
    AddGpus,
    AnyBatch,
    Change,
    DropAntiAffinity,
    DropConstraint,
    DropRule,
    MakeOptional,
    OneUser,
    Quarantine,
    Release,
    SetClients,
    SetConfidence,
    SetGangSize,
    SetLeastShare,
    SetMemory,
    SetQuota,
    SetRate,
    SetReplicas,
    SetRule,
    SetSlo,
    SetWeight,
    Unpin,
    apply_changes,
)
from colocate.explain.counts import Shift
from colocate.explain.infeasible import Conflict, Explanation, Suggestion, explain
from colocate.explain.marginal import Marginal, Marginals, marginal_values
from colocate.explain.statements import Statement
from colocate.explain.unplaced import TaskExplanation, explain_task
from colocate.explain.what_if import WhatIf, whatif

__all__ = [
    "AddGpus",
    "AnyBatch",
    "Change",
    "Conflict",
    "DropAntiAffinity",
    "DropConstraint",
    "DropRule",
    "Explanation",
    "MakeOptional",
    "Marginal",
    "Marginals",
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
    "Shift",
    "Statement",
    "Suggestion",
    "TaskExplanation",
    "Unpin",
    "WhatIf",
    "apply_changes",
    "explain",
    "explain_task",
    "marginal_values",
    "whatif",
]
