"""What every task is worth beside every service: by runs, and by vectorised enumeration.

Services and tasks are all distinct: their own rates, SLOs, memory and pressure; 20 shares and 6
batches make 120 configurations of a pair. *invert* turns the SLO model into the slowdown that each
service bears; *runs* builds the matrix from that. *enumeration* looks at all configurations of all
pairs with NumPy, a pass over a block of the matrix for each; it is measured on some of the services
and scaled. Both give the same numbers, to the bit, where both are measured. Width: float32. The
400 MB of the largest matrix are written in place by *runs*, as enumeration's blocks are; what it
takes when they must be mapped first stands apart.

A second table begins with an instance of the family `all_distinct`: its classes, curves and
slowdowns, as the compiler has them.
"""

from __future__ import annotations

import argparse
import json

from _measure import Row, best_of, fresh, show, timed

__all__ = ["measure"]

SHARES, BATCHES, SEED, REPEATS = 20, 6, 0, 5
CASES = ((1_000, 20, 1e9), (1_000, 20, 12.0), (10_000, 1, 1e9), (10_000, 50, 1e9))
"""Services and tasks, kinds of service, room in GiB: 12 binds."""
ENUMERATED = 400
"""Services of which enumeration is measured."""
TIMES = 50.0


INSTANCES = (300, 1_000, 2_000)
"""GPUs of the family `all_distinct`."""


def measure() -> dict[str, list[Row]]:
    """Return the tables `value_matrix` and `value_matrix_instance`."""
    return {
        "value_matrix": [fresh(__file__, {"n": n, "kinds": k, "room": r}) for n, k, r in CASES],
        "value_matrix_instance": [fresh(__file__, {"gpus": n}) for n in INSTANCES],
    }


def _instance(gpus: int) -> Row:
    import numpy as np

    from colocate.classes import classify
    from colocate.configure import Configurator
    from colocate.configure.one_to_one import enumerated, pair_worth
    from colocate.configure.pairs import pairs_of
    from colocate.datasets import generate
    from colocate.models.slo import slo_model
    from colocate.objectives.base import objective
    from colocate.task_facts import task_facts

    instance = generate("all_distinct", gpus=gpus, seed=SEED)
    classes = classify(instance)
    facts = task_facts(instance, classes.tasks.representative)
    slo, value = slo_model(instance.slo_model), objective(instance.objective)
    curves_s, at = timed(
        lambda: Configurator(instance, classes, classes.gpus[0], slo, value, facts)
    )
    services = np.array([s for s, speed in enumerate(at.services) if speed is not None])
    tasks = np.array([t for t, speed in enumerate(at.tasks) if speed is not None])
    invert_s = best_of(REPEATS, lambda: pairs_of(at, services, tasks))
    pairs = pairs_of(at, services, tasks)
    found = pair_worth(pairs)
    runs_s = best_of(REPEATS, lambda: pair_worth(pairs, out=found.worth))
    few = pairs_of(at, services[: ENUMERATED // 4], tasks)
    every_s, truth = timed(lambda: enumerated(few))
    assert np.array_equal(found.worth[: len(truth)], truth)
    every_s *= services.size / len(truth)
    return {
        "gpus": gpus,
        "services": services.size,
        "tasks": tasks.size,
        "shares": at.gpu.grid.size,
        "batches": pairs.tolerated.shape[1],
        "together": round(float(np.isfinite(found.worth).mean()), 3),
        "memory_binds": found.memory_binds,
        "curves_s": round(curves_s, 4),
        "invert_s": round(invert_s, 4),
        "runs_s": round(runs_s, 4),
        "enumeration_s": round(every_s, 3),
        "times": round(every_s / (invert_s + runs_s), 1),
    }


def _case(n: int, kinds: int, room: float) -> Row:
    import numpy as np

    from colocate.configure.one_to_one import Pairs, enumerated, pair_worth, tolerated_slowdown
    from colocate.models.slo import slo_model
    from colocate.schema import Component

    dice = np.random.default_rng(SEED)
    share = np.arange(1, SHARES + 1) / SHARES
    batch = np.tile(2.0 ** np.arange(BATCHES), (n, 1))
    top, flat = dice.uniform(50, 500, (n, 1, 1)), dice.uniform(0.3, 1, (n, 1, 1))
    rate = top * np.minimum(share / flat, 1) * (batch / (batch + 4))[:, :, None]
    arrivals, slo_ms = top[:, 0, 0] * dice.uniform(0.05, 0.4, n), dice.uniform(100, 600, n)
    slo = slo_model(Component(name="fill", params={}))

    def invert() -> np.ndarray:
        return tolerated_slowdown(slo, batch, rate, arrivals, slo_ms, 99.0)

    sensitivity, pressure = dice.uniform(0.3, 1, kinds), dice.uniform(0.05, 1.5, n)
    weight, saturates = dice.uniform(0.5, 2, n), dice.uniform(0.3, 1, n)
    alone = weight * np.minimum((1 - share)[:, None] / saturates, 1)
    pairs = Pairs(
        tolerated=invert(),
        service_memory=dice.uniform(1, 8, (n, 1)) + 0.05 * batch,
        kind=dice.integers(0, kinds, n),
        high=1 + sensitivity[:, None] * pressure,
        task_memory=dice.uniform(1, 8, n),
        room=room,
        worth=lambda kind: alone / (1 + 0.3 * sensitivity[kind]),
    )
    some = Pairs(
        pairs.tolerated[:ENUMERATED],
        pairs.service_memory[:ENUMERATED],
        pairs.kind[:ENUMERATED],
        pairs.high,
        pairs.task_memory,
        room,
        pairs.worth,
    )
    # In turn, so that both see the same neighbours.
    invert_s = best_of(REPEATS, invert)
    first_s, found = timed(lambda: pair_worth(pairs, np.float32))
    runs_s = first_s
    every_s, truth = timed(lambda: enumerated(some, np.float32))
    for _ in range(REPEATS - 1):
        runs_s = min(runs_s, timed(lambda: pair_worth(pairs, np.float32, found.worth))[0])
        every_s = min(every_s, timed(lambda: enumerated(some, np.float32))[0])
    assert np.array_equal(found.worth[:ENUMERATED], truth)
    every_s *= n / min(n, ENUMERATED)
    times = every_s / (invert_s + runs_s)
    target = TIMES if n == 10_000 else None
    return {
        "services": n,
        "tasks": n,
        "kinds": kinds,
        "room_gib": None if room > 1e6 else room,
        "seed": SEED,
        "together": round(float(np.isfinite(found.worth).mean()), 3),
        "memory_binds": found.memory_binds,
        "not_monotone": found.not_monotone,
        "invert_s": round(invert_s, 4),
        "runs_in_new_memory_s": round(first_s, 4),
        "runs_s": round(runs_s, 4),
        "enumeration_s": round(every_s, 3),
        "times": round(times, 1),
        "target_times": target,
        "met": None if target is None else "yes" if times >= target else "NO",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    case = parser.parse_args().case
    if case is None:
        for name, table in measure().items():
            show(name, table)
    else:
        asked = json.loads(case)
        print(json.dumps(_instance(**asked) if "gpus" in asked else _case(**asked)))


if __name__ == "__main__":
    main()
