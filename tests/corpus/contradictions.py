"""Instances and plans whose values are right one by one and wrong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.corpus.valid import DROP, GPU_A, GROUP, INTERFERENCE, PROFILES, Case, damaged, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[str, dict[str, Any], str, str]
"""Name, what to put where, path, words of the message."""

PAIR = INTERFERENCE["pairs"][0]
QUOTA = {"tenant": "bob", "unit": "tasks", "maximum": 2}
SM_COUNT = {"share_pct": 50, "sms": 50}


def pinned(*refs: tuple[str, str], replicas: int = 2) -> dict[str, Any]:
    gpus = [{"pool": pool, "gpus": text} for pool, text in refs]
    return {"services[0].pinned": gpus, "services[0].replicas": replicas}


REFERENCES: list[Row] = [
    (
        "a service without its profile",
        {"services[1].profile": "gpt"},
        "$.services[1].profile",
        "service 's1' refers to profile 'gpt'",
    ),
    ("a task without its profile", {"tasks[0].profile": "gpt"}, "$.tasks[0].profile", "'gpt'"),
    (
        "a row without its profile",
        {"service_table.profile": ["bert", "gpt"]},
        "$.service_table.profile",
        "service 'row-1'",
    ),
    (
        "a row of tasks without its profile",
        {"task_table.profile": "gpt"},
        "$.task_table.profile",
        "task 'job-0'",
    ),
    (
        "a service with a training profile",
        {"services[0].profile": "vgg"},
        "$.services[0].profile",
        "'vgg' is one for training",
    ),
    (
        "a task with an inference profile",
        {"tasks[0].profile": "bert"},
        "$.tasks[0].profile",
        "'bert' is one for inference",
    ),
    ("a batch not profiled", {"tasks[0].batch": 64}, "$.tasks[0].batch", "batch 64"),
    (
        "an allowed batch not profiled",
        {"services[0].batches": [16, 64]},
        "$.services[0].batches[1]",
        "batch 64 is not in the profile (profiled: 16)",
    ),
    ("a row's batch", {"task_table.batch": [32, 64]}, "$.task_table.batch", "task 'job-1'"),
    ("a row's allowed batch", {"service_table.batches": [8]}, "$.service_table.batches[0]", "8"),
    (
        "memory not known at the batch",
        {"profiles[0].memory": [{"batch": 8, "memory_gib": 1}]},
        "$.services[0].profile",
        "batch 16 is unknown (known up to batch 8)",
    ),
    (
        "memory not known at all",
        {"profiles[1].memory": DROP, "tasks[0].memory_gib": DROP},
        "$.tasks[0].memory_gib",
        "known at no batch",
    ),
    (
        "pinned to no pool",
        pinned(("zz", "0-1")),
        "$.services[0].pinned[0].pool",
        "'zz' does not exist (known: a, b)",
    ),
    (
        "pinned beyond the pool",
        pinned(("b", "0"), ("a", "3-4")),
        "$.services[0].pinned[1].gpus",
        "GPUs 3-4 of pool 'a', which has 0-3",
    ),
    (
        "pinned before the pool",
        {"gpu_pools[0].first": 1},
        "$.services[0].pinned[0].gpus",
        "GPUs 0-1 of pool 'a', which has 1-4",
    ),
    ("pinned twice", pinned(("a", "0,0")), "$.services[0].pinned", "GPU 0 of pool 'a' is named"),
    (
        "pinned twice in two entries",
        pinned(("a", "1-2"), ("b", "0-1"), ("a", "0-1"), replicas=6),
        "$.services[0].pinned",
        "GPU 1 of pool 'a' is named twice",
    ),
    (
        "pinned more often than there are GPUs",
        pinned(("a", "3,2,1,0,3,2,1,0"), replicas=8),
        "$.services[0].pinned",
        "of pool 'a' is named twice",
    ),
    ("pinned to too few", pinned(("a", "0")), "$.services[0].pinned", "2 replicas pinned to 1 GPU"),
    ("locked nowhere", {"rules.locked[0].pool": "zz"}, "$.rules.locked[0].pool", "'zz'"),
    ("locked beyond", {"rules.locked[0].gpus": "4"}, "$.rules.locked[0].gpus", "which has 0-3"),
    ("current nowhere", {"current[0].pool": "zz"}, "$.current[0].pool", "'zz'"),
    ("current on one GPU twice", {"current": [GROUP, GROUP]}, "$.current", "named twice"),
    ("locked, but nothing runs", {"current": DROP}, "$.rules", "`current`"),
    (
        "a price for moves, but nothing runs",
        {"current": DROP, "rules.locked": []},
        "$.rules",
        "`current`",
    ),
    (
        "a quota for nobody",
        {"rules.quotas[0].tenant": "zoe"},
        "$.rules.quotas[0].tenant",
        "'zoe'",
    ),
    (
        "apart from nobody",
        {"rules.anti_affinity[0].left": ["s0", "s9"]},
        "$.rules.anti_affinity[0].left[1]",
        "'s9'",
    ),
    (
        "apart from a row beyond the table",
        {"rules.anti_affinity[0].right": ["job-2"]},
        "$.rules.anti_affinity[0].right[0]",
        "'job-2'",
    ),
    (
        "apart from a row written otherwise",
        {"rules.anti_affinity[0].right": ["job-01"]},
        "$.rules.anti_affinity[0].right[0]",
        "'job-01'",
    ),
]
POOLS: list[Row] = [
    ("neither count nor uuids", {"gpu_pools[0].count": DROP}, "$.gpu_pools[0]", "exactly one of"),
    ("both count and uuids", {"gpu_pools[1].count": 2}, "$.gpu_pools[1]", "exactly one of"),
    (
        "one UUID twice",
        {"gpu_pools[1].uuids": [GPU_A, GPU_A]},
        "$.gpu_pools[1].uuids[1]",
        f"GPU {GPU_A} is in pool 'b' and in pool 'b'",
    ),
    (
        "all memory reserved",
        {"gpu_pools[0].reserve_gib": 40},
        "$.gpu_pools[0].reserve_gib",
        "reserves 40 GiB of 40 GiB",
    ),
    (
        "more multiprocessors measured than there are",
        {"gpu_pools[0].measured_sms": [{"share_pct": 50, "sms": 101}]},
        "$.gpu_pools[0].measured_sms[0]",
        "101 multiprocessors at 50 %",
    ),
    (
        "one percentage measured twice",
        {"gpu_pools[0].measured_sms": [SM_COUNT, SM_COUNT]},
        "$.gpu_pools[0].measured_sms[1]",
        "each percentage once",
    ),
    ("two pools, one id", {"gpu_pools[1].id": "a"}, "$.gpu_pools[1]", "'a' is listed twice"),
    (
        "too many GPUs",
        {"gpu_pools[0].count": 100_000_000},
        "$.gpu_pools",
        "100000002 GPUs; at most 10000000",
    ),
]
WORKLOADS: list[Row] = [
    ("too many replicas", {"services[1].replicas": 10**8}, "$.services", "100000005 replicas"),
    (
        "too many workers",
        {"tasks[0].count": 10**8, "tasks[0].gang_size": 10_000},
        "$.tasks",
        "1000000000002 workers; at most",
    ),
    (
        "too many rows",
        {
            "task_table": {"id_prefix": "job-", "rows": 10**8, "profile": "vgg", "batch": 32},
            "rules.quotas": [],
        },
        "$.tasks",
        "100000002 workers; at most",
    ),
    ("two services, one id", {"services[1].id": "s0"}, "$.services[1]", "'s0' is listed twice"),
    ("two tasks, one id", {"tasks[0].id": "s1"}, "$.tasks[0].id", "among services and tasks"),
    ("the id of a row", {"services[1].id": "row-1"}, "$.service_table.id_prefix", "'row-1'"),
    ("a task with the id of a row", {"tasks[0].id": "job-0"}, "$.task_table.id_prefix", "'job-0'"),
    ("one prefix twice", {"task_table.id_prefix": "row-"}, "$.task_table.id_prefix", "'row-'"),
    (
        "a column too short",
        {"service_table.rate_rps": [1]},
        "$.service_table.rate_rps",
        "1 values for 2 rows",
    ),
    (
        "a column too long",
        {"task_table.weight": [1, 2, 3]},
        "$.task_table.weight",
        "3 values for 2 rows",
    ),
    (
        "required and priced",
        {"services[0].missing_price": 1},
        "$.services[0].missing_price",
        "service 's0' is required and has missing_price 1",
    ),
    (
        "neither required nor priced",
        {"services[1].missing_price": DROP},
        "$.services[1].missing_price",
        "not required but has no missing_price",
    ),
    (
        "rows required and priced",
        {"service_table.required": True},
        "$.service_table.missing_price",
        "required is True and missing_price is 1.0",
    ),
    (
        "rows neither required nor priced",
        {"service_table.missing_price": DROP},
        "$.service_table.missing_price",
        "required is False and missing_price is None",
    ),
    (
        "a training batch listed twice",
        {"tasks[0].batches": [32, 32]},
        "$.tasks[0].batches",
        "lists a batch twice: [32, 32]",
    ),
    (
        "a training batch without a profile",
        {"tasks[0].batches": [32, 33]},
        "$.tasks[0].batches[1]",
        "batch 33 is not in the profile",
    ),
    (
        "a choice of batches without a noise scale",
        {"tasks[0].noise_scale": None},
        "$.tasks[0].noise_scale",
        "has no noise_scale",
    ),
    (
        "rows with a choice of batches without a noise scale",
        {"task_table.noise_scale": None},
        "$.task_table.noise_scale",
        "has no noise_scale",
    ),
    (
        "a batch listed twice",
        {"services[0].batches": [16, 16]},
        "$.services[0].batches",
        "lists a batch twice: [16, 16]",
    ),
]
MEASURED: list[Row] = [
    ("one profile twice", {"profiles": PROFILES * 2}, "$.profiles[2]", "'bert on A100' is listed"),
    (
        "a workload with two roles",
        {"profiles": [*PROFILES, {**PROFILES[1], "workload": "bert", "gpu_type": "V100"}]},
        "$.profiles[2].role",
        "'bert' is profiled as inference and as training",
    ),
    (
        "points out of order",
        {
            "profiles[0].curve.batches[0].points": [
                {"share_pct": 100, "rate": 90},
                {"share_pct": 10, "rate": 50},
            ]
        },
        "$.profiles[0].curve.batches[0]",
        "10 follows 100",
    ),
    (
        "batches out of order",
        {"profiles[1].curve.batches": PROFILES[1]["curve"]["batches"] * 2},
        "$.profiles[1].curve",
        "32 follows 32",
    ),
    (
        "a curve of another family",
        {"profiles[0].curve.family": "piecewise_linear"},
        "$.profiles[0].curve.batches[0].points",
        "unknown key 'points'",
    ),
    (
        "memory that shrinks",
        {
            "profiles[0].memory": [
                {"batch": 8, "memory_gib": 3},
                {"batch": 16, "memory_gib": 2},
            ]
        },
        "$.profiles[0]",
        "memory must not shrink as the batch grows (8 to 16)",
    ),
    (
        "a bound that shrinks",
        {
            "profiles[0].rate_error": [
                {"confidence": 0.9, "relative": 0.2},
                {"confidence": 0.95, "relative": 0.1},
            ]
        },
        "$.profiles[0]",
        "rate_error must not shrink",
    ),
    (
        "neither slowdown nor table",
        {"interference.pairs[0].slowdown": DROP},
        "$.interference.pairs[0]",
        "give one of slowdown and table",
    ),
    (
        "both slowdown and table",
        {"interference.pairs[1].slowdown": 1.5},
        "$.interference.pairs[1]",
        "give only one of slowdown and table",
    ),
    (
        "a slowdown table with too few values",
        {"interference.pairs[1].table.slowdown": [1.0, 1.1, 1.2]},
        "$.interference.pairs[1].table",
        "slowdown has 3 values, but the axes make 1 x 2 x 1 x 2 = 4",
    ),
    (
        "shares of a slowdown table that fall",
        {"interference.pairs[1].table.neighbour_share_pct": [75, 25]},
        "$.interference.pairs[1].table",
        "neighbour_share_pct must ascend",
    ),
    (
        "one slowdown twice",
        {"interference.pairs": [PAIR, PAIR]},
        "$.interference",
        "pairs[1] repeats 'bert'",
    ),
    (
        "minimum above maximum",
        {"rules.quotas[0].minimum": 3},
        "$.rules.quotas[0].minimum",
        "minimum 3 exceeds maximum 2",
    ),
    (
        "a quota without numbers",
        {"rules.quotas": [{"tenant": "bob"}]},
        "$.rules.quotas[0]",
        "neither maximum nor minimum",
    ),
    (
        "one quota twice",
        {"rules.quotas": [QUOTA, QUOTA]},
        "$.rules.quotas[1]",
        "'bob on tasks' is listed twice",
    ),
]
GROUPS: list[tuple[str, str, Any, str]] = [
    ("holds nothing", "", {"pool": "a", "gpus": "0"}, "holds nothing"),
    ("more replicas than GPUs", ".services[0].replicas", "0-2", "3 replicas for 2 GPUs"),
    ("fewer workers than GPUs", ".tasks[0].workers", "0", "1 workers for 2 GPUs"),
]


def contradiction_cases() -> Iterator[Case]:
    """Yield all of them."""
    for name, changes, path, words in [*REFERENCES, *POOLS, *WORKLOADS, *MEASURED]:
        data = damaged("instance", {steps_of(at): value for at, value in changes.items()})
        yield Case(f"contradiction: {name}", "instance", data, path, words)
    for name, inner, value, words in GROUPS:
        for kind, holder in (("instance", "current"), ("plan", "placements")):
            data = damaged(kind, {steps_of(f"{holder}[0]{inner}"): value})
            yield Case(f"{kind} group: {name}", kind, data, f"$.{holder}[0]", words)
