"""Hypothesis strategies that draw small instances of every kind.

All of them stay within what `solve_by_enumeration` answers in milliseconds, and use every rule of
this version of the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from hypothesis import strategies as st

from colocate.instance import Instance
from colocate.testing._fitted import draw_fitted
from colocate.testing._free import draw_free
from colocate.testing._parts import Spec, chance, pick
from colocate.testing._pigeonholes import draw_pigeonhole

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "InstanceKind",
    "any_instance",
    "boundary_instances",
    "degenerate_instances",
    "feasible_instances",
    "free_instances",
    "infeasible_instances",
    "instances",
]

InstanceKind = Literal["any", "free", "feasible", "boundary", "infeasible", "degenerate"]


@st.composite
def _free(draw: DrawFn) -> Instance:
    return Instance.model_validate(draw_free(draw))


@st.composite
def _feasible(draw: DrawFn) -> Instance:
    return Instance.model_validate(draw_fitted(draw, exact=False))


@st.composite
def _boundary(draw: DrawFn) -> Instance:
    return Instance.model_validate(draw_fitted(draw, exact=True))


@st.composite
def _infeasible(draw: DrawFn) -> Instance:
    spec = draw_free(draw) if chance(draw, 30) else draw_fitted(draw, exact=False)
    return Instance.model_validate(draw_pigeonhole(draw, spec))


@st.composite
def _degenerate(draw: DrawFn) -> Instance:
    spec = draw_free(draw) if chance(draw, 50) else draw_fitted(draw, exact=True)
    pick(draw, *_DEGENERATIONS)(spec)
    return Instance.model_validate(spec)


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


def free_instances() -> SearchStrategy[Instance]:
    """Draw instances without looking at what fits; about two thirds can be satisfied."""
    return _free()


def feasible_instances() -> SearchStrategy[Instance]:
    """Draw a plan first, then capacities, SLOs and rules that it keeps to."""
    return _feasible()


def boundary_instances() -> SearchStrategy[Instance]:
    """Draw instances around a plan that has no margin.

    Its memory is exactly full on the fullest GPU of each pool, its slowest replica exactly meets
    its SLO, its shares are exactly full, and its tenants are exactly at their quotas.
    """
    return _boundary()


def infeasible_instances() -> SearchStrategy[Instance]:
    """Draw instances with one demand that cannot be met, whatever else is in them."""
    return _infeasible()


def degenerate_instances() -> SearchStrategy[Instance]:
    """Draw instances without tasks, services or usable GPUs, or with equal ones throughout."""
    return _degenerate()


def any_instance() -> SearchStrategy[Instance]:
    """Draw instances of every kind, half of them free."""
    return st.sampled_from(_MIX).flatmap(instances)


_MIX: tuple[InstanceKind, ...] = (
    *("free",) * 5,
    *("feasible",) * 2,
    "boundary",
    "infeasible",
    "degenerate",
)
_KINDS = {
    "any": any_instance,
    "free": free_instances,
    "feasible": feasible_instances,
    "boundary": boundary_instances,
    "infeasible": infeasible_instances,
    "degenerate": degenerate_instances,
}


def instances(kind: InstanceKind = "any") -> SearchStrategy[Instance]:
    """Draw instances of one kind.

    Parameters
    ----------
    kind
        `free`, `feasible`, `boundary`, `infeasible`, `degenerate`, or `any` of them.
    """
    if kind not in _KINDS:
        msg = f"kind must be one of {', '.join(get_args(InstanceKind))}, not {kind!r}"
        raise ValueError(msg)
    return _KINDS[kind]()
