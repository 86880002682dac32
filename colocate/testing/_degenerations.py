"""Ways to take something away from an instance until little is left, or all is equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.testing._parts import Spec, pick

if TYPE_CHECKING:
    from random import Random

__all__ = ["draw_degenerate"]


def draw_degenerate(rng: Random, spec: Spec) -> Spec:
    """Take something away."""
    pick(rng, *_DEGENERATIONS)(spec)
    return spec


def _without_tasks(spec: Spec) -> None:
    gone = {t["id"] for t in spec["tasks"]}
    spec["tasks"] = []
    spec["rules"].pop("quotas", None)
    _drop_rules_about(spec, gone)


def _without_services(spec: Spec) -> None:
    gone = {s["id"] for s in spec["services"]}
    spec["services"] = []
    _drop_rules_about(spec, gone)


def _drop_rules_about(spec: Spec, gone: set[str]) -> None:
    spec["rules"]["anti_affinity"] = [
        a for a in spec["rules"].get("anti_affinity", ()) if not gone & {*a["left"], *a["right"]}
    ]


def _with_nothing_to_place(spec: Spec) -> None:
    _without_tasks(spec)
    _without_services(spec)


def _with_gpus_out_of_service(spec: Spec) -> None:
    for pool in spec["gpu_pools"]:
        pool["schedulable"] = False


def _without_gpus(spec: Spec) -> None:
    spec["gpu_pools"] = []
    for service in spec["services"]:
        service.pop("pinned", None)


def _with_equal_gpus(spec: Spec) -> None:
    """Make every pool a copy of the first, in all but its name and ordinals."""
    first = spec["gpu_pools"][0]
    for pool in spec["gpu_pools"]:
        for name in ("gpu_type", "memory_gib", "sm_count"):
            pool[name] = first[name]
        for name in ("reserve_gib", "max_clients", "measured_sms"):
            pool.pop(name, None)
            if name in first:
                pool[name] = first[name]


def _with_equal_entries(spec: Spec) -> None:
    """Make every service and every task equal to the first, in all but its id."""
    for entries in (spec["services"], spec["tasks"]):
        for entry in entries[1:]:
            kept = {"id": entry["id"], "tenant": entry["tenant"]}
            entry.clear()
            entry.update({**entries[0], **kept})
            entry.pop("pinned", None)


def _with_one_multiprocessor(spec: Spec) -> None:
    for pool in spec["gpu_pools"]:
        pool["sm_count"] = 1
        pool.pop("measured_sms", None)


def _with_everything_optional(spec: Spec) -> None:
    """Let every service be missed for nothing, so that the empty plan is allowed."""
    for service in spec["services"]:
        service["required"] = False
        service["missing_price"] = 0.0
    for quota in spec["rules"].get("quotas", ()):
        quota.pop("minimum", None)
        quota.setdefault("maximum", 0)


_DEGENERATIONS = (
    _without_tasks,
    _without_services,
    _with_nothing_to_place,
    _with_gpus_out_of_service,
    _without_gpus,
    _with_equal_gpus,
    _with_equal_entries,
    _with_one_multiprocessor,
    _with_everything_optional,
)
