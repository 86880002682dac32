"""What the models say of one GPU at given knobs: how fast each tenant is, and how late.

Plain numbers for a few tenants, in microseconds to milliseconds: for a look at the present
settings, for the batch to take at once, and for holding a plan against reality. The best settings
are the library's business (`retune`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from colocate.errors import InputError
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.judge.placement import sms_of
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.models.interference import Knobs, slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import SloCheck, SloModel, slo_model
from colocate.profile import Interference
from colocate.schema import Component, Evidence

__all__ = ["Load", "OneGpu", "Speed", "Tenant", "slower"]

MOST_KEPT = 10_000
"""Answers that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One workload on the GPU, with its knobs."""

    entry: str
    """Id of the service or task."""
    role: str
    batch: int
    share_pct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a service has to bear."""

    rate_rps: float
    slower: float = 1.0
    """By how much its batches take longer than the models say; what is seen of it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a tenant is in its company."""

    rate: float
    rate_lo: float
    evidence: Evidence


def slower(spec: Component, factor: float) -> Component:
    """Return an SLO model for a service whose batches take `factor` times as long.

    Time is scaled: a service that is f times as slow, at rate L and SLO S, is as late as the
    modelled one at rate f L and SLO S / f. A timeout for full batches shrinks alike.
    """
    timeout = spec.params.get("timeout_ms")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or factor == 1.0:
        return spec
    return Component(name=spec.name, params={**spec.params, "timeout_ms": timeout / factor})


class OneGpu:
    """The models of one GPU of an instance."""

    def __init__(self, instance: Instance, pool: str) -> None:
        self.instance = instance
        self.pool: GpuPool = instance.pool(pool)
        self._slo = {1.0: slo_model(instance.slo_model)}
        self._pairs: dict[tuple[str, ...], Interference] = {}
        self._speeds: dict[tuple[Tenant, ...], Speed | None] = {}
        self._services: dict[str, Service] = {}

    # -- what there is -------------------------------------------------------------------------

    def service(self, name: str) -> Service:
        """Return a service of the instance."""
        if name in self._services:
            return self._services[name]
        try:
            found = self._services[name] = self.instance.service(name)
        except KeyError:
            raise InputError(
                f"the instance has no service {name!r}",
                advice="give the instance that the plan was made for.",
            ) from None
        return found

    def task(self, name: str) -> Task:
        """Return a task of the instance."""
        try:
            return self.instance.task(name)
        except KeyError:
            raise InputError(
                f"the instance has no task {name!r}",
                advice="give the instance that the plan was made for.",
            ) from None

    def profile_of(self, tenant: Tenant) -> str:
        """Return the workload name of a tenant's profile."""
        if tenant.role == "service":
            return self.service(tenant.entry).profile
        return self.task(tenant.entry).profile

    def batches(self, name: str) -> tuple[int, ...]:
        """Return the batches that a service may run at on this GPU."""
        service = self.service(name)
        profile = self.instance.profile(service.profile, self.pool.gpu_type)
        if profile is None:
            return ()
        known = batches_of(profile)
        return known if service.batches is None else tuple(b for b in known if b in service.batches)

    def memory_gib(self, tenant: Tenant) -> float | None:
        """Return what all processes of a tenant take."""
        entry = self.service(tenant.entry) if tenant.role == "service" else self.task(tenant.entry)
        if isinstance(entry, Task) and entry.memory_gib is not None:
            return entry.memory_gib * entry.processes
        profile = self.instance.profile(entry.profile, self.pool.gpu_type)
        each = None if profile is None else memory_per_process(profile, tenant.batch)
        return None if each is None else each * entry.processes

    # -- how fast, and how late ----------------------------------------------------------------

    def speed(self, tenant: Tenant, others: Sequence[Tenant]) -> Speed | None:
        """Return how fast a tenant is beside others; None where nobody knows."""
        key = (tenant, *others)
        if key not in self._speeds:
            if len(self._speeds) >= MOST_KEPT:
                self._speeds.clear()
            self._speeds[key] = self._speed(tenant, others)
        return self._speeds[key]

    def _speed(self, tenant: Tenant, others: Sequence[Tenant]) -> Speed | None:
        name = self.profile_of(tenant)
        profile = self.instance.profile(name, self.pool.gpu_type)
        knobs = self._knobs(tenant)
        if profile is None or knobs is None:
            return None
        alone = rate_alone(profile, tenant.batch, knobs.sure_pct)
        if alone is None or alone <= 0:
            return None
        names = tuple(self.profile_of(other) for other in others)
        beside = [self._knobs(other) for other in others]
        if None in beside:
            return None
        try:
            slow = slowdown(
                self._near(name, names),
                self.pool.gpu_type,
                name,
                names,
                self.instance.confidence,
                at=knobs,
                beside=[k for k in beside if k is not None],
            )
        except ValueError:
            return None
        if slow is None:
            return None
        error = relative_error(profile.rate_error, self.instance.confidence)
        low = 0.0 if math.isinf(slow.high) else alone * max(0.0, 1 - error) / slow.high
        weakest = max(profile.evidence, slow.evidence, key=list(Evidence).index)
        return Speed(alone / slow.mean, low, weakest)

    def check(self, tenant: Tenant, others: Sequence[Tenant], load: Load) -> SloCheck | None:
        """Hold a service against its SLO; latencies are those of the slower service."""
        found = self.speed(tenant, others)
        if found is None or found.rate_lo <= 0 or load.rate_rps <= 0:
            return None
        service, f = self.service(tenant.entry), load.slower
        tau, tau_hi = tenant.batch / found.rate, tenant.batch / found.rate_lo
        seen = self._model(f).judge(
            tenant.batch, tau, tau_hi, load.rate_rps * f, service.slo_ms / f, service.slo_percentile
        )
        return SloCheck(seen.latency_ms * f, seen.latency_hi_ms * f, seen.allowed)

    def all_in_time(self, tenants: Sequence[Tenant], loads: Mapping[str, Load]) -> bool:
        """Tell whether every service meets its SLO at the stated confidence."""
        for tenant in tenants:
            if tenant.role == "service" and tenant.entry in loads:
                others = [t for t in tenants if t is not tenant]
                check = self.check(tenant, others, loads[tenant.entry])
                if check is None or not check.allowed:
                    return False
        return True

    def slower_by(
        self, tenant: Tenant, others: Sequence[Tenant], rate_rps: float, p99_ms: float
    ) -> float | None:
        """Return by how much a service's batches take longer than modelled, given its latency.

        The latency does not fall as the service gets slower, so this is found by halving. It is
        between 1/4 and 4; None where the models know nothing of it.
        """
        low, high = 0.25, 4.0
        for _ in range(30):
            middle = math.sqrt(low * high)
            check = self.check(tenant, others, Load(rate_rps=rate_rps, slower=middle))
            if check is None:
                return None
            if check.latency_ms < p99_ms:
                low = middle
            else:
                high = middle
        return math.sqrt(low * high)

    def _knobs(self, tenant: Tenant) -> Knobs | None:
        sms = sms_of(self.pool, tenant.share_pct)
        if sms is None:
            return None
        count = self.pool.sm_count
        return Knobs(tenant.batch, 100 * sms[0] / count, 100 * sms[1] / count)

    def _near(self, victim: str, neighbours: tuple[str, ...]) -> Interference:
        """Return the slowdowns that matter here: there may be a million others."""
        key = (victim, *neighbours)
        if key not in self._pairs:
            model = self.instance.interference
            self._pairs[key] = Interference.model_construct(
                default_slowdown=model.default_slowdown,
                default_error=model.default_error,
                pairs=tuple(
                    p
                    for p in model.pairs
                    if p.gpu_type == self.pool.gpu_type
                    and p.victim == victim
                    and p.neighbour in neighbours
                ),
            )
        return self._pairs[key]

    def _model(self, factor: float) -> SloModel:
        if self.instance.slo_model.params.get("timeout_ms") in (None, 0, 0.0):
            factor = 1.0
        if factor not in self._slo:
            if len(self._slo) >= MOST_KEPT:
                self._slo = {1.0: self._slo[1.0]}
            self._slo[factor] = slo_model(slower(self.instance.slo_model, factor))
        return self._slo[factor]
