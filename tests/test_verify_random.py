"""The judge and a plain reading of the formulation agree on random plans, legal and illegal."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate import solve
from colocate.datasets import families, generate
from colocate.errors import ColocateError
from colocate.instance import Instance, Task
from colocate.testing._plain_model import (
    Choice,
    Setting,
    Workload,
    choices_of,
    is_coupled,
    may_share,
    settings_of,
    workloads_of,
)
from colocate.testing.strategies import instances
from colocate.verify import verify
from tests.judging.plain_judge import Held, Placements, is_legal, workers_of
from tests.judging.plans import On, hand_made


def ordinals_of(workload: Workload) -> list[tuple[Workload, int]]:
    """Return each replica or worker of an entry."""
    entry = workload.entry
    n = entry.count * entry.gang_size if isinstance(entry, Task) else entry.replicas
    return [(workload, i) for i in range(min(n, 6))]


@st.composite
def attempts(draw: st.DrawFn) -> tuple[Instance, Placements]:
    """Draw an instance and placements that are right in most places."""
    instance = draw(instances(draw(st.sampled_from(["feasible", "free", "boundary"]))))
    todo = [item for w in workloads_of(instance) for item in ordinals_of(w)]
    # Required services first, most of the time: a plan without them is legal for no instance.
    if draw(st.integers(0, 9)) > 0:
        todo.sort(key=lambda item: isinstance(item[0].entry, Task) or not item[0].entry.required)
    gpus = [
        (p.id, i)
        for p in instance.gpu_pools
        for i in range(p.first, p.first + p.size)
        if p.schedulable or draw(st.integers(0, 9)) == 0
    ]
    company: dict[tuple[str, int], list[tuple[Workload, int]]] = {gpu: [] for gpu in gpus}
    careful = draw(st.integers(0, 9)) > 0
    for item in todo:
        order = draw(st.permutations(gpus)) if gpus else []
        for gpu in order[: draw(st.integers(1, 3))]:
            together = [w for w, _ in company[gpu]] + [item[0]]
            if not careful or may_share(instance, instance.pool(gpu[0]), together):
                company[gpu].append(item)
                break
    placements = {
        gpu: [_knobs(draw, instance, gpu[0], held, k) for k in range(len(held))]
        for gpu, held in company.items()
        if held
    }
    if draw(st.integers(0, 9)) > 0:
        placements = without_torn_gangs(instance, placements)
    return instance, placements


def _knobs(
    draw: st.DrawFn, instance: Instance, pool_id: str, held: list[tuple[Workload, int]], k: int
) -> Held:
    workload, ordinal = held[k]
    others = [w for j, (w, _) in enumerate(held) if j != k]
    pool = instance.pool(pool_id)
    # Where slowdowns depend on knobs, whether an SLO holds shows only when all knobs are drawn.
    possible: list[Choice] | list[Setting] = (
        list(choices_of(instance, pool, workload))
        if is_coupled(instance, pool.gpu_type, [workload, *others])
        else list(settings_of(instance, pool, workload, others))
    )
    if possible and draw(st.integers(0, 29)) > 0:
        small: list[Choice | Setting] = sorted(possible, key=lambda s: s.knob.taken)
        setting = draw(st.sampled_from(small[: max(1, len(small) // len(held))]))
        share = draw(st.integers(setting.knob.first, setting.knob.last))
        return Held(workload, ordinal, setting.batch, share)
    batch = draw(st.sampled_from([1, 2, 4, 8, 16]))
    return Held(workload, ordinal, batch, draw(st.integers(1, 100)))


def without_torn_gangs(instance: Instance, placements: Placements) -> Placements:
    """Return the placements without the workers of gangs that are not whole."""
    whole = set()
    for name, workers in workers_of(placements).items():
        k = instance.task(name).gang_size
        for gang in {w // k for w in workers}:
            members = range(gang * k, gang * k + k)
            if len({workers.get(w) for w in members} - {None}) == k:
                whole |= {(name, w) for w in members}
    kept = {
        gpu: [
            h
            for h in held
            if not isinstance(h.workload.entry, Task) or (h.workload.id, h.ordinal) in whole
        ]
        for gpu, held in placements.items()
    }
    return {gpu: held for gpu, held in kept.items() if held}


def groups_of(placements: Placements) -> list[On]:
    """Return one group for each GPU."""
    return [
        On(
            pool,
            str(gpu),
            [row(h) for h in held if not isinstance(h.workload.entry, Task)],
            [row(h) for h in held if isinstance(h.workload.entry, Task)],
        )
        for (pool, gpu), held in placements.items()
    ]


def row(held: Held) -> tuple[str, str, int, int]:
    """Return id, ordinal, batch and share."""
    return held.workload.id, str(held.ordinal), held.batch, held.share_pct


def test_the_judge_agrees_with_a_plain_reading():
    seen: Counter[bool] = Counter()

    @given(attempts())
    @settings(max_examples=max(150, settings().max_examples))
    def agree(attempt: tuple[Instance, Placements]) -> None:
        instance, placements = attempt
        legal = is_legal(instance, placements)
        plan = hand_made(instance, groups_of(placements))
        verdict = verify(instance, plan)
        assert verdict.ok == legal, verdict.violations
        seen[legal] += 1

    agree()
    assert min(seen[True], seen[False]) > 0.15 * seen.total(), seen


@pytest.mark.parametrize("solver", ["greedy", "brute_force"])
def test_plans_of_the_solvers_are_accepted(solver: str):
    """Whatever a solver plans, on 50 generated instances, with the bound that it was given."""
    judged = 0
    for seed in range(5):
        for family in families():
            instance = generate(family, gpus=3, services=2, tasks=2, seed=seed, sm_count=12)
            try:
                result = solve(instance, solver)
            except ColocateError:
                continue
            assert result.termination.reason.value != "error", result.termination.detail
            if result.plan is not None:
                verdict = verify(instance, result.plan)
                assert verdict.ok
                assert verdict.bound == result.bound
                judged += 1
    assert judged >= 30
