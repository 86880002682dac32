"""Instances made to trip solvers: traps, gaps, exact fits and awkward numbers."""

from __future__ import annotations

from bundled.parts import BENT, STRAIGHT, instance, pool, serving, slowdowns, training
from colocate.instance import Instance, Quota, Rules, Service, Task


def greedy_trap() -> Instance:
    return instance(
        "greedy-trap",
        "Whoever takes the best pair first loses almost half: the popular task is worth 1 beside "
        "`easy` and 0.9 beside `hard`, and the other one 0.95 and nothing.",
        pools=[pool(count=2)],
        services=(
            Service(id="easy", profile="easy", rate_rps=95.0, slo_ms=90.0),
            Service(id="hard", profile="hard", rate_rps=95.0, slo_ms=90.0),
        ),
        tasks=(
            Task(id="popular", profile="popular", batch=32, weight=1.0),
            Task(id="other", profile="other", batch=32, weight=0.95),
        ),
        profiles=[
            serving("easy", {4: STRAIGHT}, {4: 3.0}),
            serving("hard", {4: STRAIGHT}, {4: 8.0}),
            training("popular", ((10, 50), (60, 100), (100, 100)), 4.0),
            training("other", ((10, 50), (60, 100), (100, 100)), 10.0),
        ],
        interference=slowdowns(
            ("easy", "popular", 1.0),
            ("easy", "other", 1.0),
            ("hard", "popular", 1.0),
            ("popular", "easy", 1.0),
            ("popular", "hard", 1.0 / 0.9),
            ("other", "easy", 1.0),
        ),
    )


def gang_lp_gap() -> Instance:
    return instance(
        "gang-lp-gap",
        "Gangs of two on three GPUs that hold one worker each: whole GPUs in fractions would hold "
        "one and a half gangs, in truth it is one. No prices prove it, only branching does.",
        pools=[pool(count=3)],
        tasks=(Task(id="gang", profile="train", batch=32, count=5, gang_size=2),),
        profiles=[training("train", STRAIGHT, 4.0)],
    )


def gang_distinct() -> Instance:
    return instance(
        "gang-distinct-gpus",
        "Two workers would fit on the one GPU that has room, but the workers of a gang must be on "
        "different GPUs: with one gang it gets nothing, although two of its workers fit.",
        pools=[pool(count=1), pool("tiny", 1, memory_gib=2.0)],
        tasks=(
            Task(id="gang", profile="train", batch=32, gang_size=2, weight=10.0),
            Task(id="single", profile="train", batch=32, weight=0.5),
        ),
        profiles=[training("train", BENT, 4.0)],
        rules=Rules(tasks_per_gpu=2),
    )


def exact_fits() -> Instance:
    return instance(
        "exact-fits",
        "Everything fits exactly, and in binary floating point slightly exceeds its limit: memory "
        "0.1 + 0.2 of 0.3 GiB, shares 0.1 + 0.2 of a quota of 0.3, two clients of two, all ten "
        "multiprocessors, a latency equal to the SLO and a load equal to the largest allowed.",
        pools=[pool(count=2, memory_gib=0.3, max_clients=2)],
        services=(
            # 4 samples fill in 40 ms and are served in 4 / (900 / 1.8) s = 8 ms.
            Service(id="at-slo", profile="web", rate_rps=100.0, slo_ms=48.0),
            # A load of 760 / 800 = 0.95 with 1000 / 1.25 = 800 samples a second.
            Service(id="at-load", profile="busy", rate_rps=760.0, slo_ms=80.0),
        ),
        tasks=(
            Task(id="beside-slo", profile="first", batch=32, tenant="a"),
            Task(id="beside-load", profile="second", batch=32, tenant="a"),
        ),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 0.1}),
            serving("busy", {4: ((10, 100), (80, 1000), (100, 1000))}, {4: 0.1}),
            training("first", STRAIGHT, 0.2),
            training("second", STRAIGHT, 0.2),
        ],
        interference=slowdowns(
            ("web", "first", 1.8),
            ("busy", "second", 1.25),
            ("first", "web", 1.2),
            ("second", "busy", 1.2),
        ),
        rules=Rules(quotas=(Quota(tenant="a", unit="gpu_share", maximum=0.3),)),
    )


def extreme_numbers() -> Instance:
    return instance(
        "extreme-numbers",
        "Rates from a sample in weeks to a trillion a second, weights over twelve orders of "
        "magnitude, an SLO of days and one of a microsecond.",
        pools=[pool(count=3, memory_gib=1e6)],
        services=(
            Service(id="archive", profile="archive", rate_rps=1e-5, slo_ms=1e9),
            Service(id="switch", profile="switch", rate_rps=1e11, slo_ms=1e-3),
        ),
        tasks=(
            Task(id="huge", profile="fast", batch=1_000_000, weight=1e6),
            Task(id="tiny", profile="slow", batch=1, weight=1e-6),
            Task(id="plain", profile="plain", batch=32),
        ),
        profiles=[
            serving("archive", {1: ((10, 2e-6), (100, 2e-5))}, {1: 1e-6}),
            serving("switch", {4: ((10, 1e11), (100, 1e12))}, {4: 1e5}),
            training("fast", ((10, 1e8), (100, 1e9)), 9e5, batch=1_000_000),
            training("slow", ((10, 1e-6), (100, 1e-5)), 1e-6, batch=1),
            training("plain", BENT, 4.0),
        ],
        interference=slowdowns(default=1.5),
    )


def one_sm_off() -> Instance:
    return instance(
        "one-sm-off",
        "The service needs 36 of 108 multiprocessors. 33 % gives 35 for sure, 34 % gives 36 and "
        "may take 37; so 71 are left, and 66 % may take 72. The task gets 65 %: 70 for sure.",
        pools=[pool(sm_count=108)],
        services=(Service(id="web", profile="web", rate_rps=342.0, slo_ms=100.0),),
        tasks=(Task(id="train", profile="train", batch=32),),
        profiles=[
            serving("web", {4: ((1, 10.8), (100, 1080))}, {4: 3.0}),
            training("train", ((1, 10.8), (100, 1080)), 4.0),
        ],
        interference=slowdowns(default=1.0),
    )


def all_ties() -> Instance:
    return instance(
        "all-ties",
        "Every plan that uses all GPUs is optimal, and there are many: a solver must still answer "
        "the same plan every time.",
        pools=[pool(f"pool-{i}") for i in range(3)],
        services=tuple(
            Service(id=f"web-{i}", profile="web", rate_rps=95.0, slo_ms=80.0) for i in range(2)
        ),
        tasks=tuple(Task(id=f"train-{i}", profile="train", batch=32) for i in range(4)),
        profiles=[
            serving("web", {4: STRAIGHT}, {4: 3.0}),
            training("train", ((10, 100), (100, 100)), 4.0),
        ],
        interference=slowdowns(default=1.0),
    )


def nothing_to_train() -> Instance:
    return instance(
        "nothing-to-train",
        "Services only. The objective is 0, and any plan that holds all replicas is optimal.",
        pools=[pool(count=2)],
        services=(Service(id="web", profile="web", replicas=2, rate_rps=95.0, slo_ms=80.0),),
        profiles=[serving("web", {4: STRAIGHT}, {4: 3.0})],
    )


ALL = (
    greedy_trap,
    gang_lp_gap,
    gang_distinct,
    exact_fits,
    extreme_numbers,
    one_sm_off,
    all_ties,
    nothing_to_train,
)
