"""What the models expect of the columns that a plan uses: rates, latencies, memory, evidence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from colocate.instance import Service, Task
from colocate.models.efficiency import efficiency_of_task
from colocate.models.interference import EVIDENCE_ORDER
from colocate.models.slo import slo_model
from colocate.placement import PlacedService, PlacedTask, ServicePrediction, TaskPrediction
from colocate.problem import Problem
from colocate.schema import Evidence

__all__ = ["Predictor"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Predictor:
    """Predicts workloads of columns; keeps what it has predicted."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.slo = slo_model(problem.source.instance.slo_model)
        self._company: dict[int, tuple[Floats, Floats, list[Evidence]]] = {}
        self._knobs: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._predicted: dict[tuple[int, int], ServicePrediction | TaskPrediction] = {}

    def placed(
        self, column: int, position: int, entry: int, ids: str
    ) -> PlacedService | PlacedTask:
        """Return workload `position` of a column as it stands in a plan."""
        instance, key = self.problem.source.instance, (column, position)
        if key not in self._knobs:
            self._knobs[key] = self._knobs_of(column, position)
            self._predicted[key] = self._predict(column, position)
        predicted = self._predicted[key]
        batch, share_pct, sms = self._knobs[key]
        if isinstance(predicted, ServicePrediction):
            return PlacedService(
                service=instance.service_name(entry),
                replicas=ids,
                batch=batch,
                share_pct=share_pct,
                sms=sms,
                predicted=predicted,
            )
        return PlacedTask(
            task=instance.task_name(entry),
            workers=ids,
            batch=batch,
            share_pct=share_pct,
            sms=sms,
            predicted=predicted,
        )

    def _knobs_of(self, column: int, position: int) -> tuple[int, int, int]:
        """Return batch, percentage, and the multiprocessors that it is sure to give."""
        columns = self.problem.columns
        w = int(columns.start[column]) + position
        grid = self.problem.source.classes.gpus[int(columns.gpu[column])].grid
        at = int(columns.grid[w])
        return int(columns.batch[w]), int(grid.share_pct[at]), int(grid.lo[at])

    def rates(self, workloads: Ints) -> Floats:
        """Return the mean rates of workloads, by their index in the columns' flat arrays.

        Those of tasks are progress.
        """
        columns = self.problem.columns
        distinct, where = np.unique(workloads, return_inverse=True)
        owner = np.searchsorted(columns.start, distinct, side="right") - 1
        found = np.empty(distinct.size)
        for i, (w, c) in enumerate(zip(distinct.tolist(), owner.tolist(), strict=True)):
            alone = self._alone(c, w)[0]
            found[i] = alone / self._in_company(c)[0][w - int(columns.start[c])]
        return found[where.reshape(-1)]

    def _alone(self, column: int, w: int) -> tuple[float, float, float, Evidence]:
        """Return rate, rate bound, memory and evidence of a workload without its company.

        The rate of a task is its progress.
        """
        columns, source = self.problem.columns, self.problem.source
        configurator = source.configurators[int(columns.gpu[column])]
        cls, at = int(columns.cls[w]), int(columns.grid[w])
        side = source.classes.tasks if columns.is_task[w] else source.classes.services
        row: Service | Task = side.representative[cls]
        profile = source.instance.profile(row.profile, configurator.gpu.gpu_type)
        assert profile is not None
        if columns.is_task[w]:
            task = configurator.tasks[configurator.variants.at(cls, int(columns.batch[w]))]
            assert task is not None
            return float(task.rate[at]), float(task.rate_lo[at]), task.memory_gib, profile.evidence
        service = configurator.services[cls]
        assert service is not None
        b = int(np.flatnonzero(service.batch == columns.batch[w])[0])
        rate, low = float(service.rate[b, at]), float(service.rate_lo[b, at])
        return rate, low, float(service.memory_gib[b]), profile.evidence

    def _in_company(self, column: int) -> tuple[Floats, Floats, list[Evidence]]:
        """Return slowdown, its bound and its evidence for each workload of a column."""
        if column not in self._company:
            columns = self.problem.columns
            configurator = self.problem.source.configurators[int(columns.gpu[column])]
            span = slice(int(columns.start[column]), int(columns.start[column + 1]))
            n_services = int((~columns.is_task[span]).sum())
            batch = columns.batch[span]
            members = configurator.members(columns.cls[span], n_services, batch)
            mean, high = configurator.slowdowns_at(members, n_services, batch, columns.grid[span])
            index = configurator.pair_index(members[None, :], n_services)[0].tolist()
            weakest = [
                max(
                    (int(configurator.pairs.evidence[v, n]) for j, n in enumerate(index) if j != i),
                    default=0,
                )
                for i, v in enumerate(index)
            ]
            self._company[column] = (mean, high, [EVIDENCE_ORDER[e] for e in weakest])
        return self._company[column]

    def _predict(self, column: int, position: int) -> ServicePrediction | TaskPrediction:
        columns, source = self.problem.columns, self.problem.source
        w = int(columns.start[column]) + position
        alone, alone_lo, memory, curve_evidence = self._alone(column, w)
        mean, high, company_evidence = self._in_company(column)
        rate = alone / float(mean[position])
        rate_lo = 0.0 if math.isinf(high[position]) else alone_lo / float(high[position])
        evidence = max(curve_evidence, company_evidence[position], key=EVIDENCE_ORDER.index)
        cls = int(columns.cls[w])
        if columns.is_task[w]:
            reference = float(np.asarray(source.facts.reference_rate)[cls])
            task: Task = source.classes.tasks.representative[cls]
            efficiency = efficiency_of_task(task, int(columns.batch[w]))
            return TaskPrediction(
                rate=rate / efficiency,
                rate_lo=rate_lo / efficiency,
                normalised_rate=rate / reference,
                memory_gib=memory,
                evidence=evidence,
            )
        row: Service = source.classes.services.representative[cls]
        batch, arrivals = np.array([float(columns.batch[w])]), np.array([row.rate_rps])
        latency, latency_hi = (
            float(self.slo.latency_ms(batch, batch / r, arrivals, row.slo_percentile)[0])
            for r in (rate, rate_lo)
        )
        return ServicePrediction(
            rate_rps=rate,
            rate_lo_rps=rate_lo,
            latency_ms=latency,
            latency_hi_ms=latency_hi,
            memory_gib=memory,
            evidence=evidence,
        )
