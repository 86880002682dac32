"""The same question gets the same bytes: in three runs, shuffled, and under other hash seeds."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

from hypothesis import HealthCheck, Phase, given, settings

from colocate.instance import Instance
from colocate.testing import any_instance

QUESTIONS = 50
RUNS = ((None, "0"), (1, "1"), (2, "12345"))
"""Order of the lists (None: as drawn) and PYTHONHASHSEED."""
ANSWER = """
import hashlib, json, sys
import colocate as co
from colocate.errors import ColocateError
for line in sys.stdin:
    instance = co.Instance.model_validate(json.loads(line))
    for solver in ("greedy", "brute_force", "auto"):
        try:
            plan = co.solve(instance, solver).plan
            text = "none" if plan is None else plan.model_dump_json(by_alias=True)
        except ColocateError as error:
            text = str(error)
        print(solver, instance.sha256, hashlib.sha256(text.encode()).hexdigest())
"""


def drawn() -> list[str]:
    """Fifty instances as JSON lines."""
    found: list[str] = []

    @settings(
        max_examples=QUESTIONS,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(any_instance())
    def keep(instance: Instance) -> None:
        found.append(instance.model_dump_json(by_alias=True, exclude_none=True))

    keep()
    return found


def shuffled(line: str, seed: int) -> str:
    """The same instance with every list and every object in another order."""
    rng = random.Random(seed)
    spec = json.loads(line)
    lists = [spec[name] for name in ("gpu_pools", "services", "tasks", "profiles")]
    lists += [spec["interference"]["pairs"], spec["rules"]["quotas"]]
    lists += [spec["rules"]["anti_affinity"]]
    lists += [pool["measured_sms"] for pool in spec["gpu_pools"] if "measured_sms" in pool]
    lists += [s[key] for s in spec["services"] for key in ("batches", "pinned") if key in s]
    for items in lists:
        rng.shuffle(items)

    def reordered(value: object) -> object:
        if isinstance(value, dict):
            keys = list(value)
            rng.shuffle(keys)
            return {k: reordered(value[k]) for k in keys}
        return [reordered(v) for v in value] if isinstance(value, list) else value

    return json.dumps(reordered(spec))


def test_plans_do_not_depend_on_the_run_the_order_or_the_hash_seed() -> None:
    """50 instances, three solvers, three processes: one set of plans."""
    lines = drawn()
    processes = []
    for order, hash_seed in RUNS:
        text = lines if order is None else [shuffled(line, order) for line in lines]
        started = subprocess.Popen(
            [sys.executable, "-c", ANSWER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            text=True,
        )
        processes.append((started, "\n".join(text)))
    answers = []
    for process, text_in in processes:
        out, _ = process.communicate(text_in, timeout=300)
        assert process.returncode == 0
        answers.append(out.splitlines())
    assert len(answers[0]) == 3 * len(lines) == 3 * QUESTIONS
    for other in answers[1:]:
        assert other == answers[0]
