"""An order of columns by what they are, not by what they are called.

Ties between equal gains must not be broken by names: a plan should not change because a service
was renamed. Classes are ranked by their numbers and by the values of the columns that hold them;
columns by their value and the ranks of what they hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colocate.problem import Problem

__all__ = ["column_rank"]

DIGITS = 10
ROUNDS = 3


def column_rank(problem: Problem) -> NDArray[np.int64]:
    """Return the position of each column in an order that no renaming changes."""
    columns = problem.columns
    owner = columns.owner
    gang = problem.gang_size
    signature = {
        "gpu": _ranks([problem.gpu_count.astype(float)]),
        "service": _ranks(
            [problem.service_count.astype(float), problem.service_required.astype(float)]
        ),
        "task": _ranks([problem.task_count.astype(float), gang.astype(float)]),
    }
    value = np.round(columns.value / problem.scale, DIGITS)
    level = np.append(problem.levels.value / problem.scale, 0.0)
    of_workloads = (columns.share_pct, columns.batch, level[columns.level], columns.is_task)
    sums = [_sums(owner, np.asarray(w, dtype=np.float64), columns.size) for w in of_workloads]
    rank = _ranks([-value, *(np.round(s, DIGITS) for s in sums)])
    for _ in range(ROUNDS):
        held = np.where(
            columns.is_task,
            signature["service"].max(initial=0)
            + 1
            + _at(signature["task"], columns.cls, columns.is_task),
            _at(signature["service"], columns.cls, ~columns.is_task),
        ).astype(float)
        # Order-free sums of what a column holds stand for the multiset itself.
        parts = [_sums(owner, _spread(held, k), columns.size) for k in (1, 2)]
        rank = _ranks([rank.astype(float), signature["gpu"][columns.gpu].astype(float), *parts])
        signature["gpu"] = _refined(signature["gpu"], columns.gpu, rank)
        services, tasks = ~columns.is_task, columns.is_task
        signature["service"] = _refined(
            signature["service"], columns.cls[services], rank[owner[services]]
        )
        signature["task"] = _refined(signature["task"], columns.cls[tasks], rank[owner[tasks]])
    # What is still equal differs in nothing that was looked at; the index decides.
    final = np.lexsort((np.arange(columns.size), rank))
    position = np.empty(columns.size, dtype=np.int64)
    position[final] = np.arange(columns.size)
    return position


def _ranks(keys: list[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return dense ranks of rows, by the first key first; equal rows share a rank."""
    if keys[0].size == 0:
        return np.zeros(0, dtype=np.int64)
    order = np.lexsort(tuple(reversed(keys)))
    changed = np.zeros(order.size, dtype=bool)
    for key in keys:
        changed[1:] |= key[order][1:] != key[order][:-1]
    ranks = np.empty(order.size, dtype=np.int64)
    ranks[order] = np.cumsum(changed)
    return ranks


def _at(
    ranks: NDArray[np.int64], index: NDArray[np.int64], where: NDArray[np.bool_]
) -> NDArray[np.int64]:
    found = np.zeros(index.size, dtype=np.int64)
    found[where] = ranks[index[where]]
    return found


def _sums(group: NDArray[np.int64], weights: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.bincount(group, weights=weights, minlength=n).astype(np.float64)


def _spread(values: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    return (values + 1.0) ** power


def _refined(
    ranks: NDArray[np.int64], cls: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Split classes of equal rank by sums over the ranks of their columns."""
    sums = [_sums(cls, _spread(column.astype(float), k), ranks.size) for k in (0, 1, 2)]
    return _ranks([ranks.astype(float), *sums])
