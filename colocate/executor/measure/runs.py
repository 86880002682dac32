"""The points of a campaign, in an order that spreads, and the time that they take."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.measure.tenants import Point, Tenant, Workload

if TYPE_CHECKING:
    from colocate.executor.measure.campaign import Campaign, Companies
    from colocate.executor.measure.effort import Effort
    from colocate.tables.table import ProfileTable

__all__ = ["Run", "estimate_s", "in_order", "points_of", "points_of_rows", "runs_of"]

START_S = 12.0
"""Time until a process has loaded its libraries, made its network and reported."""
PREPARE_S = 1.5
"""Time to get warm at another batch size."""


@dataclass(frozen=True, slots=True)
class Run:
    """One point, measured once."""

    point: Point
    start: int
    """Which start of its processes, from 0."""
    key: str
    """Stays the same as long as the same programs are to run at the same settings."""


def points_of(campaign: Campaign) -> list[Point]:
    """Return the points of a campaign: alone, with arrivals, in company."""
    found: dict[Point, None] = {}
    for w in campaign.workloads:
        for share, batch in product(w.shares_pct, w.batches):
            found[Point.of(Tenant(workload=w.name, batch=batch, share_pct=share))] = None
            rates = [{"load": x} for x in w.loads] + [{"arrival_rps": r} for r in w.arrivals_rps]
            for rate in rates:
                tenant = Tenant(workload=w.name, batch=batch, share_pct=share, **rate)
                found[Point.of(tenant)] = None
    batches = {w.name: w.batches for w in campaign.workloads}
    for company in campaign.companies:
        for point in _together(company, batches):
            found[point] = None
    return list(found)


def points_of_rows(table: ProfileTable, workloads: Iterable[str]) -> list[Point]:
    """Return the points that would fill the rows of a table, such as those of `models next`.

    Raises
    ------
    InputError
        When a row names a workload that is not known, or does not say how somebody is to run.
    """
    known = set(workloads)
    found: dict[Point, None] = {}
    for row in range(len(table)):
        arrival = float(table["arrival_rps"][row])
        first = (
            str(table["workload"][row]),
            float(table["batch"][row]),
            float(table["share_pct"][row]),
        )
        tenants = []
        for i, (name, batch, share) in enumerate([first, *table.neighbours(row)]):
            if name not in known:
                raise InputError(
                    f"row {row + 1} names the workload {name!r}, which is not in the campaign",
                    advice="add how it is started to the campaign's workloads.",
                )
            if not (batch >= 1 and batch == int(batch) and share == share):
                raise InputError(
                    f"row {row + 1} does not say at which batch and share {name!r} is to run",
                    advice="fill in batch and share of everybody in that row.",
                )
            if share != int(share) or not 1 <= share <= 100:
                raise InputError(
                    f"row {row + 1} gives {name!r} {share:g} %: MPS knows whole percentages",
                    advice="round it.",
                )
            rate = arrival if i == 0 and not math.isnan(arrival) else None
            tenants.append(
                Tenant(workload=name, batch=int(batch), share_pct=int(share), arrival_rps=rate)
            )
        found[Point.of(*tenants)] = None
    return list(found)


def runs_of(
    points: Sequence[Point], workloads: Mapping[str, Workload], starts: int = 1
) -> list[Run]:
    """Return every point once for each start, in the order in which they are measured."""
    return [
        Run(point, start, f"{point.key(workloads)}@{start}")
        for start in range(starts)
        for point in in_order(points)
    ]


def in_order(points: Sequence[Point]) -> list[Point]:
    """Return points so that a campaign which ends early still knows something about everything.

    Points that need the same processes follow each other. Of each workload, or company, the first
    such group has the largest share, and every next one is as far from those before it as can be
    (in the logarithm of the share); the first groups of all come before all second ones. Groups of
    the same rank come in an order that looks random and is always the same, so that no workload is
    always measured on a warm GPU. Within a group those without arrivals come first, because the
    loads of the others are parts of their rates.
    """
    groups: dict[tuple[tuple[str, int], ...], list[Point]] = {}
    for point in points:
        groups.setdefault(point.processes, []).append(point)
    families: dict[tuple[str, ...], list[tuple[tuple[str, int], ...]]] = {}
    for processes in groups:
        families.setdefault(tuple(name for name, _ in processes), []).append(processes)
    ranked = []
    for family, members in families.items():
        for rank, processes in enumerate(_spread(members, lambda g: math.log(g[0][1]))):
            # company is of use only where the rates alone are known: it comes one rank later
            later = len(family) > 1
            ranked.append((rank + later, later, _noise(processes), processes))
    ranked.sort()
    return [p for *_, processes in ranked for p in sorted(groups[processes], key=_within)]


def estimate_s(runs: Sequence[Run], effort: Effort) -> float:
    """Return how long runs take at least, in their order, if everything goes well.

    The rates are steady at once, and known well enough after the least number of windows.
    """
    total = 0.0
    waiting: list[tuple[str, int]] = []
    for i, run in enumerate(runs):
        new = [p for p in run.point.processes if p not in waiting]
        anew = i == 0 or runs[i - 1].start != run.start
        total += START_S if new or anew else 0.0
        rest = [p for p in waiting if p not in run.point.processes]
        kept = [*rest, *run.point.processes] if effort.parked else list(run.point.processes)
        waiting = kept[-(effort.parked + len(run.point.processes)) :]
        total += point_s(effort)
    return total


def point_s(effort: Effort) -> float:
    """Return how long one point takes if everything goes well."""
    windows = 2 * effort.steady_windows + effort.least_windows
    return PREPARE_S + effort.warm_up_s + windows * effort.window_s


def _together(company: Companies, batches: Mapping[str, Sequence[int]]) -> Iterable[Point]:
    for one, two in product(company.of, company.beside):
        pairs = {
            "largest": [(max(batches[one]), max(batches[two]))],
            "smallest": [(min(batches[one]), min(batches[two]))],
            "all": list(product(batches[one], batches[two])),
        }[company.batches]
        for shares, (b1, b2) in product(company.shares_pct, pairs):
            yield Point.of(
                Tenant(workload=one, batch=b1, share_pct=shares[0]),
                Tenant(workload=two, batch=b2, share_pct=shares[1]),
            )


def _spread(
    members: Sequence[tuple[tuple[str, int], ...]],
    place: Callable[[tuple[tuple[str, int], ...]], float],
) -> list[tuple[tuple[str, int], ...]]:
    """Return members by how far each is from all before it, the largest first."""
    left = sorted(members, key=lambda m: (-place(m), m))
    found = left[:1]
    while len(found) < len(members):
        rest = [m for m in left if m not in found]
        found.append(max(rest, key=lambda m: min(abs(place(m) - place(f)) for f in found)))
    return found


def _noise(processes: tuple[tuple[str, int], ...]) -> str:
    return hashlib.sha256(repr(processes).encode()).hexdigest()


def _within(point: Point) -> tuple[bool, list[tuple[int, float, float]]]:
    settings = [(t.batch, t.load or 0.0, t.arrival_rps or 0.0) for t in point.tenants]
    return (not all(t.closed for t in point.tenants), settings)
