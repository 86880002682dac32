"""Instances without a plan, each for a reason of its own."""

from __future__ import annotations

from bundled.parts import BENT, STRAIGHT, instance, pool, serving, slowdowns, training
from colocate.instance import Instance, Quota, Rules, Service, Task

PROFILES = [serving("web", {4: STRAIGHT}, {4: 3.0}), training("bent", BENT, 4.0)]
TASKS = (Task(id="train", profile="bent", batch=32, count=2),)


def slo() -> Instance:
    return instance(
        "infeasible-slo",
        "A required service cannot meet its SLO even alone on a whole GPU: filling a batch takes "
        "20 ms and serving it another 4 ms, the SLO is 23 ms.",
        pools=[pool(count=2)],
        services=(Service(id="web", profile="web", rate_rps=200.0, slo_ms=23.0),),
        tasks=TASKS,
        profiles=PROFILES,
    )


def memory() -> Instance:
    return instance(
        "infeasible-memory",
        "A required service needs 15 GiB in five processes, and each GPU has 14.5 GiB after its "
        "reserve.",
        pools=[pool(count=2, reserve_gib=1.5)],
        services=(Service(id="web", profile="web", rate_rps=100.0, slo_ms=80.0, processes=5),),
        tasks=TASKS,
        profiles=PROFILES,
    )


def too_few_gpus() -> Instance:
    return instance(
        "infeasible-too-few-gpus",
        "Three required replicas, one on each GPU, and two GPUs that may be used: the third is not "
        "schedulable.",
        pools=[pool(count=2), pool("drained", schedulable=False)],
        services=(Service(id="web", profile="web", replicas=3, rate_rps=100.0, slo_ms=80.0),),
        tasks=TASKS,
        profiles=PROFILES,
    )


def floor() -> Instance:
    return instance(
        "infeasible-floor",
        "A tenant must have two tasks, but one of the two GPUs holds a service that needs it all.",
        pools=[pool(count=2)],
        services=(Service(id="web", profile="web", rate_rps=900.0, slo_ms=80.0),),
        tasks=TASKS,
        profiles=PROFILES,
        rules=Rules(quotas=(Quota(tenant="default", minimum=2.0),)),
    )


def users() -> Instance:
    return instance(
        "infeasible-users",
        "Two required services would fit on the one GPU, but they run as different Unix users.",
        pools=[pool()],
        services=(
            Service(id="web-a", profile="web", rate_rps=100.0, slo_ms=80.0, user_id=1000),
            Service(id="web-b", profile="web", rate_rps=100.0, slo_ms=80.0, user_id=1001),
        ),
        tasks=TASKS,
        profiles=PROFILES,
        rules=Rules(services_per_gpu=2),
    )


def unknown_company() -> Instance:
    return instance(
        "infeasible-unknown-company",
        "Two required services must share the one GPU, but nobody knows how they slow each other "
        "down, and there is no constant to fall back on.",
        pools=[pool()],
        services=(
            Service(id="web-a", profile="web", rate_rps=100.0, slo_ms=80.0),
            Service(id="web-b", profile="web", rate_rps=100.0, slo_ms=80.0),
        ),
        tasks=TASKS,
        profiles=PROFILES,
        interference=slowdowns(("bent", "web", 1.2), ("web", "bent", 1.2)),
        rules=Rules(services_per_gpu=2),
    )


ALL = (slo, memory, too_few_gpus, floor, users, unknown_company)
