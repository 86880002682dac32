"""Blast radius: how many replicas of one service may be lost with one node.

    sum over GPUs of the node of replicas of the service <= max_replicas_per_node

A pool that names no node is a node of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from colocate.constraints.base import ColumnView, PlainConstraint, RowSpec
from colocate.instance import GpuPool, Instance
from colocate.plan import Plan
from colocate.violation import Violation

__all__ = ["BlastRadiusConstraint", "node_of"]


def node_of(pool: GpuPool) -> str:
    """Return the node that a pool is on; a pool that names none is one by itself."""
    return f"node {pool.node}" if pool.node is not None else f"pool {pool.id}"


class BlastRadiusConstraint(PlainConstraint):
    """At most so many replicas of any one service on one node."""

    name: ClassVar[str] = "blast_radius"

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        """Return a row for each service on each node that could hold too many of it."""
        import numpy as np

        radius = instance.rules.blast_radius
        if radius is None:
            return []
        most = float(radius.max_replicas_per_node)
        nodes = list(dict.fromkeys(columns.gpu_node))
        on = np.array([nodes.index(node) for node in columns.gpu_node], dtype=np.int64)
        on_node = on[columns.column_gpu[columns.replica_column]]
        key = on_node * len(columns.service_count) + columns.replica_service
        found = []
        for k in np.unique(key).tolist():
            node, service = divmod(k, len(columns.service_count))
            if columns.service_count[service] <= most:
                continue
            per_column = np.bincount(
                columns.replica_column[key == k], minlength=columns.n_columns
            ).astype(np.float64)
            found.append(
                RowSpec(
                    name=f"service {columns.service_id[service]} on {nodes[node]}",
                    column_coefficients=per_column,
                    level_coefficients=np.zeros(columns.level_tenant.shape),
                    lower=-np.inf,
                    upper=most,
                )
            )
        return found

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield services of which a node holds too many replicas."""
        radius = instance.rules.blast_radius
        if radius is None:
            return
        nodes = {pool.id: node_of(pool) for pool in instance.gpu_pools}
        held: dict[tuple[str, str], int] = {}
        for group in plan.placements:
            for placed in group.services:
                key = nodes[group.pool], placed.service
                held[key] = held.get(key, 0) + group.count
        for (node, service), n in sorted(held.items()):
            if n > radius.max_replicas_per_node:
                yield Violation(
                    kind="blast_radius",
                    where=f"service {service}",
                    message=f"{n} replicas on {node}, but at most "
                    f"{radius.max_replicas_per_node} may be lost with one node",
                )
