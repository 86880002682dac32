"""Quotas and floors: how much training one tenant may, or must, have in the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from colocate.components import at_most
from colocate.constraints.base import ColumnView, PlainConstraint, RowSpec
from colocate.entries import task_entries
from colocate.instance import Instance, Quota
from colocate.plan import Plan
from colocate.runs import count_ids
from colocate.violation import Violation


class QuotaConstraint(PlainConstraint):
    """minimum <= placed tasks, or shares of training workers, <= maximum."""

    name: ClassVar[str] = "quota"

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        """Return a row for each quota."""
        import numpy as np

        found = []
        for quota in instance.rules.quotas:
            code = columns.tenants.index(quota.tenant)
            mine = columns.worker_tenant == code
            if quota.unit == "tasks":
                # A gang counts once, through its level variable; single tasks count in the columns.
                counted = mine & (columns.worker_gang == 1)
                amounts = np.ones(int(counted.sum()))
                levels = (columns.level_tenant == code).astype(float)
            else:
                counted = mine
                amounts = columns.worker_share[counted]
                levels = np.zeros(columns.level_tenant.shape)
            per_column = np.bincount(
                columns.worker_column[counted], weights=amounts, minlength=columns.n_columns
            )
            found.append(
                RowSpec(
                    name=f"quota {quota.tenant} {quota.unit}",
                    column_coefficients=per_column.astype(np.float64),
                    level_coefficients=levels,
                    lower=-np.inf if quota.minimum is None else quota.minimum,
                    upper=np.inf if quota.maximum is None else quota.maximum,
                    quota=quota,
                )
            )
        return found

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield quotas that are exceeded and floors that are missed."""
        if not instance.rules.quotas:
            return
        entries = task_entries(instance)
        owners, gang_sizes = entries.values("tenant"), entries.values("gang_size")
        workers: dict[int, int] = {}
        percent: dict[str, int] = {}
        for group in plan.placements:
            for placed in group.tasks:
                position = entries.find(placed.task)
                if position is None:
                    continue
                n, owner = count_ids(placed.workers), owners[position]
                workers[position] = workers.get(position, 0) + n
                percent[owner] = percent.get(owner, 0) + n * placed.share_pct
        tasks: dict[str, int] = {}
        for position, n in workers.items():
            owner = owners[position]
            tasks[owner] = tasks.get(owner, 0) + n // gang_sizes[position]
        for quota in instance.rules.quotas:
            if quota.unit == "tasks":
                amount, unit = float(tasks.get(quota.tenant, 0)), "placed tasks"
            else:
                amount, unit = percent.get(quota.tenant, 0) / 100, "GPUs' worth of training shares"
            if quota.maximum is not None and not at_most(amount, quota.maximum):
                yield _broken(
                    quota, f"{amount:.6g} {unit}, but at most {quota.maximum:.6g} allowed"
                )
            if quota.minimum is not None and not at_most(-amount, -quota.minimum):
                yield _broken(
                    quota, f"{amount:.6g} {unit}, but at least {quota.minimum:.6g} are due"
                )


def _broken(quota: Quota, message: str) -> Violation:
    return Violation(kind="quota", where=f"tenant {quota.tenant}", message=message)
