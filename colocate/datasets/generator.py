"""Seeded instances of any size: a family, a number of GPUs and a seed name one instance for ever.

Sizes go from two GPUs with a handful of multiprocessors, small enough to enumerate, to a million.
Services and tasks are kinds with multiplicities, or columns of a table where every row differs; at
no size is there an object for each GPU, replica or task. Curves, memory and slowdowns are made up
(see `colocate.datasets.parametric`). In every family the required services can be placed: each
meets its SLO alone, and there are more GPUs than replicas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.errors import InputError, clean_text

if TYPE_CHECKING:
    from colocate.instance import Instance

__all__ = ["FAMILIES", "families", "generate"]

FAMILIES = {
    "few_types": "a few kinds of services and tasks, in many copies",
    "all_distinct": "every replica has its own rate and SLO, every task its own weight",
    "tight_slo": "services need between a third and four fifths of a GPU, with no slack",
    "loose_slo": "services need a few percent of a GPU",
    "gangs": "tasks of two, three and four workers beside single ones",
    "tenants": "owners with quotas and floors, and workloads of different Unix users",
    "heterogeneous": "three GPU types; some services run on the larger ones only",
    "binding_memory": "large batches and large tasks do not fit on one GPU together",
    "two_tasks": "two training workers may share a GPU, with or without a service",
    "typed": "the benchmark: 50 kinds of services and 200 kinds of tasks on one GPU type",
}
MAX_GPUS = 10_000_000


def families() -> list[str]:
    """Return the names of the families."""
    return list(FAMILIES)


def generate(
    family: str,
    *,
    gpus: int = 12,
    seed: int = 0,
    services: int | None = None,
    tasks: int | None = None,
    sm_count: int = 108,
    batches: int = 6,
    confidence: float = 0.95,
) -> Instance:
    """Return the instance of a family that a seed stands for.

    Parameters
    ----------
    family
        One of `families()`.
    gpus
        Number of GPUs; required replicas fill nine tenths of them, and there are 1.2 times as many
        training workers.
    seed
        Any whole number of at least 0.
    services, tasks
        Kinds of services and of tasks; the family's own numbers when left out, and never more than
        there are replicas and tasks. `all_distinct` makes every replica and task a kind.
    sm_count
        Multiprocessors of a GPU (of the middle type in `heterogeneous`).
    batches
        How many batch sizes a service may choose from: 16, 32, 64, ...
    confidence
        Confidence of the instance: 0.5, or at most 0.99.

    Raises
    ------
    InputError
        When there is no such family or a size makes no sense.
    """
    from colocate.datasets._families import Sizes, build

    if family not in FAMILIES:
        raise InputError(
            f"there is no family {clean_text(family, 60)!r} (known: {', '.join(FAMILIES)})",
            advice="correct the name.",
        )
    _within("gpus", gpus, 2, MAX_GPUS)
    _within("seed", seed, 0, 2**63 - 1)
    _within("sm_count", sm_count, 4, 1000)
    _within("batches", batches, 1, 8)
    for what, n in (("services", services), ("tasks", tasks)):
        if n is not None:
            _within(what, n, 1, 10_000)
    if not 0.5 <= confidence <= 0.99:
        raise InputError(
            f"confidence {confidence:g} is outside 0.5 to 0.99",
            path="$.confidence",
            advice="the made-up error bounds end at 0.99.",
        )
    return build(
        family,
        seed,
        Sizes(
            gpus, services, tasks, sm_count, tuple(16 * 2**k for k in range(batches)), confidence
        ),
    )


def _within(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(
            f"{what} is {value}, but must be {low} to {high}",
            path=f"$.{what}",
            advice="choose a size within these limits.",
        )
