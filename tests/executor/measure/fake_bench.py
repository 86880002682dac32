"""A bench in memory: rates by a formula, time that passes only when somebody waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from colocate.executor.errors import UnitError
from colocate.executor.measure.bench import BadStartError, GpuAbout, TenantFacts, Window
from colocate.executor.measure.link import CannotRunError
from colocate.executor.measure.tenants import Tenant
from colocate.executor.ports import GpuReading

START_S = 8.0
PREPARE_S = 1.0
CONTEXT_MIB = 500.0


def rate(tenant: Tenant, others: Sequence[Tenant] = ()) -> float:
    """Return samples per second: rising with batch and share, slower beside others."""
    peak = 100.0 * (1 + len(tenant.workload) % 7)
    p = tenant.share_pct / 100
    alone = peak * tenant.batch / (tenant.batch + 4) * p * 1.5 / (p + 0.5)
    return alone / (1 + sum(0.2 * o.share_pct / 100 for o in others))


@dataclass
class FakeBench:
    """What a test may set, and what it may look at."""

    noise: float = 0.0
    """Relative standard deviation of the rate of a window of one second."""
    warm_s: float = 0.0
    """For so long after a start the rate is half of what it will be."""
    seed: int = 1
    cannot: Callable[[Tenant], bool] = lambda tenant: False
    does_not_start: Callable[[Tenant], bool] = lambda tenant: False
    goes_away: Callable[[int], bool] = lambda window: False
    """By the number of the window since the beginning."""
    rate: Callable[[Tenant, Sequence[Tenant]], float] = rate
    gpu_about: GpuAbout = field(
        default_factory=lambda: GpuAbout(gpu_type="Fake", name="Fake", driver="1.0")
    )
    now: float = 0.0
    started: list[tuple[str, int]] = field(default_factory=list)
    entered: list[tuple[Tenant, ...]] = field(default_factory=list)
    inside: int = 0
    windows: int = 0
    renewed: int = 0
    workloads: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.used_mib = 1000.0
        self.waiting: set[tuple[str, int]] = set()

    def about(self) -> GpuAbout:
        return self.gpu_about

    def seconds(self) -> float:
        return self.now

    def read(self) -> GpuReading:
        return GpuReading(
            seconds=self.now, sm_clock_mhz=1400.0, temperature_c=50.0,
            memory_used_mib=self.used_mib,
            sm_active_pct=10.0 + 7.0 * sum(len(t) for t, _ in self.waiting) % 80,
        )  # fmt: skip

    def renew(self) -> None:
        self.renewed += 1
        self.waiting = set()

    def start(self, wanted: Sequence[tuple[str, int]]) -> None:
        self.started += wanted
        self.waiting |= set(wanted)
        self.now += START_S

    def enter(self, tenants: Sequence[Tenant]) -> FakeCompany:
        assert not self.inside, "somebody is on the GPU already"
        for tenant in tenants:
            if self.does_not_start(tenant):
                msg = f"{tenant.workload} does not start"
                raise BadStartError(msg)
        new = [t.process for t in tenants if t.process not in self.waiting]
        if new:
            self.now += START_S
            self.started += new
            self.waiting |= set(new)
        self.inside += 1
        return FakeCompany(self, len(tenants), fresh=len(new) == len(tenants))

    def close(self) -> None:
        self.waiting = set()


class FakeCompany:
    def __init__(self, bench: FakeBench, n: int, *, fresh: bool) -> None:
        self.bench, self.n, self.fresh = bench, n, fresh
        self.tenants: tuple[Tenant, ...] = ()
        self.since = bench.now

    def set(self, tenants: Sequence[Tenant]) -> None:
        assert len(tenants) == self.n
        self.bench.now += PREPARE_S
        for tenant in tenants:
            if self.bench.cannot(tenant):
                raise CannotRunError("out of memory")
        if self.fresh and not self.tenants:
            self.bench.used_mib += sum(CONTEXT_MIB + 100.0 + t.batch for t in tenants)
        self.tenants = tuple(tenants)
        self.since = self.bench.now
        self.bench.entered.append(self.tenants)

    def window(self, seconds: float) -> tuple[Window, ...]:
        bench = self.bench
        if bench.goes_away(bench.windows):
            bench.windows += 1
            raise UnitError("it has gone")
        bench.windows += 1
        warm = bench.now - self.since >= bench.warm_s
        bench.now += seconds
        found = []
        for i, tenant in enumerate(self.tenants):
            others = [o for j, o in enumerate(self.tenants) if j != i]
            served = bench.rate(tenant, others) * (1.0 if warm else 0.5)
            served *= 1 + bench.random.gauss(0, bench.noise) / seconds**0.5
            batches = max(1, round(served * seconds / tenant.batch))
            length = batches * tenant.batch / served
            if tenant.arrival_rps is None:
                found.append(
                    Window(
                        seconds=length, samples=batches * tenant.batch, batches=batches,
                        busy_s=length, latencies_ms=(1000 * length / batches,) * batches,
                        memory_mib=100.0 + tenant.batch,
                    )
                )  # fmt: skip
                continue
            load = tenant.arrival_rps / served
            n = round(min(tenant.arrival_rps, served) * seconds)
            mean = 1000 * tenant.batch / served
            late = [mean * (1 + bench.random.expovariate(max(0.05, 1 - load))) for _ in range(n)]
            backlog = max(0.0, tenant.arrival_rps - served) * (bench.now - self.since)
            found.append(
                Window(
                    seconds=seconds, samples=n, batches=max(1, n // tenant.batch),
                    busy_s=seconds * min(1.0, load), latencies_ms=tuple(late),
                    waiting=int(backlog), memory_mib=100.0 + tenant.batch,
                )
            )  # fmt: skip
        return tuple(found)

    def facts(self) -> tuple[TenantFacts, ...]:
        return tuple(TenantFacts(pids=(1000 + i,), sm_count=t.share_pct)
                     for i, t in enumerate(self.tenants))  # fmt: skip

    def leave(self) -> None:
        assert self.bench.inside == 1
        self.bench.inside -= 1
