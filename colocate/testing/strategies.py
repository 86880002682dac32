"""Hypothesis strategies that draw small instances of every kind.

All of them stay within what `solve_by_enumeration` answers in milliseconds, and between them they
use every rule of this version of the format.

An instance is drawn by a seeded generator of our own, so that examples do not resemble each other
and each kind keeps its promise. Hypothesis draws the seed, and which entries and rules are left out
again: mostly none, but it shrinks towards leaving out all that a failure does not need.

To make rules decide takes solving an instance several times, so drawing one takes longer than most
of what is tested with it. A suite that is run often calls `draw_from` once; its tests then share
some hundreds of instances of each kind.
"""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from hypothesis import strategies as st

from colocate.instance import Instance
from colocate.testing._adapt import adapt
from colocate.testing._contended import draw_contended
from colocate.testing._degenerations import draw_degenerate
from colocate.testing._fitted import draw_fitted
from colocate.testing._free import draw_free
from colocate.testing._parts import Spec, chance
from colocate.testing._pigeonholes import EXTRA, draw_pigeonhole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from colocate.capability import Capability

__all__ = [
    "InstanceKind",
    "any_instance",
    "boundary_instances",
    "contended_instances",
    "degenerate_instances",
    "draw_from",
    "feasible_instances",
    "free_instances",
    "infeasible_instances",
    "instances",
]

InstanceKind = Literal[
    "any", "free", "contended", "feasible", "boundary", "infeasible", "degenerate"
]

_PARTS = 12
_SEED_BYTES = 4
_LEFT_OUT_BELOW = 6
_KEPT = 5000
"""How many drawn instances are remembered; one takes some kilobytes."""

_seeds = 256**_SEED_BYTES
"""Of how many instances of each kind the strategies draw."""


def draw_from(seeds: int | None) -> None:
    """Draw from this many instances of each kind only; with None, from more than can be told.

    They are drawn when they are first needed and then remembered, so that a suite with many
    properties is quick. What hypothesis leaves out of an instance is still drawn each time.
    """
    # Not an argument of the strategies: they are made when tests are imported, before this is set.
    global _seeds
    most: int = 256**_SEED_BYTES
    if seeds is not None and not 1 <= seeds <= most:
        msg = f"seeds must be None or between 1 and {most}, not {seeds}"
        raise ValueError(msg)
    _seeds = seeds or most


@lru_cache(maxsize=_KEPT)
def _written(make: Callable[[Random], Spec], seed: int) -> str:
    return json.dumps(make(Random(seed)))  # noqa: S311 - nothing secret depends on it


@st.composite
def _drawn(
    draw: DrawFn, make: Callable[[Random], Spec], supported: frozenset[Capability] | None
) -> Instance:
    # One draw of bytes: they are drawn evenly, which integers are not, and are shrunk one by one.
    # Of two draws, hypothesis would often copy one to the other.
    drawn = draw(st.binary(min_size=_PARTS + _SEED_BYTES, max_size=_PARTS + _SEED_BYTES))
    spec = json.loads(_written(make, int.from_bytes(drawn[_PARTS:]) % _seeds))
    spec = _simplified(spec, [b >= _LEFT_OUT_BELOW for b in drawn[:_PARTS]])
    return Instance.model_validate(spec if supported is None else adapt(spec, supported))


def _simplified(spec: Spec, kept: Sequence[bool]) -> Spec:
    """Leave out entries and rules that are not to be kept; what makes it infeasible stays."""
    rules = spec["rules"]
    choices = iter(kept)

    def is_kept(name: str) -> bool:
        return name.startswith(EXTRA) or next(choices, True)

    gone: set[str] = set()
    tenants: set[str] = set()
    for entries in (spec["services"], spec["tasks"]):
        for entry in list(entries):
            if not is_kept(entry["id"]):
                entries.remove(entry)
                gone.add(entry["id"])
                tenants.add(entry.get("tenant", "default"))
    # A floor may not be met any more by what is left of a tenant.
    rules["quotas"] = [
        q for q in rules.get("quotas", ()) if is_kept(q["tenant"]) and q["tenant"] not in tenants
    ]
    rules["anti_affinity"] = [
        a
        for a in rules.get("anti_affinity", ())
        if is_kept(a["left"][0]) and not gone & {*a["left"], *a["right"]}
    ]
    for name in ("workloads_per_gpu", "tenants_per_gpu"):
        if name in rules and not is_kept(name):
            del rules[name]
    return spec


def _feasible(rng: Random) -> Spec:
    return draw_fitted(rng, exact=False)


def _boundary(rng: Random) -> Spec:
    return draw_fitted(rng, exact=True)


def _infeasible(rng: Random) -> Spec:
    return draw_pigeonhole(rng, draw_free(rng) if chance(rng, 30) else _feasible(rng))


def _degenerate(rng: Random) -> Spec:
    return draw_degenerate(rng, draw_free(rng) if chance(rng, 50) else _boundary(rng))


def _any(rng: Random) -> Spec:
    kinds = (draw_free, draw_contended, _feasible, _boundary, _infeasible, _degenerate)
    (make,) = rng.choices(kinds, weights=(10, 64, 10, 6, 5, 5))
    return make(rng)


@lru_cache
def _tabulated(make: Callable[[Random], Spec], *, wanted: bool) -> Callable[[Random], Spec]:
    """Draw until there are slowdown tables, or none."""

    def made(rng: Random) -> Spec:
        while True:
            spec = make(rng)
            if any("table" in pair for pair in spec["interference"]["pairs"]) == wanted:
                return spec

    return made


def free_instances() -> SearchStrategy[Instance]:
    """Draw instances without looking at what fits; most can be satisfied."""
    return instances("free")


def contended_instances() -> SearchStrategy[Instance]:
    """Draw instances in which memory, SLOs, quotas and gangs decide what the best plan is."""
    return instances("contended")


def feasible_instances() -> SearchStrategy[Instance]:
    """Draw a plan first, then capacities, SLOs and rules that it keeps to."""
    return instances("feasible")


def boundary_instances() -> SearchStrategy[Instance]:
    """Draw instances around a plan that has no margin.

    Its memory is exactly full on the fullest GPU of each pool, its slowest replica exactly meets
    its SLO, its shares are exactly full, and its tenants are exactly at their quotas.
    """
    return instances("boundary")


def infeasible_instances() -> SearchStrategy[Instance]:
    """Draw instances with one demand that cannot be met, whatever else is in them."""
    return instances("infeasible")


def degenerate_instances() -> SearchStrategy[Instance]:
    """Draw instances without tasks, services or usable GPUs, or with equal ones throughout."""
    return instances("degenerate")


def any_instance() -> SearchStrategy[Instance]:
    """Draw instances of every kind; those in which rules decide come most often."""
    return instances("any")


_KINDS: dict[InstanceKind, Callable[[Random], Spec]] = {
    "any": _any,
    "free": draw_free,
    "contended": draw_contended,
    "feasible": _feasible,
    "boundary": _boundary,
    "infeasible": _infeasible,
    "degenerate": _degenerate,
}


def instances(
    kind: InstanceKind = "any",
    *,
    supported: frozenset[Capability] | None = None,
    slowdown_tables: bool | None = None,
) -> SearchStrategy[Instance]:
    """Draw instances of one kind.

    Parameters
    ----------
    kind
        `free`, `contended`, `feasible`, `boundary`, `infeasible`, `degenerate`, or `any` of them.
    supported
        What a solver supports: whatever needs more is taken out of the instances. What is taken
        out may have been what made an instance infeasible, or what it needed to be feasible.
    slowdown_tables
        Whether some slowdowns depend on batches and shares: in every instance, in none, or, when
        left out, in some. No solver need know: columns are what is left of them.
    """
    if kind not in _KINDS:
        msg = f"kind must be one of {', '.join(get_args(InstanceKind))}, not {kind!r}"
        raise ValueError(msg)
    make = _KINDS[kind]
    if slowdown_tables is not None:
        make = _tabulated(make, wanted=slowdown_tables)
    return _drawn(make, supported)
