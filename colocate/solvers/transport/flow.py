"""A flow of greatest worth through a network, and potentials that prove it in float64.

    max  sum_a v_a f_a
    s.t. flow out of node i - flow into node i = b_i        for every node i
         lower_a <= f_a <= upper_a, whole numbers            for every arc a = (i, j)

The backend (OR-Tools, cost scaling) takes whole-number worths only. Potentials p turn v_a into the
reduced worth r_a = v_a + p_i - p_j, which changes the worth of every flow by the same amount. So

    round k:  c_a = round(r_a * SCALE / K_k), r_a clipped to [-K_k, K_k];  flow of greatest c
              d = longest paths in its residual network, in whole numbers;  p += d * K_k / SCALE

The first round has p = 0 and K_0 = max |v|: its rounding is K_0 / (2 SCALE) = K_0 * 2^-41 for a
unit of flow. After a round no residual arc has r_a above that rounding, so what a further one can
still change has |r_a| within the number of nodes times it: K is that, and every round gains digits.
It ends when the recomputed gap, the sum over arcs of r_a+ (upper - f) + r_a- (f - lower), is at
most `ENOUGH` of what the flow is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Flow", "Network", "best_flow"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCALE = 2.0**40
ENOUGH = 1e-10
ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes with supplies and arcs with bounds; the arrays of arcs run in parallel."""

    supply: Ints
    """Per node; they sum to 0."""
    tail: Ints
    head: Ints
    lower: Ints
    upper: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow and what proves it."""

    amount: Ints
    """Per arc."""
    potential: Floats
    """Per node: v_a <= potential[head] - potential[tail] on every arc that can take more."""
    gap: float
    """What the potentials leave open, in the unit of the worth."""


def best_flow(network: Network) -> Flow | None:
    """Return a flow of greatest worth; None when no flow keeps to the bounds."""
    potential = np.zeros(network.supply.size)
    reach = float(np.abs(network.value).max(initial=0.0)) or 1.0
    found: Flow | None = None
    for _ in range(ROUNDS):
        reduced = network.value + potential[network.tail] - potential[network.head]
        scale = SCALE / reach
        cost = np.rint(np.clip(reduced, -reach, reach) * scale).astype(np.int64)
        amount = _whole_number_flow(network, cost)
        if amount is None:
            assert found is None, "the bounds have not changed"
            return None
        potential = potential + _longest_paths(network, amount, cost) / scale
        flow = Flow(amount, potential, _open(network, amount, potential))
        if found is None or flow.gap < found.gap:
            found = flow
        if found.gap <= ENOUGH * abs(float(network.value @ found.amount)):
            break
        reach = 2.0 * network.supply.size / scale
    return found


def _open(network: Network, amount: Ints, potential: Floats) -> float:
    """Return by how much the bound that the potentials prove exceeds the worth of the flow."""
    reduced = network.value + potential[network.tail] - potential[network.head]
    more = np.maximum(reduced, 0.0) @ (network.upper - amount)
    less = np.maximum(-reduced, 0.0) @ (amount - network.lower)
    return float(more + less)


def _whole_number_flow(network: Network, value: Ints) -> Ints | None:
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    supply = network.supply.copy()
    # What an arc must carry is sent ahead.
    np.subtract.at(supply, network.tail, network.lower)
    np.add.at(supply, network.head, network.lower)
    solver = SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        network.tail, network.head, network.upper - network.lower, -value
    )
    solver.set_nodes_supplies(np.arange(supply.size), supply)
    status = solver.solve()
    if status == solver.INFEASIBLE:
        return None
    assert status == solver.OPTIMAL, f"the flow backend answers {status}"
    amount: Ints = network.lower + np.asarray(solver.flows(arcs), dtype=np.int64)
    return amount


def _longest_paths(network: Network, amount: Ints, value: Ints) -> Floats:
    """Return the worth of the best residual path to each node, from wherever it begins.

    Bellman and Ford's rounds over all arcs at once; in whole numbers, so that they come to an end
    exactly because the flow is optimal for these worths.
    """
    more, less = amount < network.upper, amount > network.lower
    tail = np.concatenate([network.tail[more], network.head[less]])
    head = np.concatenate([network.head[more], network.tail[less]])
    gain = np.concatenate([value[more], -value[less]])
    order = np.argsort(head, kind="stable")
    tail, head, gain = tail[order], head[order], gain[order]
    starts = np.flatnonzero(np.diff(head, prepend=-1))
    best = np.zeros(network.supply.size, dtype=np.int64)
    if not starts.size:
        return best.astype(np.float64)
    into = head[starts]
    for _ in range(network.supply.size + 1):
        found = np.maximum.reduceat(best[tail] + gain, starts)
        if (found <= best[into]).all():
            return best.astype(np.float64)
        best[into] = np.maximum(best[into], found)
    message = "the flow backend's answer is not optimal for the worths it was given"
    raise AssertionError(message)
