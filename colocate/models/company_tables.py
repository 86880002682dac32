"""Fitted slowdowns as the tables that an instance holds: one for each ordered pair of workloads.

The planner looks a table up linearly between nodes, so a table must be right on the diagonal where
the two shares make 100 %, and cells beyond it are looked up with some weight. There the neighbour
counts with what the victim leaves it:

    table(p_v, p_n) = s(p_v, min(p_n, 100 - p_v))

A pair that was measured with the whole GPU divided between the two keeps its measurements as they
are, without an axis for the share of the neighbour, as long as two tenants share a GPU: one with
less than the rest of the GPU slows down no more. Beyond the measured splits and in wide gaps
between them the model speaks, moved so that it passes through what was measured:

    log s(p) = log model(p) + r(p),   r linear between the measured splits, constant beyond

Such a pair counts as measured where at least `ENOUGH_SPLITS` splits span `WIDE_SPAN` points. Where
three tenants share a GPU, all cells come from the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from colocate.models.company import EVIDENCE_OF, LEAST, MOST, UNKNOWN, Company
from colocate.models.regression.features import Queries
from colocate.profile.bounds import Bounds
from colocate.profile.company import MeasuredPair
from colocate.profile.interference import PairSlowdown, SlowdownTable
from colocate.schema import Evidence

__all__ = ["SHARES", "pair_slowdowns"]

Floats = NDArray[np.float64]
SHARES = tuple(float(share) for share in range(10, 100, 10))
"""Nodes of the shares, in percent."""
MOST_BATCHES = 8
MOST_TOTAL = 101.0
"""Beyond this, two shares overlap; rounding aside."""
NEAR = 2.0
"""A node closer than this to a measured share is not needed."""
WIDE_GAP = 25.0
ENOUGH_SPLITS = 3
WIDE_SPAN = 40.0


def pair_slowdowns(
    company: Company,
    victims: Sequence[str],
    neighbours: Sequence[str],
    *,
    shares: Sequence[float] = SHARES,
    tenants: int = 2,
    errors: Mapping[Evidence, Bounds] | None = None,
) -> list[PairSlowdown]:
    """Return the slowdown of each victim beside each neighbour; unknown pairs are left out.

    Parameters
    ----------
    company
        The fitted model.
    victims, neighbours
        Workloads by name; a workload beside itself is a pair, too.
    shares
        Nodes of the tables, in percent.
    tenants
        How many workloads share a GPU at most.
    errors
        One-sided error bounds of a slowdown, by what it rests on. Constants for roles that met
        nowhere have none.
    """
    measured = {(m.victim, m.neighbour): m for m in company.model.measured}
    company.index([*victims, *neighbours])
    batches = _batches(company)
    bare = company.without_measurements()
    nodes = np.array(shares, dtype=float)
    found = []
    for victim in victims:
        for neighbour in neighbours:
            entry = measured.get((victim, neighbour))
            if entry is not None and tenants <= 2 and _divided(entry):
                result = _as_measured(bare, entry, nodes)
            else:
                axes = (batches[victim], batches[neighbour], nodes, nodes)
                result = _as_predicted(company, victim, neighbour, axes)
            if result is None:
                continue
            table, evidence = result
            one = min(table.slowdown) == max(table.slowdown)
            known = evidence is not Evidence.CONSTANT or company.met(
                *company.index([victim, neighbour])
            )
            found.append(
                PairSlowdown(
                    gpu_type=company.model.gpu_type,
                    victim=victim,
                    neighbour=neighbour,
                    slowdown=table.slowdown[0] if one else None,
                    table=None if one else table,
                    error=tuple((errors or {}).get(evidence, ())) if known else (),
                    evidence=evidence,
                )
            )
    return found


def _batches(company: Company) -> dict[str, Floats]:
    """Return the batches at which each workload is looked at; one where it does not matter."""
    found: dict[str, set[int]] = {name: set() for name in company.names}
    for t in company.telemetry:
        found[t.workload] |= set(t.batch)
    for m in company.model.measured:
        if m.victim in found and m.neighbour in found:
            found[m.victim] |= set(m.victim_batch)
            found[m.neighbour] |= set(m.neighbour_batch)
    return {name: _thin(np.array(sorted(b or {1}), dtype=float)) for name, b in found.items()}


def _thin(batches: Floats) -> Floats:
    if batches.size <= MOST_BATCHES:
        return batches
    wanted = np.linspace(np.log(batches[0]), np.log(batches[-1]), MOST_BATCHES)
    nearest = [int(np.argmin(np.abs(np.log(batches) - w))) for w in wanted]
    return batches[np.unique(nearest)]


def _divided(m: MeasuredPair) -> bool:
    """Return whether the two had the whole GPU between them in every measurement that counts."""
    if m.split:
        return True
    # One measurement ties nothing to anything; what counts is that nothing was left over.
    single = len(m.victim_share_pct) == len(m.neighbour_share_pct) == 1
    return single and 90 <= m.victim_share_pct[0] + m.neighbour_share_pct[0] <= MOST_TOTAL


def _as_measured(
    bare: Company, m: MeasuredPair, nodes: Floats
) -> tuple[SlowdownTable, Evidence] | None:
    """Return the measurements, with the model around them; `bare` knows no measurements."""
    # measurements beyond 100 % would bend the table towards a regime that no plan enters
    inside = [
        k
        for k, p in enumerate(m.victim_share_pct)
        if p + m.neighbour_share_pct[k if m.split else 0] <= MOST_TOTAL
    ]
    if not inside:
        return None
    known = np.array(m.victim_share_pct)[inside]
    batches = [np.array(b, dtype=float) for b in (m.victim_batch, m.neighbour_batch)]
    shape = (batches[0].size, batches[1].size, len(m.victim_share_pct))
    measured = np.reshape([np.nan if s is None else s for s in m.slowdown], shape)[:, :, inside]
    shares = np.union1d(known, [p for p in nodes if _far(p, known)])
    values = np.full((*shape[:2], shares.size), np.nan)
    values[:, :, np.searchsorted(shares, known)] = measured
    enough = known.size >= ENOUGH_SPLITS and np.ptp(known) >= WIDE_SPAN
    evidence = Evidence.MEASURED if enough else Evidence.REGRESSED
    gaps = np.isnan(values)
    if gaps.any():
        v, n, p = np.meshgrid(*batches, shares, indexing="ij")
        guess = _ask(bare, m.victim, m.neighbour, v, n, p, 100 - p)
        if guess is None:
            # Nothing but the measurements is known; what lies beyond them is as at their ends.
            if np.isnan(measured).any():
                return None
            return _table((*batches, known, np.array([50.0])), measured), Evidence.MEASURED
        model, source = np.log(guess[0]), guess[1]
        moved = np.apply_along_axis(_between, 2, np.log(values) - model, shares)
        values = np.where(gaps, np.exp(model + moved), values)
        if not enough or np.isnan(measured).any():
            evidence = EVIDENCE_OF[int(source[gaps].max())]
    return _table((*batches, shares, np.array([50.0])), values), evidence


def _far(share: float, known: Floats) -> bool:
    """Return whether a node lies beyond the measured shares, or in a wide gap between them."""
    if share <= known[0] or share >= known[-1]:
        return bool(np.abs(known - share).min() > NEAR)
    right = int(np.searchsorted(known, share))
    return bool(known[right] - known[right - 1] > WIDE_GAP) and bool(
        np.abs(known - share).min() > NEAR
    )


def _between(errors: Floats, shares: Floats) -> Floats:
    """Return r: the errors at measured shares, linear between them; 0 where there are none."""
    known = ~np.isnan(errors)
    if not known.any():
        return np.zeros(errors.size)
    found: Floats = np.interp(shares, shares[known], errors[known])
    return found


def _as_predicted(
    company: Company, victim: str, neighbour: str, axes: tuple[Floats, Floats, Floats, Floats]
) -> tuple[SlowdownTable, Evidence] | None:
    v, n, p, o = np.meshgrid(*axes, indexing="ij")
    left = np.minimum(o, 100 - p)
    guess = _ask(company, victim, neighbour, v, n, p, left)
    if guess is None:
        return None
    return _table(axes, guess[0]), EVIDENCE_OF[int(guess[1].max())]


def _ask(
    company: Company, victim: str, neighbour: str, *settings: Floats
) -> tuple[Floats, NDArray[np.int8]] | None:
    """Return slowdowns and sources over a mesh; None where some cell is unknown."""
    v, n, p, o = (s.ravel() for s in settings)
    who = np.full(v.size, company.place[victim]), np.full(v.size, company.place[neighbour])
    answer = company.predict(Queries(*who, v, n, p, o))
    if (answer.source == UNKNOWN).any():
        return None
    shape = settings[0].shape
    return answer.slowdown.reshape(shape), answer.source.reshape(shape)


def _table(axes: Sequence[Floats], values: Floats) -> SlowdownTable:
    """Return the table, without axes that change nothing."""
    cube = np.clip(values.reshape([a.size for a in axes]), LEAST, MOST)
    kept = list(axes)
    for k in range(4):
        if kept[k].size > 1 and (cube == cube.take([0], axis=k)).all():
            cube, kept[k] = cube.take([0], axis=k), kept[k][:1]
    batches = [tuple(round(float(b)) for b in a) for a in kept[:2]]
    shares = [tuple(float(p) for p in a) for a in kept[2:]]
    return SlowdownTable(
        victim_batch=batches[0],
        neighbour_batch=batches[1],
        victim_share_pct=shares[0],
        neighbour_share_pct=shares[1],
        slowdown=tuple(float(s) for s in cube.ravel()),
    )
