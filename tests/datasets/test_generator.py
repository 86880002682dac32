"""Generated instances: the same for ever, feasible, and what their family's name says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest

import colocate as co
from colocate.datasets import families, generate
from colocate.errors import InputError
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.problem import Problem, compile_problem

if TYPE_CHECKING:
    from colocate.columns import Columns
    from colocate.instance import GpuPool, Instance, Service

FAMILIES = families()
SEEDS = range(4)

FEW_TYPES_SEED_0 = [
    (1470.0, 248.5, 2),
    (387.9, 901.1, 3),
    (686.2, 268.3, 1),
    (235.1, 264.9, 2),
    (730.1, 218.4, 2),
]
ALL_DISTINCT_SEED_0 = (1464.730816, 720.570219, 579.304258)


@cache
def problem(family: str, seed: int, gpus: int = 12) -> Problem:
    return compile_problem(generate(family, gpus=gpus, seed=seed))


def least_share(instance: Instance, pool: GpuPool, service: Service) -> int | None:
    """Return the smallest percentage at which a service meets its SLO alone and in memory."""
    profile = instance.profile(service.profile, pool.gpu_type)
    if profile is None:
        return None
    model = slo_model(instance.slo_model)
    sure = 1 - relative_error(profile.rate_error, instance.confidence)
    for share in range(1, 101):
        lo = share * pool.sm_count // 100
        for batch in batches_of(profile) if lo else ():
            rate = rate_alone(profile, batch, 100 * lo / pool.sm_count)
            memory = memory_per_process(profile, batch)
            assert rate is not None
            assert memory is not None
            if rate == 0 or memory > pool.memory_gib - pool.reserve_gib:
                continue
            asked = service.rate_rps, service.slo_ms, service.slo_percentile
            judged = model.judge(batch, batch / rate, batch / (rate * sure), *asked)
            if judged.allowed:
                return share
    return None


def pair_values(found: Problem) -> dict[tuple[int, int], float]:
    """Return the worth of every feasible (service class, single task class) pair."""
    columns: Columns = found.columns
    values: dict[tuple[int, int], float] = {}
    for c in range(columns.size):
        at = slice(columns.start[c], columns.start[c + 1])
        if columns.is_task[at].tolist() == [False, True] and columns.level[at][1] < 0:
            s, t = columns.cls[at].tolist()
            values[s, t] = max(values.get((s, t), 0.0), float(columns.value[c]))
    return values


# -- determinism -------------------------------------------------------------------------------


def test_same_arguments_give_the_same_instance_in_any_process():
    code = (
        "from colocate.datasets import *\n"
        "print([generate(f, gpus=20, seed=7).sha256 for f in families()])"
    )
    here = str([generate(f, gpus=20, seed=7).sha256 for f in FAMILIES])
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


def test_stream_of_numbers_never_changes():
    few = generate("few_types", gpus=12, seed=0)
    assert [(s.rate_rps, s.slo_ms, s.replicas) for s in few.services] == FEW_TYPES_SEED_0
    distinct = generate("all_distinct", gpus=4, seed=0).service_table
    assert distinct is not None
    assert distinct.rate_rps == ALL_DISTINCT_SEED_0


@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_and_families_differ(family):
    assert len({generate(family, gpus=12, seed=s).sha256 for s in range(10)}) == 10


# -- size --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gpus", [2, 3, 5, 12, 1000])
def test_sizes_are_as_asked(family, gpus):
    instance = generate(family, gpus=gpus, seed=1)
    replicas = sum(s.replicas for s in instance.iter_services())
    workers = sum(t.count * t.gang_size for t in instance.iter_tasks())
    assert instance.gpu_count == gpus
    assert 1 <= replicas <= gpus - 1
    assert replicas >= 0.9 * gpus - 1
    assert workers > 0.9 * gpus
    assert len({p.workload for p in instance.profiles}) <= 60


def test_options_are_kept():
    instance = generate(
        "few_types", gpus=8, seed=2, services=2, tasks=3, sm_count=10, batches=2, confidence=0.9
    )
    assert (len(instance.services), len(instance.tasks)) == (2, 3)
    assert instance.gpu_pools[0].sm_count == 10
    assert instance.confidence == 0.9
    assert {b for p in instance.profiles if p.role == "inference" for b in batches_of(p)} == {
        16,
        32,
    }


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"gpus": 1}, "$.gpus"),
        ({"gpus": 10**9}, "$.gpus"),
        ({"seed": -1}, "$.seed"),
        ({"services": 0}, "$.services"),
        ({"tasks": -3}, "$.tasks"),
        ({"sm_count": 3}, "$.sm_count"),
        ({"batches": 0}, "$.batches"),
        ({"confidence": 0.999}, "$.confidence"),
    ],
)
def test_senseless_sizes_are_refused(wrong, path):
    with pytest.raises(InputError) as caught:
        generate("few_types", **wrong)
    assert caught.value.path == path
    assert caught.value.advice


def test_an_unknown_family_is_refused():
    with pytest.raises(InputError, match="few_types"):
        generate("many_types")


MILLION = """
import gc, resource
from colocate.datasets import families, generate
from colocate.instance import GpuPool, Service, Task
generate("typed", gpus=10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for family in families():
    instance = generate(family, gpus=1_000_000, seed=3)
    assert instance.gpu_count == 1_000_000
    alive = sum(isinstance(o, Service | Task | GpuPool) for o in gc.get_objects())
    assert alive < 1000, (family, alive)
    del instance
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_million_gpus_take_neither_a_million_objects_nor_much_memory():
    done = subprocess.run(
        [sys.executable, "-c", MILLION], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 300e6


# -- feasible by construction ------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gpus", [2, 7, 40, 20_000])
def test_required_services_have_a_place(family, seed, gpus):
    if family == "all_distinct":
        gpus = min(gpus, 40)
    instance = generate(family, gpus=gpus, seed=seed)
    graph: nx.DiGraph[object] = nx.DiGraph()
    for service in instance.iter_services():
        graph.add_edge("source", service.id, capacity=service.replicas)
        for pool in instance.gpu_pools:
            if least_share(instance, pool, service) is not None:
                graph.add_edge(service.id, pool)
    for pool in instance.gpu_pools:
        graph.add_edge(pool, "sink", capacity=pool.size)
    placed = nx.maximum_flow_value(graph, "source", "sink")
    assert placed == sum(s.replicas for s in instance.iter_services())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gpus", [2, 3, 4])
def test_tiny_instances_are_solved(family, gpus):
    for seed in SEEDS:
        instance = generate(
            family, gpus=gpus, seed=seed, services=2, tasks=3, sm_count=6, batches=2
        )
        assert co.solve(instance, "brute_force").ok


# -- not trivial -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_differ_and_not_all_are_possible(family):
    impossible = total = 0
    for seed in SEEDS:
        found = problem(family, seed)
        values = pair_values(found)
        sizes = len(found.service_count), int((found.gang_size == 1).sum())
        total += sizes[0] * sizes[1]
        impossible += sizes[0] * sizes[1] - len(values)
        assert len({round(v, 6) for v in values.values()}) > 0.5 * len(values) > 0
    if family not in ("loose_slo", "heterogeneous"):
        assert 0.02 * total < impossible < 0.9 * total


# -- what the name says ------------------------------------------------------------------------


def shares_alone(family: str) -> list[int]:
    found = []
    for seed in range(8):
        instance = generate(family, seed=seed)
        for service in instance.services:
            share = least_share(instance, instance.gpu_pools[0], service)
            assert share is not None
            found.append(share)
    return found


def test_tight_services_need_much_and_loose_ones_little():
    tight, loose = shares_alone("tight_slo"), shares_alone("loose_slo")
    assert min(tight) >= 30
    assert max(tight) - min(tight) >= 20
    assert max(loose) <= 15


def test_tight_slos_have_no_slack():
    for seed in SEEDS:
        instance = generate("tight_slo", seed=seed)
        pool = instance.gpu_pools[0]
        for service in instance.services:
            share = least_share(instance, pool, service)
            hurried = service.model_copy(update={"slo_ms": service.slo_ms / 1.05})
            needed = least_share(instance, pool, hurried)
            assert share is not None
            assert needed is None or needed > share


def test_memory_binds():
    blocked = smaller = 0
    for seed in SEEDS:
        instance = generate("binding_memory", seed=seed)
        (pool,) = instance.gpu_pools
        roomy = instance.model_copy(
            update={"gpu_pools": (pool.model_copy(update={"memory_gib": 1000.0}),)}
        )
        tight, free = (pair_values(compile_problem(i)) for i in (instance, roomy))
        assert set(tight) <= set(free)
        blocked += len(set(free) - set(tight))
        smaller += sum(tight[pair] < free[pair] - 1e-9 for pair in tight)
    assert blocked >= 5
    assert smaller >= 5


def test_gangs_have_several_sizes():
    instance = generate("gangs", gpus=30, seed=1)
    assert {t.gang_size for t in instance.tasks} == {1, 2, 3, 4}
    assert generate("gangs", gpus=2, seed=1).tasks[2].gang_size == 2


def test_tenants_have_quotas_that_bind_and_a_floor_within_reach():
    for gpus in (4, 12, 500):
        instance = generate("tenants", gpus=gpus, seed=gpus)
        have = Counter[str]()
        for task in instance.tasks:
            have[task.tenant] += task.count
        quotas = {q.tenant: q for q in instance.rules.quotas}
        assert (quotas["team-a"].maximum or 0) < have["team-a"]
        assert quotas["team-b"].unit == "gpu_share"
        assert (quotas["team-b"].maximum or 0) < have["team-b"]
        free = gpus - sum(s.replicas for s in instance.services)
        assert 1 <= (quotas["team-c"].minimum or 0) <= min(free, have["team-c"])
        assert {t.user_id for t in instance.tasks} == {1000, 1001}


def test_heterogeneous_gpus_differ_and_so_does_what_runs_on_them():
    instance = generate("heterogeneous", gpus=16, seed=1)
    assert {(p.gpu_type, p.size) for p in instance.gpu_pools} == {
        ("gpu-large", 4),
        ("gpu-medium", 8),
        ("gpu-small", 4),
    }
    on = Counter(p.gpu_type for p in instance.profiles)
    assert on["gpu-small"] < on["gpu-medium"] == on["gpu-large"]
    fastest = instance.profile("serve-0", "gpu-large")
    slowest = instance.profile("serve-0", "gpu-small")
    assert fastest is not None
    assert slowest is not None
    assert (rate_alone(fastest, 16, 50) or 0) > 2 * (rate_alone(slowest, 16, 50) or 0)


def test_two_tasks_are_worth_more_than_one():
    for seed in SEEDS:
        columns = problem("two_tasks", seed).columns
        tasks = np.bincount(columns.owner, weights=columns.is_task).astype(int)
        services = np.diff(columns.start) - tasks
        for n in (0, 1):
            single = columns.value[(services == n) & (tasks == 1)]
            double = columns.value[(services == n) & (tasks == 2)]
            assert double.size > 0
            assert double.max() > single.max()


def test_all_distinct_is():
    instance = generate("all_distinct", gpus=20_000, seed=5)
    services, tasks = instance.service_table, instance.task_table
    assert services is not None
    assert tasks is not None
    assert not instance.services
    assert not instance.tasks
    assert isinstance(services.rate_rps, tuple)
    assert isinstance(services.slo_ms, tuple)
    assert isinstance(tasks.weight, tuple)
    assert len(set(zip(services.rate_rps, services.slo_ms, strict=True))) == services.rows == 18_000
    assert len(set(tasks.weight)) == tasks.rows == 24_000


def test_typed_is_the_benchmark():
    instance = generate("typed", gpus=10_000, seed=0)
    found = compile_problem(instance)
    values = pair_values(found)
    assert found.service_count.size == 50
    assert found.task_count.size == 200
    assert instance.gpu_pools[0].sm_count == 108
    assert all(len(batches_of(p)) == 6 for p in instance.profiles if p.role == "inference")
    assert found.service_count.sum() == 9_000
    assert found.task_count.sum() == 12_000
    assert 0.3 < len(values) / (50 * 200) < 0.9
    partners = {frozenset(t for s, t in values if s == service) for service in range(50)}
    assert len(partners) >= 20
