"""Hosts and tasks that are mostly one of a kind: linear assignment on a dense matrix.

It applies where the number of GPUs of every host is settled beforehand: hosts of required services
have as many as replicas, and the GPUs that are left hold no service. With a_h the worth of host h
without a task, and w_ht = v_ht - a_h,

    max  sum of w over a matching of the GPUs (rows) with the tasks (columns) of the matrix w+

The backend (SciPy) returns no prices. They are the least ones with

    u_i + pi_j >= w_ij,   u, pi >= 0,   equality on matched pairs,   u, pi = 0 where unmatched

that is, longest paths pi_j = max over i of w_ij - u_i with u_i = w_i,m(i) - pi_m(i), found in
rounds over the rows whose partner's price has risen, in float64.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.errors import SolverError
from colocate.result import Limit
from colocate.solvers.base import Clock
from colocate.solvers.transport.problem import Transport

__all__ = ["Assigned", "assign"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DENSE = 0.25
"""At least this part of the matrix must be columns of the problem."""
LARGEST = 16_000_000
"""Entries of the matrix."""
AT_ONCE = 100_000
"""Entries of a matrix that takes no time worth interrupting."""
ASK_EVERY_S = 0.02
HAIR = 1e-14
"""Rise of a price that is rounding, in the largest worth."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """An assignment and the prices that prove it."""

    counts: Ints
    """Per column of the problem."""
    of_task: Floats
    of_host: Floats


def assign(found: Transport, clock: Clock) -> Assigned | Limit | None:
    """Return an optimal assignment, or None where this is not the way to find it.

    A limit means that the backend was still at work when it was reached.
    """
    settled = _settled(found)
    if settled is None:
        return None
    problem, hosts = found.problem, found.hosts
    task = found.task[found.column]
    joined = found.column[task >= 0]
    # Of more GPUs than tasks one at least gets none, so its price is 0; still more add nothing.
    n_tasks = int(problem.task_count.sum())
    height = np.minimum(settled, n_tasks + 1)
    if not 0 < int(height.sum()) * n_tasks <= min(LARGEST, joined.size / DENSE):
        return None
    rows = np.repeat(np.arange(hosts.size), height)
    columns = np.repeat(np.arange(problem.task_count.size), problem.task_count)
    alone = np.full(hosts.size, -1, dtype=np.int64)
    alone[hosts.of_column[found.column[task < 0]]] = found.column[task < 0]
    with_services = np.unique(hosts.host)
    if (alone[with_services][settled[with_services] > 0] < 0).any():
        return None
    value = problem.columns.value
    base = np.where(alone >= 0, value[alone], 0.0)
    at = np.full((hosts.size, problem.task_count.size), -1, dtype=np.int64)
    at[hosts.of_column[joined], found.task[joined]] = joined
    worth = np.where(at >= 0, value[at] - base[:, None], 0.0)
    gain = np.maximum(worth, 0.0)[np.ix_(rows, columns)]
    matched = _matched(gain, clock)
    if isinstance(matched, Limit):
        return matched
    row, column = matched
    counts = np.zeros(problem.columns.size, dtype=np.int64)
    np.add.at(counts, at[rows[row], columns[column]], 1)
    single = settled - np.bincount(rows[row], minlength=hosts.size)
    counts[alone[with_services]] += single[with_services]
    of_task, of_row = _prices(gain, row, column)
    price_of_task = np.zeros(problem.task_count.size)
    np.maximum.at(price_of_task, columns, of_task)
    price_of_host = base.copy()
    price_of_host[rows] += of_row
    return Assigned(counts, price_of_task, price_of_host - _of_gpus(found, price_of_task))


def _settled(found: Transport) -> Ints | None:
    """Return the GPUs that each host has, where nothing else is possible."""
    problem, hosts = found.problem, found.hosts
    if found.alone.any() or not hosts.size:
        return None
    live = np.zeros(hosts.size, dtype=bool)
    live[hosts.of_column[found.column]] = True
    empty = np.ones(hosts.size, dtype=bool)
    empty[hosts.host] = False
    n_gpu = problem.gpu_count[hosts.gpu]
    of_gpu = np.bincount(hosts.gpu[live], minlength=problem.gpu_count.size)
    only = live & ~empty & found.full[hosts.gpu] & (of_gpu[hosts.gpu] == 1)
    fixed = live & ~empty & (found.lower == np.minimum(found.upper, n_gpu)) & (found.lower > 0)
    if (live & ~empty & ~only & ~fixed).any() or (live & empty & found.full[hosts.gpu]).any():
        return None
    counts = np.where(only, n_gpu, np.where(fixed, found.lower, 0))
    taken = np.bincount(hosts.gpu, weights=counts, minlength=problem.gpu_count.size)
    left = problem.gpu_count - taken.astype(np.int64)
    if (left < 0).any():
        return None
    counts[live & empty] = left[hosts.gpu[live & empty]]
    return counts


def _matched(worth: Floats, clock: Clock) -> tuple[Ints, Ints] | Limit:
    from scipy.optimize import linear_sum_assignment

    found: list[tuple[Ints, Ints]] = []

    def work() -> None:
        found.append(linear_sum_assignment(worth, maximize=True))

    if worth.size <= AT_ONCE:
        work()
    else:
        # The backend cannot be stopped, but it lets go of the interpreter: what is told to stop
        # leaves it behind.
        thread = threading.Thread(target=work, daemon=True, name="linear assignment")
        thread.start()
        while thread.is_alive():
            thread.join(ASK_EVERY_S)
            limit = clock.hit()
            if limit is not Limit.NONE and thread.is_alive():
                return limit
    if not found:
        raise SolverError("the assignment failed", advice="use another solver, such as 'milp'.")
    row, column = found[0]
    pays = worth[row, column] > 0
    return row[pays], column[pays]


def _prices(worth: Floats, row: Ints, column: Ints) -> tuple[Floats, Floats]:
    """Return the least prices of columns, and those of rows."""
    n_rows = worth.shape[0]
    partner = np.full(n_rows, -1, dtype=np.int64)
    partner[row] = column
    of_match = np.zeros(n_rows)
    of_match[row] = worth[row, column]
    price = worth[partner < 0].max(axis=0, initial=0.0)
    hair = HAIR * float(worth.max(initial=0.0))
    active = row
    # A price rises at most once for every other column that it can follow.
    for _ in range(worth.shape[1] + 1):
        if not active.size:
            break
        of_row = of_match[active] - price[partner[active]]
        found = (worth[active] - of_row[:, None]).max(axis=0)
        risen = found > price + hair
        price[risen] = found[risen]
        active = row[risen[column]]
    of_rows = of_match.copy()
    of_rows[row] -= price[column]
    return price, np.maximum(of_rows, 0.0)


def _of_gpus(found: Transport, of_task: Floats) -> Floats:
    """Return, for each host, what a GPU of its class is worth without a service."""
    problem, hosts = found.problem, found.hosts
    empty = np.ones(hosts.size, dtype=bool)
    empty[hosts.host] = False
    mine = found.column[empty[hosts.of_column[found.column]]]
    best = np.zeros(problem.gpu_count.size)
    reduced = problem.columns.value[mine] - of_task[found.task[mine]]
    np.maximum.at(best, problem.columns.gpu[mine], reduced)
    return np.asarray(best[hosts.gpu])
