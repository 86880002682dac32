"""A small mechanistic world in which workloads share a GPU, to test what is learnt from it.

A sample takes host time h, compute time c / min(p, cap) at a share p, and memory time m. Memory
time stretches with the bandwidth that the others use (`stretch`, a function of their sum), host
time with the number of inference neighbours of an inference workload. The bandwidth that a workload
uses is m times its rate in company, so the rates of a company solve a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from colocate.tables import ProfileTable

GPU = "model-1"
SPLITS = tuple(range(10, 100, 10))


class Work(NamedTuple):
    name: str
    role: str
    host: float
    compute: float
    memory: float
    cap: float


class Tenant(NamedTuple):
    work: Work
    batch: float
    share: float


def linear(used: float) -> float:
    return 1 + 1.2 * used


def queue(used: float) -> float:
    """Waiting for a server that is busy for a part of the time: steeper, the busier it is."""
    return 1 / (1 - min(used, 0.9))


def draw_works(n: int, seed: int) -> list[Work]:
    rng = np.random.default_rng(seed)
    return [
        Work(
            f"w{k}",
            "training" if k % 2 else "inference",
            float(rng.uniform(0.5, 6)) * 1e-3,
            float(rng.uniform(1, 8)) * 1e-3,
            float(rng.uniform(0.2, 5)) * 1e-3,
            float(rng.uniform(0.4, 1)),
        )
        for k in range(n)
    ]


def rates_of(company: Sequence[Tenant], stretch: Callable[[float], float] = linear) -> list[float]:
    rates = [1.0 / _time(t, 1.0, 0) for t in company]
    for _ in range(200):
        used = [min(r * t.work.memory, 1.0) for r, t in zip(rates, company, strict=True)]
        rates = [
            1.0
            / _time(
                t,
                stretch(sum(used) - used[i]),
                sum(
                    t.work.role == o.work.role == "inference"
                    for j, o in enumerate(company)
                    if j != i
                ),
            )
            for i, t in enumerate(company)
        ]
    return rates


def _time(t: Tenant, stretched: float, rivals: int) -> float:
    work = t.work
    host = work.host / np.sqrt(t.batch) * (1 + 0.1 * rivals)
    return float(host + work.compute / min(t.share / 100, work.cap) + work.memory * stretched)


def _rows(
    company: Sequence[Tenant],
    rng: np.random.Generator,
    noise: float,
    stretch: Callable[[float], float],
) -> list[dict[str, Any]]:
    rows = []
    for i, (t, rate) in enumerate(zip(company, rates_of(company, stretch), strict=True)):
        others = [o for j, o in enumerate(company) if j != i]
        rows.append(
            {
                "workload": t.work.name,
                "role": t.work.role,
                "batch": t.batch,
                "share_pct": t.share,
                "neighbour": "+".join(o.work.name for o in others),
                "neighbour_batch": "+".join(f"{o.batch:g}" for o in others),
                "neighbour_share_pct": "+".join(f"{o.share:g}" for o in others),
                "rate": rate * float(np.exp(noise * rng.normal())),
            }
        )
    return rows


def measure(
    works: Sequence[Work],
    *,
    noise: float = 0.003,
    seed: int = 0,
    batch: float = 4.0,
    triples: int = 0,
    stretch: Callable[[float], float] = linear,
    telemetry: bool = True,
) -> ProfileTable:
    """Measure everything alone at ten shares and in all pairs at nine splits, and some triples."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for work in works:
        for share in (*SPLITS, 100):
            (row,) = _rows([Tenant(work, batch, share)], rng, noise, stretch)
            if share == 100 and telemetry:
                row["dram_activity_pct"] = 100 * work.memory * row["rate"]
                row["sm_activity_pct"] = 100 * min(1.0, work.compute * row["rate"])
            rows.append(row)
    for i, one in enumerate(works):
        for two in works[i:]:
            for share in SPLITS:
                pair = [Tenant(one, batch, share), Tenant(two, batch, 100 - share)]
                rows += _rows(pair, rng, noise, stretch)
    for _ in range(triples):
        chosen = rng.choice(len(works), 3)
        shares = rng.choice([20, 30, 40], 2)
        company = [
            Tenant(works[w], batch, float(p))
            for w, p in zip(chosen, (*shares, 100 - shares.sum()), strict=True)
        ]
        rows += _rows(company, rng, noise, stretch)
    names = sorted({name for row in rows for name in row})
    text = {"workload", "role", "neighbour", "neighbour_batch", "neighbour_share_pct"}
    return ProfileTable.of(
        gpu=GPU,
        **{n: [row.get(n, "" if n in text else np.nan) for row in rows] for n in names},
    )
