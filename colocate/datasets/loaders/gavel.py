"""Gavel (OSDI'20): training alone and in pairs on one GPU, under MPS without limits.

Reads the two CSV files (`isolated_throughput.csv`, `pair_throughput.csv`) or the source's own
`simulation_throughputs.json`: {gpu: {"('JOB', GPUS)": {"null": steps/s, "('OTHER', GPUS)":
[steps/s, steps/s of the other]}}}. Only jobs on a single GPU are read, of the consolidated layout.

A job such as `ResNet-18 (batch size 16)` becomes workload `ResNet-18` at batch 16, its rate samples
per second: steps times batch. Jobs without a batch (`A3C`, `CycleGAN`) count steps. Pairs that ran
out of memory or were not run have zeros in the source and are left out. About one in eight pair
rates on the V100 equals the rate alone exactly: the authors clipped them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np

from colocate.datasets.loaders._json import mapping_in, number_in, read_mapping
from colocate.datasets.loaders._places import file_in
from colocate.errors import InputError
from colocate.io.problems import show_value
from colocate.tables.raw import read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_gavel"]

_BATCH = re.compile(r"(.+) \(batch size (\d+)\)")
_JOB = re.compile(r"\('([^']+)', (\d+)\)")

Measured = tuple[str, str, str, float]
"""GPU, job, other job or nothing, steps per second."""


def load_gavel(folder: str | PathLike[str]) -> ProfileTable:
    """Read a folder with the CSV files, or the source's JSON file."""
    found = file_in(folder, "isolated_throughput.csv", "simulation_throughputs.json")
    if found.suffix == ".json":
        return _table(_from_json(found))
    return _table([*_alone(found), *_pairs(file_in(found.parent, "pair_throughput.csv"))])


def _alone(path: Path) -> Iterable[Measured]:
    raw = read_csv(path, ["gpu", "placement", "job", "n_gpus", "isolated_steps_per_s"])
    rows = (raw.text("placement") == "consolidated") & (raw.numbers("n_gpus") == 1)
    gpus, jobs, rates = raw.text("gpu"), raw.text("job"), raw.numbers("isolated_steps_per_s")
    return [(gpus[i], jobs[i], "", float(rates[i])) for i in np.flatnonzero(rows)]


def _pairs(path: Path) -> Iterable[Measured]:
    names = ("coloc_steps_per_s_a", "coloc_steps_per_s_b")
    raw = read_csv(path, ["gpu", "job_a", "job_b", *names])
    gpus, firsts, seconds = raw.text("gpu"), raw.text("job_a"), raw.text("job_b")
    one, two = (raw.numbers(name) for name in names)
    for i in range(len(raw)):
        yield gpus[i], firsts[i], seconds[i], float(one[i])
        if firsts[i] != seconds[i]:
            yield gpus[i], seconds[i], firsts[i], float(two[i])


def _from_json(path: Path) -> Iterable[Measured]:
    value, label = read_mapping(path)
    for gpu, jobs in value.items():
        if gpu.endswith("_unconsolidated"):
            continue
        for job, beside in mapping_in(jobs, gpu, label).items():
            name = _single(job, label)
            for other, rate in mapping_in(beside, job, label).items() if name else ():
                if other == "null":
                    yield gpu, name, "", number_in(rate, job, label)
                    continue
                second = _single(other, label)
                if second:
                    # both orders are in the file, so each row gives the rate of its first job
                    yield gpu, name, second, number_in(_two(rate, job, label), job, label)


def _single(key: str, label: str) -> str:
    """Return the job of a key such as `('A3C', 1)`; nothing for one on several GPUs."""
    found = _JOB.fullmatch(key)
    if found is None:
        raise InputError(
            f"a job must be written as ('name', GPUs), not {show_value(key)}",
            source=label,
            advice="give scheduler/simulation_throughputs.json of the source.",
        )
    return found[1] if found[2] == "1" else ""


def _two(value: object, what: str, label: str) -> object:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(
            f"{show_value(what)} must have two rates, not {show_value(value)}",
            source=label,
            advice="give scheduler/simulation_throughputs.json of the source.",
        )
    return value[0]


def _table(rows: Iterable[Measured]) -> ProfileTable:
    kept = [row for row in rows if row[3] > 0]
    jobs = [_job(job) for _, job, _, _ in kept]
    others = [_job(other) for _, _, other, _ in kept]
    batch = np.array([b for _, b in jobs], dtype=np.float64)
    return ProfileTable.of(
        workload=[name for name, _ in jobs],
        role=["training"] * len(kept),
        gpu=[gpu.upper() for gpu, _, _, _ in kept],
        batch=batch,
        share_pct=np.full(len(kept), 100.0),
        neighbour=[name for name, _ in others],
        neighbour_batch=["" if np.isnan(b) else f"{b:g}" for _, b in others],
        neighbour_share_pct=["100" if name else "" for name, _ in others],
        rate=np.array([row[3] for row in kept]) * np.where(np.isnan(batch), 1.0, batch),
    )


def _job(name: str) -> tuple[str, float]:
    found = _BATCH.fullmatch(name)
    return (found[1], float(found[2])) if found else (name, float("nan"))
