"""Instances drawn freely: whether they can be satisfied is for the oracle to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.testing._parts import (
    Spec,
    Tight,
    chance,
    draw_confidence,
    draw_interference,
    draw_objective,
    draw_pools,
    draw_profile,
    draw_service,
    draw_slo_model,
    draw_task,
    draw_tight,
    pick,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["draw_entries", "draw_free", "draw_profiles", "gpus_of"]

BATCHES = ((4,), (1,), (2, 8), (1, 4))


def draw_free(rng: Random, *, tight: frozenset[Tight] | None = None) -> Spec:
    """Draw an instance without looking at what fits; `tight` names the rules that are to bite."""
    types = ["A", "B"][: pick(rng, 1, 1, 2)]
    confidence = draw_confidence(rng)
    tight = draw_tight(rng) if tight is None else tight
    pools = draw_pools(rng, types, tight)
    services, tasks = draw_entries(rng, len(gpus_of(pools)), tight)
    profiles = draw_profiles(rng, types, [*services, *tasks], confidence, everywhere=False)
    slo_model = draw_slo_model(rng)
    for service in services:
        _draw_load(rng, service, profiles, slo_model["name"], tight)
        _draw_batches(rng, service, profiles)
        _draw_pinned(rng, service, pools)
    if chance(rng, 10):
        for entry in [*services, *tasks]:
            entry["user_id"] = pick(rng, 1000, 1000, 1001, None)
    workloads = sorted({e["profile"] for e in [*services, *tasks]})
    return {
        "name": "drawn",
        "slo_model": slo_model,
        "confidence": confidence,
        "objective": draw_objective(rng),
        "gpu_pools": pools,
        "services": services,
        "tasks": tasks,
        "profiles": profiles,
        "interference": draw_interference(rng, types, workloads, confidence, everywhere=False),
        "rules": _draw_rules(rng, pools, services, tasks, tight),
    }


def draw_entries(
    rng: Random, n_gpus: int, tight: frozenset[Tight]
) -> tuple[list[Spec], list[Spec]]:
    """Draw services with at most three replicas and tasks with at most five workers in all.

    Mostly there are no more replicas than GPUs, and more workers than GPUs: a demand that can be
    met, and a choice to make.
    """
    shapes = [(1,), (1, 1), (2,), (), (2, 1), (1, 1, 1), (3,)]
    if chance(rng, 85):
        shapes = [shape for shape in shapes if sum(shape) <= n_gpus]
    services = [
        draw_service(rng, f"s{i}", f"net{pick(rng, i, i, 0)}", replicas)
        for i, replicas in enumerate(pick(rng, *shapes))
    ]
    tasks: list[Spec] = []
    workers = pick(rng, 4, 3, 5, 5, 2, 1)
    while workers and len(tasks) < 3:
        profile = f"job{pick(rng, len(tasks), len(tasks), 0)}"
        batch = next((t["batch"] for t in tasks if t["profile"] == profile), pick(rng, 8, 32))
        tasks.append(
            draw_task(
                rng,
                f"t{len(tasks)}",
                profile,
                batch=batch,
                workers=workers,
                gangs=chance(rng, 80 if "gang" in tight else 10),
            )
        )
        if chance(rng, 20):
            tasks[-1]["batches"] = list(pick(rng, (8, 32), (8, 32), (8, 16, 32), (16,)))
            tasks[-1]["noise_scale"] = pick(rng, 100.0, 0.0, 20.0, 1000.0)
        workers -= tasks[-1]["count"] * tasks[-1]["gang_size"]
        if chance(rng, 10):
            break
    return services, tasks


def draw_profiles(
    rng: Random,
    types: Sequence[str],
    entries: Sequence[Spec],
    confidence: float,
    *,
    everywhere: bool,
) -> list[Spec]:
    """Draw a profile for each workload on each GPU type; one in a while is missing."""
    trained: dict[str, set[int]] = {e["profile"]: set() for e in entries}
    for e in entries:
        trained[e["profile"]] |= {e["batch"], *e.get("batches", ())} if "batch" in e else set()
    found = []
    for workload, asked in sorted(trained.items()):
        role = "training" if asked else "inference"
        batches = tuple(sorted(asked)) or pick(rng, *BATCHES)
        kept = list(types)
        if len(types) > 1 and chance(rng, 20):
            kept.remove(pick(rng, *types))
        found += [
            draw_profile(
                rng,
                workload,
                gpu_type,
                role,
                batches=batches,
                confidence=confidence,
                everywhere=everywhere,
            )
            for gpu_type in kept
        ]
    return found


def _draw_load(
    rng: Random,
    service: Spec,
    profiles: Sequence[Spec],
    slo_model: str,
    tight: frozenset[Tight],
) -> None:
    """Draw an arrival rate and an SLO around what one of the profiles can do on a whole GPU."""
    profile = pick(rng, *[p for p in profiles if p["workload"] == service["profile"]])
    at_batch = pick(rng, *profile["curve"]["batches"])
    batch = at_batch["batch"]
    if "points" in at_batch:
        rate = at_batch["points"][-1]["rate"]
    else:
        rate = max(1.0, min(x["intercept"] + 100 * x["slope"] for x in at_batch["lines"]))
    arrivals = rate * pick(rng, 0.1, 0.25, 0.4, *((0.6,) if "slo" in tight else (0.05,)))
    margins = (2.0, 1.3, 1.5, 2.5, 1.0) if "slo" in tight else (8.0, 4.0, 20.0)
    margin = pick(rng, *margins)
    service["rate_rps"] = arrivals
    service["slo_ms"] = 1000 * margin * arrivals / rate
    if slo_model != "mudi":
        service["slo_ms"] = 1000 * (batch / arrivals + margin * batch / rate)


def _draw_batches(rng: Random, service: Spec, profiles: Sequence[Spec]) -> None:
    known = {
        b["batch"]
        for p in profiles
        if p["workload"] == service["profile"]
        for b in p["curve"]["batches"]
    }
    if chance(rng, 15):
        service["batches"] = [pick(rng, *sorted(known))]


def gpus_of(pools: Sequence[Spec]) -> list[tuple[str, int]]:
    """Return (pool, ordinal) of every GPU."""
    return [
        (p["id"], p.get("first", 0) + i)
        for p in pools
        for i in range(p["count"] if "count" in p else len(p["uuids"]))
    ]


def _draw_pinned(rng: Random, service: Spec, pools: Sequence[Spec]) -> None:
    gpus = gpus_of(pools)
    if service["replicas"] <= len(gpus) and chance(rng, 20):
        start = pick(rng, *range(len(gpus)))
        homes = [gpus[(start + i) % len(gpus)] for i in range(service["replicas"])]
        service["pinned"] = [{"pool": pool, "gpus": str(i)} for pool, i in homes]


def _draw_rules(
    rng: Random,
    pools: Sequence[Spec],
    services: Sequence[Spec],
    tasks: Sequence[Spec],
    tight: frozenset[Tight],
) -> Spec:
    rules: Spec = {}
    if chance(rng, 25):
        rules["services_per_gpu"] = pick(rng, 2, 2, 2, 2, 0)
    if chance(rng, 35):
        rules["tasks_per_gpu"] = pick(rng, 2, 2, 2, 2, 2, 0)
    if chance(rng, 15):
        rules["workloads_per_gpu"] = pick(rng, 2, 1, 3)
    if chance(rng, 10):
        rules["tenants_per_gpu"] = pick(rng, 1, 2)
    ids = [e["id"] for e in [*services, *tasks]]
    if ids and chance(rng, 15):
        rules["anti_affinity"] = [{"left": [pick(rng, *ids)], "right": [pick(rng, *ids)]}]
    if tasks and chance(rng, 95 if "quota" in tight else 10):
        rules["quotas"] = _draw_quotas(rng, tasks)
        units = {q["unit"] for q in rules["quotas"]}
        if "gpu_share" in units and not all("measured_sms" in p for p in pools):
            # Where shares count, each percentage is a knob of its own: with several tasks on a GPU
            # there would be too many to enumerate.
            rules["tasks_per_gpu"] = min(1, rules.get("tasks_per_gpu", 1))
    return rules


def _draw_quotas(rng: Random, tasks: Sequence[Spec]) -> list[Spec]:
    """Draw quotas for some tenants, mostly a maximum below what the tenant asks for."""
    quotas: list[Spec] = []
    for tenant in sorted({t["tenant"] for t in tasks}):
        asked = sum(t["count"] for t in tasks if t["tenant"] == tenant)
        for unit, likely in (("tasks", 70), ("gpu_share", 35)):
            if not chance(rng, likely):
                continue
            quota: Spec = {"tenant": tenant, "unit": unit}
            if not chance(rng, 15):
                few = (asked - 1, asked - 1, 1, 0) if asked > 1 else (0, 1)
                limits = few if unit == "tasks" else (0.25, 0.5, 0.33, 1.0)
                quota["maximum"] = pick(rng, *limits)
            if "maximum" not in quota or chance(rng, 5):
                quota["minimum"] = pick(rng, 1, asked) if unit == "tasks" else pick(rng, 0.1, 0.55)
            if quota.get("minimum", 0) <= quota.get("maximum", 100):
                quotas.append(quota)
    return quotas
