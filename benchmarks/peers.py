"""Greedy beside plain methods on one instance: how near to the optimum, and how fast.

The plain methods get the same table: what every kind of task is worth beside every kind of service,
by enumeration of batches and shares with the models' plain functions, nothing compiled. It holds
for one GPU type, one service and one task on a GPU, as in the family `typed`; then the problem on
single GPUs is an assignment problem and SciPy solves it exactly.
"""

from __future__ import annotations

import argparse
import json
from itertools import accumulate
from typing import TYPE_CHECKING

from _measure import Row, fresh, show, timed

if TYPE_CHECKING:
    from colocate.instance import Instance, Service, Task

__all__ = ["measure"]

GPUS, SEED = 2_000, 0
NOBODY = -1


def measure() -> dict[str, list[Row]]:
    """Return the table `peers`."""
    return {"peers": fresh(__file__, {"gpus": GPUS, "seed": SEED})}


def _case(gpus: int, seed: int) -> list[Row]:
    import numpy as np
    import scipy.optimize

    import colocate as co
    from colocate.datasets import generate

    instance = generate("typed", gpus=gpus, seed=seed)
    services, tasks = list(instance.iter_services()), list(instance.iter_tasks())
    table_s, worth = timed(lambda: _worth(instance, services, tasks))
    # A GPU each: the replicas first, then the GPUs that hold no service.
    hosts = [s for s, service in enumerate(services) for _ in range(service.replicas)]
    hosts += [NOBODY] * (gpus - len(hosts))

    def exact() -> float:
        columns = np.repeat(np.arange(len(tasks)), [t.count for t in tasks])
        values = np.array(worth)[np.ix_(np.array(hosts), columns)]
        rows, chosen = scipy.optimize.linear_sum_assignment(values, maximize=True)
        return float(values[rows, chosen].sum())

    exact_s, optimum = timed(exact)
    counts = [t.count for t in tasks]
    in_turn_s, in_turn = timed(lambda: _gpu_by_gpu(worth, hosts, counts))
    best_first_s, best_first = timed(lambda: _best_pair_first(worth, hosts, counts))
    cold_s, result = timed(lambda: co.solve(instance, "greedy"))
    warm = [timed(lambda: co.solve(instance, "greedy"))[1].timings for _ in range(3)]
    assert result.objective is not None
    assert result.bound is not None
    assert optimum <= result.bound * (1 + 1e-6)
    greedy_s = min(t.compile_s + t.solve_s for t in warm)

    def row(method: str, value: float, table: float | None, seconds: float | None) -> Row:
        total = None if seconds is None else (table or 0.0) + seconds
        return {
            "method": method,
            "gpus": gpus,
            "seed": seed,
            "objective": round(value, 4),
            "of_optimum": round(value / optimum, 4),
            "table_s": None if table is None else round(table, 3),
            "method_s": None if seconds is None else round(seconds, 4),
            "total_s": None if total is None else round(total, 4),
            "times_greedy": None if total is None else round(total / greedy_s, 2),
        }

    return [
        row("optimum: SciPy linear_sum_assignment on single GPUs", optimum, table_s, exact_s),
        row("colocate greedy, warm: compile and solve", result.objective, None, greedy_s),
        row(
            "colocate greedy, warm: with expand and verify",
            result.objective,
            None,
            min(t.total_s for t in warm),
        ),
        row("colocate greedy, first call", result.objective, None, cold_s),
        row("bound that colocate proves with it", result.bound, None, None),
        row("plain Python: best pair first, GPU by GPU", best_first, table_s, best_first_s),
        row("plain Python: each GPU in turn takes its best task", in_turn, table_s, in_turn_s),
    ]


def _worth(instance: Instance, services: list[Service], tasks: list[Task]) -> list[list[float]]:
    """Return [service, task]: the best weighted normalised rate, 0 where the two cannot share.

    The last row is for GPUs without a service.
    """
    from bundled.pairs import service_share

    from colocate.components import at_most
    from colocate.models.interference import slowdown
    from colocate.models.memory import memory_per_process

    (pool,) = instance.gpu_pools
    room = pool.memory_gib - pool.reserve_gib
    within = {(t.profile, t.batch): _rates_within(instance, t) for t in tasks}
    taken: dict[str, list[tuple[int, float]]] = {}
    slower: dict[str, float] = {}
    worth = []
    for service in [*services, None]:
        for t in {t.profile: t for t in tasks}.values():
            company = [] if service is None else [service.profile]
            found = slowdown(
                instance.interference, pool.gpu_type, t.profile, company, instance.confidence
            )
            assert found is not None
            slower[t.profile] = found.mean
            taken[t.profile] = [(0, 0.0)]
            if service is not None:
                least = service_share(instance, pool, service, t)
                taken[t.profile] = [(sms, gib) for _, sms, _, gib in least]
        line = []
        for t in tasks:
            profile = instance.profile(t.profile, pool.gpu_type)
            assert profile is not None
            memory = t.memory_gib or memory_per_process(profile, t.batch) or float("inf")
            rates = within[t.profile, t.batch]
            left = [
                rates[pool.sm_count - sms]
                for sms, gib in taken[t.profile]
                if at_most(gib + memory * t.processes, room)
            ]
            line.append(t.weight * max(left, default=0.0) / slower[t.profile] / rates[-1])
        worth.append(line)
    return worth


def _rates_within(instance: Instance, task: Task) -> list[float]:
    """Return the best rate alone with at most h multiprocessors, for h = 0 ... all."""
    from bundled.pairs import steps

    from colocate.models.curves import rate_alone

    (pool,) = instance.gpu_pools
    profile = instance.profile(task.profile, pool.gpu_type)
    assert profile is not None
    rates = [0.0] * (pool.sm_count + 1)
    for _, sure, most in steps(pool):
        rate = rate_alone(profile, task.batch, 100 * sure / pool.sm_count)
        rates[most] = max(rates[most], rate or 0.0)
    return list(accumulate(rates, max))


def _gpu_by_gpu(worth: list[list[float]], hosts: list[int], counts: list[int]) -> float:
    """Let each GPU in turn take the task that is worth most on it, and return the total."""
    left, total = list(counts), 0.0
    for host in hosts:
        best, chosen = 0.0, None
        for t, value in enumerate(worth[host]):
            if left[t] and value > best:
                best, chosen = value, t
        if chosen is not None:
            left[chosen] -= 1
            total += best
    return total


def _best_pair_first(worth: list[list[float]], hosts: list[int], counts: list[int]) -> float:
    """Take the pairs from the best down, a GPU at a time, and return the total."""
    left, total = list(counts), 0.0
    free: dict[int, int] = {}
    for host in hosts:
        free[host] = free.get(host, 0) + 1
    pairs = [(v, host, t) for host in free for t, v in enumerate(worth[host]) if v > 0]
    for value, host, t in sorted(pairs, reverse=True):
        while free[host] and left[t]:
            free[host] -= 1
            left[t] -= 1
            total += value
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    case = parser.parse_args().case
    if case is None:
        for name, table in measure().items():
            show(name, table)
    else:
        print(json.dumps(_case(**json.loads(case))))


if __name__ == "__main__":
    main()
