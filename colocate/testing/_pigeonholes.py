"""One demand that cannot be met, added to any instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.testing._free import gpus_of
from colocate.testing._parts import Spec, pick

if TYPE_CHECKING:
    from random import Random

__all__ = ["EXTRA", "draw_pigeonhole"]

EXTRA = "extra"
"""With this begins the name of everything that is added."""

_NEIGHBOURS_AT_MOST = 6


def draw_pigeonhole(rng: Random, spec: Spec) -> Spec:
    """Add one demand that no plan can meet."""
    pick(rng, *_PIGEONHOLES)(spec)
    return spec


def _add_service(spec: Spec, **fields: object) -> Spec:
    """Add a required service that any GPU could hold, but for what `fields` say."""
    service: Spec = {
        "id": "extra",
        "profile": "extra-net",
        "replicas": 1,
        "rate_rps": 1.0,
        "slo_ms": 1e9,
        **fields,
    }
    spec["services"].append(service)
    for gpu_type in sorted({p["gpu_type"] for p in spec["gpu_pools"]} | {"A"}):
        points = [{"share_pct": 1.0, "rate": 50.0}, {"share_pct": 100.0, "rate": 100.0}]
        spec["profiles"].append(
            {
                "workload": "extra-net",
                "gpu_type": gpu_type,
                "role": "inference",
                "curve": {"family": "tabulated", "batches": [{"batch": 1, "points": points}]},
                "memory": [{"batch": 1, "memory_gib": 0.01}],
                "rate_error": [{"confidence": 0.95, "relative": 0.0}],
            }
        )
    return service


def _add_task(spec: Spec, **fields: object) -> None:
    """Add a task entry of a tenant of its own that any GPU could hold, but for `fields`."""
    spec["tasks"].append(
        {"id": "extra", "profile": "extra-job", "batch": 1, "tenant": "extra-tenant", **fields}
    )
    for gpu_type in sorted({p["gpu_type"] for p in spec["gpu_pools"]} | {"A"}):
        points = [{"share_pct": 1.0, "rate": 1.0}]
        spec["profiles"].append(
            {
                "workload": "extra-job",
                "gpu_type": gpu_type,
                "role": "training",
                "curve": {"family": "tabulated", "batches": [{"batch": 1, "points": points}]},
                "memory": [{"batch": 1, "memory_gib": 0.01}],
            }
        )


def _add_quota(spec: Spec, **fields: object) -> None:
    rules = spec["rules"]
    quota = {"tenant": "extra-tenant", "unit": "tasks", **fields}
    rules["quotas"] = [*rules.get("quotas", ()), quota]


def _too_many_replicas(spec: Spec) -> None:
    """Ask for one replica more than GPUs, with one service on each."""
    spec["rules"]["services_per_gpu"] = 1
    _add_service(spec, replicas=len(gpus_of(spec["gpu_pools"])) + 1)


def _too_many_replicas_that_repel(spec: Spec) -> None:
    """Ask for one replica more than GPUs, with no two on one."""
    rules = spec["rules"]
    rules["services_per_gpu"] = 2
    rules["anti_affinity"] = [
        *rules.get("anti_affinity", ()),
        {"left": ["extra"], "right": ["extra"]},
    ]
    _add_service(spec, replicas=len(gpus_of(spec["gpu_pools"])) + 1)


def _too_much_memory(spec: Spec) -> None:
    """Ask for a little more memory than the largest GPU has."""
    _add_service(spec)
    room = max(
        (p["memory_gib"] - p.get("reserve_gib", 0.0) for p in spec["gpu_pools"]), default=1.0
    )
    for profile in spec["profiles"]:
        if profile["workload"] == "extra-net":
            profile["memory"] = [{"batch": 1, "memory_gib": room * 1.001}]


def _too_tight_an_slo(spec: Spec) -> None:
    """Ask for a latency that even neighbours which speed it up cannot give."""
    fastest = 100.0 * 2**_NEIGHBOURS_AT_MOST
    if spec["slo_model"]["name"] == "mudi":
        _add_service(spec, slo_ms=0.999 * 1000 * 1.0 / fastest)
    else:
        _add_service(spec, slo_ms=0.999 * 1000 * (1 / 1.0 + 1 / fastest))


def _too_high_a_floor(spec: Spec) -> None:
    """Ask for one task more than the tenant has."""
    _add_task(spec, count=2)
    _add_quota(spec, minimum=3)


def _a_floor_beyond_the_gpus(spec: Spec) -> None:
    """Ask for one task more than workers fit."""
    spec["rules"]["tasks_per_gpu"] = 1
    n = len(gpus_of(spec["gpu_pools"])) + 1
    _add_task(spec, count=n)
    _add_quota(spec, minimum=n)


def _too_large_a_gang(spec: Spec) -> None:
    """Ask for a gang with one worker more than GPUs."""
    spec["rules"]["tasks_per_gpu"] = 2
    _add_task(spec, gang_size=len(gpus_of(spec["gpu_pools"])) + 1)
    _add_quota(spec, minimum=1)


def _too_many_shares(spec: Spec) -> None:
    """Ask for more than all of the GPUs, for one task."""
    _add_task(spec)
    _add_quota(spec, unit="gpu_share", minimum=1.01)


def _no_profile(spec: Spec) -> None:
    """Ask for a service that was profiled on no GPU of the instance."""
    _add_service(spec)
    kept = [p for p in spec["profiles"] if p["workload"] != "extra-net"]
    lost = next(p for p in spec["profiles"] if p["workload"] == "extra-net")
    spec["profiles"] = [*kept, {**lost, "gpu_type": "elsewhere"}]


def _no_bound(spec: Spec) -> None:
    """Ask for a confidence at which nothing is known of a required service."""
    _add_service(spec)
    spec["confidence"] = 0.999


def _two_pinned_to_one(spec: Spec) -> None:
    """Pin two services to one GPU that may hold one."""
    spec["rules"]["services_per_gpu"] = 1
    home = [{"pool": pool, "gpus": str(i)} for pool, i in gpus_of(spec["gpu_pools"])[:1]]
    _add_service(spec, pinned=home)
    spec["services"].append({**spec["services"][-1], "id": "extra-2"})


def _pinned_out_of_service(spec: Spec) -> None:
    """Pin a service to a GPU that holds nothing."""
    spec["gpu_pools"][0]["schedulable"] = False
    pool, i = gpus_of(spec["gpu_pools"])[0]
    _add_service(spec, pinned=[{"pool": pool, "gpus": str(i)}])


_PIGEONHOLES = (
    _too_many_replicas,
    _too_many_replicas_that_repel,
    _too_much_memory,
    _too_tight_an_slo,
    _too_high_a_floor,
    _a_floor_beyond_the_gpus,
    _too_large_a_gang,
    _too_many_shares,
    _no_profile,
    _no_bound,
    _two_pinned_to_one,
    _pinned_out_of_service,
)
