"""What happens on one GPU, worked out anew from the instance with plain numbers.

Each distinct group is judged once, for all its GPUs: may its workloads run there with these knobs,
how fast do they run in this company, is the SLO met at the stated confidence, and does the plan
predict the same. Memory, clients, users and limits are the constraints' business.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from colocate.constraints._residents import gpus_text
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.judge.findings import Findings
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.models.efficiency import efficiency_of_task
from colocate.models.interference import EVIDENCE_ORDER, Knobs, Slowdown, slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.objectives._gangs import reference_rate
from colocate.placement import (
    PlacedService,
    PlacedTask,
    PlacementGroup,
    ServicePrediction,
    TaskPrediction,
)
from colocate.profile import Interference, PairSlowdown, Profile
from colocate.schema import Evidence

__all__ = ["PlacementJudge", "sms_of"]

PREDICTION_TOLERANCE = 1e-7


def sms_of(pool: GpuPool, share_pct: int) -> tuple[int, int] | None:
    """Return the multiprocessors that a percentage is sure to give, and the most it may take.

    None when the pool was measured, but not at this percentage.
    """
    if pool.measured_sms is None:
        return share_pct * pool.sm_count // 100, -(-share_pct * pool.sm_count // 100)
    for measured in pool.measured_sms:
        if measured.share_pct == share_pct:
            return measured.sms, measured.sms
    return None


class _Neighbour(NamedTuple):
    """Another workload on the GPU."""

    workload: str
    knobs: Knobs | None
    """None where its share was not measured."""


class _Speed(NamedTuple):
    """How fast one workload runs in its company."""

    rate: float
    rate_lo: float
    evidence: Evidence


def _weakest(a: Evidence, b: Evidence) -> Evidence:
    return max(a, b, key=EVIDENCE_ORDER.index)


class _UnmeasuredNeighbourError(Exception):
    """A slowdown depends on the share of a neighbour, which was not measured."""


def _knobs(pool: GpuPool, placed: PlacedService | PlacedTask) -> Knobs | None:
    sms = sms_of(pool, placed.share_pct)
    if sms is None:
        return None
    sure, most = sms
    return Knobs(placed.batch, 100 * sure / pool.sm_count, 100 * most / pool.sm_count)


class PlacementJudge:
    """Judges groups of one instance; remembers what it has looked up."""

    def __init__(self, instance: Instance, findings: Findings) -> None:
        self.instance = instance
        self.findings = findings
        self.slo = slo_model(instance.slo_model)
        self.pairs: dict[tuple[str, str, str], PairSlowdown] = {
            (p.gpu_type, p.victim, p.neighbour): p for p in instance.interference.pairs
        }
        self.slowdowns: dict[
            tuple[str, str, tuple[str, ...], tuple[Knobs, ...]], Slowdown | None
        ] = {}
        self.references: dict[tuple[str, int], float] = {}
        self.predictions_hold = True
        """Whether every prediction could be worked out and is as stated."""

    def judge(
        self,
        pool: GpuPool,
        group: PlacementGroup,
        services: list[Service],
        tasks: list[Task],
    ) -> None:
        """Judge one group whose pool, services and tasks are known."""
        where = gpus_text(group)
        self._shares_fit(pool, group, where)
        entries: list[Service | Task] = [*services, *tasks]
        residents: list[PlacedService | PlacedTask] = [*group.services, *group.tasks]
        workloads = [
            _Neighbour(entry.profile, _knobs(pool, placed))
            for entry, placed in zip(entries, residents, strict=True)
        ]
        for i, (service, placed) in enumerate(zip(services, group.services, strict=True)):
            others = (*workloads[:i], *workloads[i + 1 :])
            self._service(pool, service, placed, others, where)
        for i, (task, worker) in enumerate(zip(tasks, group.tasks, strict=True), len(services)):
            others = (*workloads[:i], *workloads[i + 1 :])
            self._task(pool, task, worker, others, where)

    # -- knobs ---------------------------------------------------------------------------------

    def _shares_fit(self, pool: GpuPool, group: PlacementGroup, where: str) -> None:
        taken = 0
        residents: list[PlacedService | PlacedTask] = [*group.services, *group.tasks]
        for placed in residents:
            name = _name(placed)
            sms = sms_of(pool, placed.share_pct)
            if sms is None:
                message = f"{name}: {placed.share_pct} % was not measured on pool {pool.id}"
                self.findings.add("share", where, message)
                continue
            sure, most = sms
            taken += most
            if sure < 1:
                message = (
                    f"{name}: {placed.share_pct} % of {pool.sm_count} multiprocessors is not sure "
                    "to give one"
                )
                self.findings.add("share", where, message)
            elif placed.sms != sure:
                message = (
                    f"{name}: states {placed.sms} multiprocessors, but {placed.share_pct} % gives "
                    f"{sure}"
                )
                self.findings.add("share", where, message)
        if taken > pool.sm_count:
            message = f"the shares may take {taken} of {pool.sm_count} multiprocessors"
            self.findings.add("share", where, message)

    def _speed(
        self,
        pool: GpuPool,
        entry: Service | Task,
        placed: PlacedService | PlacedTask,
        others: tuple[_Neighbour, ...],
        where: str,
    ) -> tuple[Profile, _Speed] | None:
        """Return how fast it runs, or None, with the reason written down, when it cannot."""
        name, batch = _name(placed), placed.batch
        profile = self.instance.profile(entry.profile, pool.gpu_type)
        if profile is None:
            message = f"{name}: workload {entry.profile} has no profile for {pool.gpu_type}"
            self.findings.add("rate", where, message)
            return None
        sms = sms_of(pool, placed.share_pct)
        if sms is None:
            return None
        alone = rate_alone(profile, batch, 100 * sms[0] / pool.sm_count)
        if alone is None:
            known = ", ".join(map(str, batches_of(profile)[:12]))
            message = (
                f"{name}: batch {batch} is not profiled on {pool.gpu_type} (profiled: {known})"
            )
            self.findings.add("knobs", where, message)
            return None
        knobs = _knobs(pool, placed)
        assert knobs is not None
        try:
            slower = self._slowdown(pool.gpu_type, entry.profile, knobs, others)
        except _UnmeasuredNeighbourError:
            return None
        if slower is None:
            names = ", ".join(other.workload for other in others)
            message = f"{name}: nobody knows its slowdown beside {names}"
            self.findings.add("rate", where, message)
            return None
        if alone / slower.mean <= 0:
            message = f"{name}: does not run at batch {batch} and {placed.share_pct} %"
            self.findings.add("rate", where, message)
            return None
        error = relative_error(profile.rate_error, self.instance.confidence)
        return profile, _Speed(
            alone / slower.mean,
            alone * max(0.0, 1 - error) / slower.high,
            _weakest(profile.evidence, slower.evidence),
        )

    def _slowdown(
        self, gpu_type: str, victim: str, knobs: Knobs, others: tuple[_Neighbour, ...]
    ) -> Slowdown | None:
        names = tuple(other.workload for other in others)
        near = [self.pairs.get((gpu_type, victim, name)) for name in dict.fromkeys(names)]
        pairs = tuple(pair for pair in near if pair is not None)
        # Where no slowdown depends on knobs, one answer holds for all of them.
        depends = any(pair.table is not None for pair in pairs)
        beside = [other.knobs for other in others if other.knobs is not None]
        if depends and len(beside) < len(others):
            raise _UnmeasuredNeighbourError
        key = gpu_type, victim, names, (knobs, *beside) if depends else ()
        if key not in self.slowdowns:
            model = self.instance.interference
            # The same model, less the pairs that do not matter here: there may be a million.
            small = Interference.model_construct(
                default_slowdown=model.default_slowdown,
                default_error=model.default_error,
                pairs=pairs,
            )
            confidence = self.instance.confidence
            self.slowdowns[key] = slowdown(
                small, gpu_type, victim, names, confidence, at=knobs, beside=beside
            )
        return self.slowdowns[key]

    # -- services ------------------------------------------------------------------------------

    def _service(
        self,
        pool: GpuPool,
        service: Service,
        placed: PlacedService,
        others: tuple[_Neighbour, ...],
        where: str,
    ) -> None:
        name, batch = _name(placed), placed.batch
        if service.batches is not None and batch not in service.batches:
            allowed = ", ".join(map(str, service.batches[:12]))
            self.findings.add(
                "knobs", where, f"{name}: batch {batch} is not one of its batches ({allowed})"
            )
        if placed.share_pct < service.min_share_pct:
            message = (
                f"{name}: {placed.share_pct} % is less than its smallest share, "
                f"{service.min_share_pct} %"
            )
            self.findings.add("share", where, message)
        found = self._speed(pool, service, placed, others, where)
        if found is None:
            self.predictions_hold = False
            return
        profile, speed = found
        tau = batch / speed.rate
        tau_hi = batch / speed.rate_lo if speed.rate_lo > 0 else math.inf
        asked = service.rate_rps, service.slo_ms, service.slo_percentile
        check = self.slo.judge(batch, tau, tau_hi, *asked)
        if not check.allowed:
            self.findings.add(
                "slo", where, self._slo_message(name, service, check.latency_hi_ms, speed)
            )
        memory = memory_per_process(profile, batch)
        stated = placed.predicted
        if stated is None or memory is None or math.isinf(check.latency_hi_ms):
            self._unpredicted(stated, name, where)
            return
        self._compare(
            stated,
            ServicePrediction.model_construct(
                rate_rps=speed.rate,
                rate_lo_rps=speed.rate_lo,
                latency_ms=check.latency_ms,
                latency_hi_ms=check.latency_hi_ms,
                memory_gib=memory * service.processes,
                evidence=speed.evidence,
            ),
            name,
            where,
        )

    def _slo_message(self, name: str, service: Service, latency_hi: float, speed: _Speed) -> str:
        if math.isinf(latency_hi):
            return (
                f"{name}: its rate has no bound at confidence {self.instance.confidence:g}, so its "
                f"SLO of {service.slo_ms:g} ms cannot be promised"
            )
        latency = f"p{service.slo_percentile:g} latency bound {latency_hi:.6g} ms"
        if latency_hi > service.slo_ms:
            return f"{name}: {latency} exceeds its SLO of {service.slo_ms:g} ms"
        return (
            f"{name}: the load {service.rate_rps / speed.rate_lo:.6g} is too high for SLO model "
            f"{self.instance.slo_model.name} ({latency}, SLO {service.slo_ms:g} ms)"
        )

    # -- tasks ---------------------------------------------------------------------------------

    def _task(
        self,
        pool: GpuPool,
        task: Task,
        placed: PlacedTask,
        others: tuple[_Neighbour, ...],
        where: str,
    ) -> None:
        name = _name(placed)
        allowed = (task.batch,) if task.batches is None else task.batches
        if placed.batch not in allowed:
            few = " or ".join(map(str, allowed[:12]))
            message = f"{name}: batch {placed.batch}, but the task trains at {few}"
            self.findings.add("knobs", where, message)
        found = self._speed(pool, task, placed, others, where)
        if found is None:
            self.predictions_hold = False
            return
        profile, speed = found
        key = task.profile, task.batch
        if key not in self.references:
            self.references[key] = reference_rate(self.instance, *key)
        memory = task.memory_gib
        if memory is None:
            memory = memory_per_process(profile, placed.batch)
        stated = placed.predicted
        if stated is None or memory is None:
            self._unpredicted(stated, name, where)
            return
        self._compare(
            stated,
            TaskPrediction.model_construct(
                rate=speed.rate,
                rate_lo=speed.rate_lo,
                normalised_rate=speed.rate
                * efficiency_of_task(task, placed.batch)
                / self.references[key],
                memory_gib=memory * task.processes,
                evidence=speed.evidence,
            ),
            name,
            where,
        )

    # -- predictions ---------------------------------------------------------------------------

    def _unpredicted(
        self, stated: ServicePrediction | TaskPrediction | None, name: str, where: str
    ) -> None:
        self.predictions_hold = False
        if stated is None:
            self.findings.add("prediction", where, f"{name}: the plan states no prediction")

    def _compare(
        self,
        stated: ServicePrediction | TaskPrediction,
        found: ServicePrediction | TaskPrediction,
        name: str,
        where: str,
    ) -> None:
        for field in type(stated).model_fields:
            says, is_ = getattr(stated, field), getattr(found, field)
            if field == "evidence":
                if says is not is_:
                    self.predictions_hold = False
                    message = f"{name}: states evidence {says}, but it is {is_}"
                    self.findings.add("prediction", where, message)
            elif not math.isclose(says, is_, rel_tol=PREDICTION_TOLERANCE):
                self.predictions_hold = False
                message = f"{name}: states {field} {says:.9g}, but it is {is_:.9g}"
                self.findings.add("prediction", where, message)


def _name(placed: PlacedService | PlacedTask) -> str:
    if isinstance(placed, PlacedService):
        return f"service {placed.service}"
    return f"task {placed.task}"
