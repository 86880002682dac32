"""Drawing the cast of an instance: its workloads, their profiles and how they slow each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from colocate.datasets.parametric import (
    Workload,
    inference_profile,
    pairs,
    significant,
    training_profile,
)
from colocate.profile import Interference, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.datasets._dice import Dice

__all__ = ["Cast", "GpuType", "draw_cast"]

TASK_BATCHES = (32, 64, 128, 256, 512)
MOST_INFERENCE, MOST_TRAINING = 12, 40
"""Most workloads of each role; further kinds share profiles and differ in the rest."""


class GpuType(NamedTuple):
    """A GPU model and how fast it is."""

    name: str
    speed: float = 1.0


class Cast(NamedTuple):
    """Workloads, with their profiles on every GPU type."""

    inference: tuple[Workload, ...]
    training: tuple[Workload, ...]
    training_batch: tuple[int, ...]
    profiles: dict[tuple[str, str], Profile]
    """By workload and GPU type."""
    interference: Interference


def draw_cast(
    dice: Dice,
    *,
    services: int,
    tasks: int,
    batches: Sequence[int],
    service_gib: tuple[float, float],
    task_gib: tuple[float, float],
    gpu_types: Sequence[GpuType],
    training_pairs: bool = False,
) -> Cast:
    """Draw workloads for so many kinds of services and tasks.

    `service_gib` is the memory of a service without samples and at its largest batch, `task_gib`
    that of a task; with `training_pairs` tasks slow each other too.
    """
    inference = [
        _inference(dice, f"serve-{i}", batches[-1], service_gib)
        for i in range(min(services, MOST_INFERENCE))
    ]
    training_batch = [dice.pick(TASK_BATCHES) for _ in range(min(tasks, MOST_TRAINING))]
    training = [_training(dice, f"train-{i}", task_gib) for i in range(len(training_batch))]
    profiles: dict[tuple[str, str], Profile] = {}
    table = []
    for gpu in gpu_types:
        fast = [_scaled(w, gpu.speed) for w in inference]
        for w in fast:
            profiles[w.name, gpu.name] = inference_profile(w, gpu.name, batches)
        for w, batch in zip(training, training_batch, strict=True):
            profiles[w.name, gpu.name] = training_profile(_scaled(w, gpu.speed), gpu.name, batch)
        table += pairs(inference, training, gpu.name) + pairs(training, inference, gpu.name)
        if training_pairs:
            table += pairs(training, training, gpu.name)
    return Cast(
        tuple(inference),
        tuple(training),
        tuple(training_batch),
        profiles,
        Interference(pairs=tuple(table)),
    )


def _inference(dice: Dice, name: str, batch: int, gib: tuple[float, float]) -> Workload:
    base = dice.uniform(gib[0], gib[0] + (gib[1] - gib[0]) / 4)
    top = dice.uniform(gib[1] - (gib[1] - gib[0]) / 4, gib[1])
    return Workload(
        name,
        full_rate=significant(dice.uniform(500, 3500)),
        half_share_pct=significant(dice.uniform(10, 50)),
        batch_half=significant(dice.uniform(6, 30)),
        base_gib=significant(base),
        per_sample_mib=significant(1024 * (top - base) / batch),
        sensitivity=significant(dice.uniform(0.25, 0.75)),
        pressure=significant(dice.uniform(0.08, 0.6)),
    )


def _training(dice: Dice, name: str, gib: tuple[float, float]) -> Workload:
    root = dice.uniform(0.02, 1)
    return Workload(
        name,
        full_rate=significant(20_000 * root * root),
        half_share_pct=significant(dice.uniform(5, 80)),
        batch_half=20.0,
        base_gib=significant(dice.uniform(*gib), 3),
        per_sample_mib=0.0,
        sensitivity=significant(dice.uniform(0.25, 0.75)),
        pressure=significant(dice.uniform(0.08, 0.6)),
    )


def _scaled(workload: Workload, speed: float) -> Workload:
    return replace(workload, full_rate=significant(workload.full_rate * speed))
