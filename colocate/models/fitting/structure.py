"""Learning what layers a network has to do with what it does to a GPU.

The method and its strength are chosen by leaving each known workload out; the error is the mean
absolute error of the two activities, in points. The method is used only where it beats the mean of
the other workloads; otherwise it is a ridge so strong that it is that mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.models.regression.structure import layer_vector, structure_targets
from colocate.profile.company import CandidateError, StructureModel, Telemetry

__all__ = ["fit_structure"]

Floats = NDArray[np.float64]
Method = Literal["ridge", "nearest"]
MEAN: tuple[Method, float] = ("ridge", 1e9)
CHOICES: tuple[tuple[Method, float], ...] = (
    MEAN,
    ("ridge", 10.0),
    ("ridge", 1.0),
    ("ridge", 0.1),
    ("nearest", 1.0),
    ("nearest", 0.5),
    ("nearest", 0.25),
)
FEWEST = 3
"""Known workloads below which nothing can be learnt."""


def fit_structure(
    telemetry: Sequence[Telemetry], layers: Mapping[str, Mapping[str, float]]
) -> StructureModel:
    """Learn from workloads that have both telemetry and a count of layers.

    Parameters
    ----------
    telemetry
        Telemetry, as fitted.
    layers
        For each workload how many layers it has of each kind.
    """
    known = sorted(
        (
            t
            for t in telemetry
            if t.workload in layers and t.sm_activity_pct and t.dram_activity_pct
        ),
        key=lambda t: t.workload,
    )
    if len(known) < FEWEST:
        raise InputError(
            f"{len(known)} workloads have telemetry and layers; at least {FEWEST} are needed",
            advice="count the layers of workloads that were measured.",
        )
    counts = np.array([layer_vector(layers[t.workload]) for t in known])
    targets = np.array([_target(t) for t in known])
    errors = [_error(method, strength, counts, targets) for method, strength in CHOICES]
    best = int(np.argmin(errors))
    return StructureModel(
        method=CHOICES[best][0],
        strength=CHOICES[best][1],
        counts=tuple(float(c) for c in counts.ravel()),
        workloads=tuple(t.workload for t in known),
        targets=tuple(float(t) for t in targets.ravel()),
        errors=tuple(
            CandidateError(
                name="mean" if choice == MEAN else f"{choice[0]} {choice[1]:g}",
                error_pct=error,
                chosen=k == best,
            )
            for k, (choice, error) in enumerate(zip(CHOICES, errors, strict=True))
        ),
    )


def _target(t: Telemetry) -> tuple[float, float, float]:
    """Return the targets at the largest share and the largest batch."""
    return (
        float(np.log1p(t.sm_activity_pct[-1])),
        float(np.log1p(t.dram_activity_pct[-1])),
        t.elasticity[-1],
    )


def _error(method: Method, strength: float, counts: Floats, targets: Floats) -> float:
    errors = []
    for k in range(len(counts)):
        others = np.arange(len(counts)) != k
        guess = structure_targets(
            method, strength, counts[others], targets[others], counts[k : k + 1]
        )[0]
        activity = np.clip(np.expm1(guess[:2]), 0, 100)
        errors.append(np.abs(activity - np.expm1(targets[k, :2])))
    return float(np.mean(errors))
