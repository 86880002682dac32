"""Small instances, one for each feature, whose optima can be found by enumeration."""

from __future__ import annotations

from bundled.parts import (
    BENT,
    EARLY,
    STRAIGHT,
    instance,
    lines,
    pool,
    serving,
    slowdowns,
    training,
)
from colocate.instance import AntiAffinity, GpuRef, Instance, Quota, Rules, Service, SmCount, Task
from colocate.schema import Component

TWO_BATCHES = {4: STRAIGHT, 8: ((10, 130), (100, 1300))}
TWO_MEMORIES = {4: 3.0, 8: 6.0}


def single_pair() -> Instance:
    return instance(
        "single-pair",
        "One service and one task on one GPU. The service needs 50 % of the GPU at batch 4 and "
        "40 % at batch 8, which just meets its SLO; the task gets the rest.",
        pools=[pool()],
        services=(Service(id="web", profile="web", rate_rps=360.0, slo_ms=45.0),),
        tasks=(Task(id="train", profile="train", batch=32),),
        profiles=[
            serving("web", TWO_BATCHES, TWO_MEMORIES, error=0.05),
            lines("train", ((0.0, 2.0), (60.0, 0.4)), 5.0),
        ],
        interference=slowdowns(("web", "train", 1.2), ("train", "web", 1.1), error=0.04),
        confidence=0.95,
    )


def memory_bound() -> Instance:
    return instance(
        "memory-bound",
        "Memory decides. Beside the large task the service must run at its small batch, which "
        "costs share; the huge task fits beside no service, though it is worth most.",
        pools=[pool(count=2, reserve_gib=1.0)],
        services=(Service(id="web", profile="web", replicas=2, rate_rps=290.0, slo_ms=60.0),),
        tasks=(
            Task(id="huge", profile="train", batch=32, weight=5.0, memory_gib=13.0),
            Task(id="large", profile="train", batch=32, weight=1.5, memory_gib=11.0),
            Task(id="medium", profile="train", batch=32, memory_gib=4.0, processes=2),
        ),
        profiles=[serving("web", TWO_BATCHES, TWO_MEMORIES), training("train", BENT, 4.0)],
    )


def slo_bound() -> Instance:
    return instance(
        "slo-bound",
        "The SLO decides. Both services have the same curve. The one with 14 ms cannot stand the "
        "heavy task at any share, so the light one goes there, though it is worth more elsewhere.",
        pools=[pool(count=2)],
        services=(
            Service(id="fast", profile="web", rate_rps=500.0, slo_ms=14.0),
            Service(id="slow", profile="web", rate_rps=300.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="heavy", profile="heavy", batch=32, weight=1.0),
            Task(id="light", profile="light", batch=32, weight=0.9),
        ),
        profiles=[
            serving("web", {4: STRAIGHT, 8: STRAIGHT}, TWO_MEMORIES),
            training("heavy", STRAIGHT, 4.0),
            training("light", BENT, 4.0),
        ],
        interference=slowdowns(
            ("web", "heavy", 1.6),
            ("web", "light", 1.1),
            ("heavy", "web", 1.1),
            ("light", "web", 1.3),
        ),
    )


def two_tasks() -> Instance:
    return instance(
        "two-tasks-per-gpu",
        "Two training workers may share a GPU, with or without a service. Tasks that saturate "
        "early gain from company; their slowdowns multiply when there are two neighbours.",
        pools=[pool(count=2)],
        services=(Service(id="web", profile="web", rate_rps=200.0, slo_ms=60.0),),
        tasks=(
            Task(id="early", profile="early", batch=32, count=3),
            Task(id="bent", profile="bent", batch=32, count=2),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("early", EARLY, 4.0),
            training("bent", BENT, 4.0),
        ],
        interference=slowdowns(("early", "early", 1.4), ("bent", "bent", 1.3), default=1.1),
        rules=Rules(tasks_per_gpu=2),
    )


def gang_of_two() -> Instance:
    return instance(
        "gang-of-two",
        "A gang of two beside single tasks, on three GPUs with unequal services: the gang runs at "
        "its slowest worker, so both workers belong on the GPUs that leave them alike.",
        pools=[pool(count=3)],
        services=(
            Service(id="small", profile="web", rate_rps=190.0, slo_ms=60.0),
            Service(id="large", profile="web", rate_rps=570.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="gang", profile="train", batch=32, gang_size=2),
            Task(id="single", profile="train", batch=32, count=2, weight=1.2),
        ),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("train", STRAIGHT, 4.0)],
    )


def gang_of_three() -> Instance:
    return instance(
        "gang-of-three",
        "A gang of three needs three of four GPUs. It is placed or left out as a whole; here two "
        "single tasks beside it cannot both be placed.",
        pools=[pool(count=4)],
        services=(
            Service(id="small", profile="web", replicas=2, rate_rps=95.0, slo_ms=80.0),
            Service(id="large", profile="web", rate_rps=475.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="gang", profile="bent", batch=32, gang_size=3),
            Task(id="single", profile="train", batch=32, count=2, weight=1.1),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("bent", BENT, 4.0),
            training("train", STRAIGHT, 4.0),
        ],
    )


def quota_and_floor() -> Instance:
    return instance(
        "quota-and-floor",
        "Three tenants. `a` has the most valuable tasks and at most one of them may run; `b` may "
        "use 0.7 of a GPU for training; `c` must have one task although it is worth least.",
        pools=[pool(count=3)],
        services=(Service(id="web", profile="web", rate_rps=190.0, slo_ms=60.0),),
        tasks=(
            Task(id="a-task", profile="train", batch=32, count=3, weight=3.0, tenant="a"),
            Task(id="b-task", profile="bent", batch=32, count=2, weight=2.0, tenant="b"),
            Task(id="c-task", profile="train", batch=32, count=2, weight=0.1, tenant="c"),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("train", STRAIGHT, 4.0),
            training("bent", BENT, 4.0),
        ],
        rules=Rules(
            quotas=(
                Quota(tenant="a", maximum=1.0),
                Quota(tenant="b", unit="gpu_share", maximum=0.7),
                Quota(tenant="c", minimum=1.0),
            )
        ),
    )


def anti_affinity() -> Instance:
    return instance(
        "anti-affinity",
        "The pair that would be best is forbidden, and the two noisy tasks must not share a GPU "
        "with each other.",
        pools=[pool(count=2)],
        services=(
            Service(id="web", profile="web", rate_rps=95.0, slo_ms=80.0),
            Service(id="search", profile="web", rate_rps=475.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="noisy", profile="early", batch=32, count=2, weight=1.5),
            Task(id="quiet", profile="bent", batch=32),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("early", EARLY, 4.0),
            training("bent", BENT, 4.0),
        ],
        interference=slowdowns(default=1.1),
        rules=Rules(
            tasks_per_gpu=2,
            anti_affinity=(
                AntiAffinity(left=("search",), right=("noisy",)),
                AntiAffinity(left=("noisy",), right=("noisy",)),
            ),
        ),
    )


def user_ids() -> Instance:
    return instance(
        "user-ids",
        "One MPS server serves one Unix user at a time: the services of users 1000 and 1001, and "
        "the one without a user, share only with tasks of their own kind.",
        pools=[pool(count=3)],
        services=(
            Service(id="web-a", profile="web", rate_rps=95.0, slo_ms=80.0, user_id=1000),
            Service(id="web-b", profile="web", rate_rps=475.0, slo_ms=60.0, user_id=1001),
            Service(id="web-c", profile="web", rate_rps=190.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="task-a", profile="bent", batch=32, user_id=1000),
            Task(id="task-b", profile="bent", batch=32, count=2, weight=2.0, user_id=1001),
            Task(id="task-d", profile="bent", batch=32, weight=4.0, user_id=1002),
        ),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("bent", BENT, 4.0)],
    )


def heterogeneous() -> Instance:
    return instance(
        "heterogeneous",
        "Two GPU types. The service could run on either, the wide task has a profile for the large "
        "GPU only; rates are relative to the large GPU.",
        pools=[
            pool("large", gpu_type="large", sm_count=20, memory_gib=32.0),
            pool("small", 2, gpu_type="small", memory_gib=12.0),
        ],
        services=(Service(id="web", profile="web", replicas=2, rate_rps=285.0, slo_ms=60.0),),
        tasks=(
            Task(id="wide", profile="wide", batch=64, weight=1.2),
            Task(id="narrow", profile="narrow", batch=32, count=2),
        ),
        profiles=[
            serving("web", {4: ((5, 80), (100, 1600))}, {4: 3.0}, gpu_type="large"),
            serving("web", {4: ((10, 75), (100, 750))}, {4: 3.0}, gpu_type="small"),
            training("wide", ((5, 20), (60, 160), (100, 200)), 14.0, batch=64, gpu_type="large"),
            training("narrow", BENT, 6.0, gpu_type="small"),
            training("narrow", ((5, 16), (50, 130), (100, 160)), 6.0, gpu_type="large"),
        ],
    )


def iteration_time() -> Instance:
    return instance(
        "iteration-time",
        "The objective is total iteration time, with 2 s charged for each task left out. The slow "
        "task would take longer than that wherever it fits, so it is better left out.",
        pools=[pool(count=3)],
        services=(Service(id="web", profile="web", replicas=2, rate_rps=380.0, slo_ms=60.0),),
        tasks=(
            Task(id="slow", profile="straight", batch=1024, weight=1.0),
            Task(id="bent", profile="bent", batch=32, count=2),
            Task(id="early", profile="early", batch=32, weight=2.0),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("straight", ((10, 40), (100, 400)), 4.0, batch=1024),
            training("bent", BENT, 4.0),
            training("early", EARLY, 4.0),
        ],
        objective=Component(name="iteration_time", params={"unplaced_s": 2.0}),
    )


def pinned_services() -> Instance:
    return instance(
        "pinned-services",
        "Two services are pinned, one of them to a GPU with little memory, the third is free. The "
        "large task fits on one GPU only, beside the service that is pinned there.",
        pools=[pool("roomy", 2, memory_gib=24.0), pool("tight", 1, memory_gib=8.0)],
        services=(
            Service(
                id="web",
                profile="web",
                rate_rps=380.0,
                slo_ms=60.0,
                pinned=(GpuRef(pool="roomy", gpus="1"),),
            ),
            Service(
                id="chat",
                profile="web",
                rate_rps=190.0,
                slo_ms=60.0,
                pinned=(GpuRef(pool="tight", gpus="0"),),
            ),
            Service(id="free", profile="web", rate_rps=570.0, slo_ms=60.0),
        ),
        tasks=(
            Task(id="large", profile="bent", batch=32, weight=2.0, memory_gib=20.0),
            Task(id="small", profile="bent", batch=32, count=2, memory_gib=5.0),
        ),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("bent", BENT, 4.0)],
    )


def optional_services() -> Instance:
    return instance(
        "optional-services",
        "Services that may be left out at a price. `cheap` takes more training than it is worth, "
        "`dear` is worth its share, and `base` is required.",
        pools=[pool(count=3)],
        services=(
            Service(
                id="cheap",
                profile="web",
                rate_rps=570.0,
                slo_ms=60.0,
                required=False,
                missing_price=0.3,
            ),
            Service(
                id="dear",
                profile="web",
                replicas=2,
                rate_rps=380.0,
                slo_ms=60.0,
                required=False,
                missing_price=0.6,
            ),
            Service(id="base", profile="web", rate_rps=95.0, slo_ms=80.0),
        ),
        tasks=(Task(id="train", profile="train", batch=32, count=3),),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("train", STRAIGHT, 4.0)],
    )


def measured_sms() -> Instance:
    return instance(
        "measured-sms",
        "The multiprocessors that capped clients see were measured, and only those percentages "
        "are used: 28 % and 71 % give 4 and 10 of 14, where rounding would be sure of 3 and 9.",
        pools=[
            pool(
                sm_count=14,
                measured_sms=tuple(
                    SmCount(share_pct=p, sms=n)
                    for p, n in ((14, 2), (28, 4), (50, 6), (71, 10), (90, 12), (100, 14))
                ),
            )
        ],
        services=(Service(id="web", profile="web", rate_rps=200.0, slo_ms=60.0),),
        tasks=(Task(id="train", profile="train", batch=32),),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("train", STRAIGHT, 4.0)],
        interference=slowdowns(default=1.25),
    )


def two_services() -> Instance:
    return instance(
        "two-services-per-gpu",
        "Three replicas on two GPUs, of which two must share, and at most two tenants on a GPU.",
        pools=[pool(count=2)],
        services=(
            Service(id="web", profile="web", replicas=2, rate_rps=190.0, slo_ms=80.0, tenant="a"),
            Service(id="chat", profile="web", rate_rps=285.0, slo_ms=60.0, tenant="b"),
        ),
        tasks=(
            Task(id="of-a", profile="early", batch=32, tenant="a"),
            Task(id="of-c", profile="early", batch=32, weight=1.3, tenant="c"),
        ),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("early", EARLY, 4.0)],
        interference=slowdowns(("web", "web", 1.3), default=1.1),
        rules=Rules(services_per_gpu=2, tenants_per_gpu=2),
    )


def client_limit() -> Instance:
    return instance(
        "client-limit",
        "Each GPU takes three MPS clients. A replica has two processes, so beside it only the task "
        "with one process fits; memory is counted for each process.",
        pools=[pool(count=2, max_clients=3)],
        services=(Service(id="web", profile="web", rate_rps=190.0, slo_ms=80.0, processes=2),),
        tasks=(
            Task(id="one", profile="bent", batch=32),
            Task(id="three", profile="bent", batch=32, weight=3.0, processes=3),
            Task(id="two", profile="bent", batch=32, weight=2.0, processes=2),
        ),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0}), training("bent", BENT, 4.0)],
    )


def mudi_slo() -> Instance:
    return instance(
        "mudi-slo",
        "The SLO row as the Mudi paper prints it. With an SLO above a second it admits a load that "
        "no queue survives, which is why `fill` is the better choice.",
        pools=[pool(count=2)],
        services=(
            Service(id="patient", profile="web", rate_rps=600.0, slo_ms=1500.0),
            Service(id="strict", profile="web", rate_rps=300.0, slo_ms=600.0),
        ),
        tasks=(Task(id="train", profile="train", batch=32, count=2),),
        profiles=[serving("web", TWO_BATCHES, TWO_MEMORIES), training("train", STRAIGHT, 4.0)],
        slo_model=Component(name="mudi"),
    )


def everything() -> Instance:
    return instance(
        "everything",
        "Most rules at once: two GPU pools, gangs, quotas in both units, a floor, anti-affinity, "
        "user ids, an optional service and two tasks on a GPU.",
        pools=[pool("north", 2), pool("south", 2, memory_gib=12.0, max_clients=2)],
        services=(
            Service(id="web", profile="web", replicas=2, rate_rps=190.0, slo_ms=80.0, user_id=1000),
            Service(
                id="batch",
                profile="web",
                rate_rps=380.0,
                slo_ms=60.0,
                required=False,
                missing_price=0.2,
            ),
        ),
        tasks=(
            Task(id="gang", profile="bent", batch=32, gang_size=2, tenant="a", user_id=1000),
            Task(id="own", profile="early", batch=32, count=2, tenant="a"),
            Task(
                id="guest", profile="early", batch=32, count=2, weight=0.7, tenant="b", user_id=1000
            ),
        ),
        profiles=[
            serving("web", TWO_BATCHES, TWO_MEMORIES),
            training("bent", BENT, 4.0),
            training("early", EARLY, 5.0),
        ],
        interference=slowdowns(("early", "early", 1.4), default=1.15),
        rules=Rules(
            tasks_per_gpu=2,
            quotas=(
                Quota(tenant="a", unit="gpu_share", maximum=2.0),
                Quota(tenant="b", maximum=2.0, minimum=1.0),
            ),
            anti_affinity=(AntiAffinity(left=("gang",), right=("guest",)),),
        ),
    )


ALL = (
    single_pair,
    memory_bound,
    slo_bound,
    two_tasks,
    gang_of_two,
    gang_of_three,
    quota_and_floor,
    anti_affinity,
    user_ids,
    heterogeneous,
    iteration_time,
    pinned_services,
    optional_services,
    measured_sms,
    two_services,
    client_limit,
    mudi_slo,
    everything,
)
