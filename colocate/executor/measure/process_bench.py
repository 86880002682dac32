"""The real bench: workloads as processes on one GPU, each with its share under MPS.

A process keeps its share for life, so every share needs a process of its own. Starting one takes
far longer than measuring a point; therefore processes that are not wanted just now may be parked:
they wait, with nothing of theirs on the multiprocessors, until a point wants them again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from colocate.executor.errors import MpsError, UnitError
from colocate.executor.measure.bench import BadStartError, GpuAbout, TenantFacts, Window
from colocate.executor.measure.link import CannotRunError, Listener
from colocate.executor.measure.processes import Group
from colocate.executor.measure.protocol import Count
from colocate.executor.measure.shares import MpsShares
from colocate.executor.measure.tenants import Tenant, Workload
from colocate.executor.ports import GpuReading, Gpus

__all__ = ["ProcessBench", "Watcher"]

Watcher = Callable[[Literal["came", "left"], Group, int], None]
"""Told of every process that has reported, and of every one that has ended."""


class ProcessBench:
    """Starts workloads as processes and asks them what they did.

    Parameters
    ----------
    workloads
        By name.
    about
        The GPU.
    folder
        For the logs of the processes.
    shares
        The MPS daemon; None: nobody enforces shares, so only 100 % is allowed, and nobody beside.
    gpus
        To ask the GPU what it says of itself.
    parked
        How many processes may wait, besides those that are measured.
    start_s, prepare_s, answer_s
        Deadlines: until a process reports, until it is warm at a setting, until it answers.
    watcher
        Told who comes and leaves.
    """

    def __init__(
        self,
        workloads: Mapping[str, Workload],
        about: GpuAbout,
        folder: Path,
        *,
        shares: MpsShares | None = None,
        gpus: Gpus | None = None,
        parked: int = 0,
        start_s: float = 180.0,
        prepare_s: float = 120.0,
        answer_s: float = 60.0,
        watcher: Watcher | None = None,
    ) -> None:
        self.workloads = dict(workloads)
        self.folder, self.shares, self.gpus, self.parked = folder, shares, gpus, parked
        self.start_s, self.prepare_s, self.answer_s = start_s, prepare_s, answer_s
        self.forced: list[str] = []
        """Processes that had to be forced to end, and how."""
        self._about, self._watcher = about, watcher
        self._listener = Listener()
        self._idle: list[Group] = []
        self._busy: list[Group] = []
        self._started = 0

    def about(self) -> GpuAbout:
        """Return what is measured on."""
        return self._about

    def seconds(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def read(self) -> GpuReading | None:
        """Return what the GPU says of itself now."""
        return None if self.gpus is None else self.gpus.read(self._about.uuid)

    def start(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Start processes for these workloads and shares, all at once, and park them.

        Returns
        -------
        dict
            Why some could not be started.
        """
        failed: dict[tuple[str, int], str] = {}
        groups: list[Group] = []
        try:
            for name, share in wanted:
                groups.append(self._spawn(name, share))
            deadline = time.monotonic() + self.start_s
            for group in groups:
                try:
                    self._wait(group, deadline)
                except BadStartError as problem:
                    failed[group.workload.name, group.share_pct] = str(problem)
        except BaseException:
            self._end(groups)
            raise
        bad = [g for g in groups if (g.workload.name, g.share_pct) in failed]
        self._end(bad)
        self._idle += [g for g in groups if g not in bad]
        return failed

    def enter(self, tenants: Sequence[Tenant]) -> _ProcessCompany:
        """Start what is not parked, end what may not stay, and wait until all have reported."""
        if self.shares is None and (len(tenants) > 1 or tenants[0].share_pct != 100):
            msg = "without MPS there are no shares: only one tenant at 100 % can be measured"
            raise BadStartError(msg)
        taken: list[Group] = []
        started: list[Group] = []
        try:
            for tenant in tenants:
                found = self._parked(tenant.process)
                if found is None:
                    found = self._spawn(*tenant.process)
                    started.append(found)
                taken.append(found)
            leaving = self._idle[: max(0, len(self._idle) - self.parked)]
            self._end(leaving)
            deadline = time.monotonic() + self.start_s
            for group in started:
                self._wait(group, deadline)
        except BaseException:
            self._end(taken)
            raise
        self._busy = taken
        return _ProcessCompany(self, taken, fresh=len(started) == len(taken) and not leaving)

    def ask(self, process: tuple[str, int], message: Mapping[str, object]) -> None:
        """Ask a parked process for something besides measuring.

        Raises
        ------
        CannotRunError
            When it says that it cannot.
        """
        group = next(g for g in self._idle if (g.workload.name, g.share_pct) == process)
        for link in group.links:
            link.ask(message)
        deadline = time.monotonic() + self.answer_s
        for link in group.links:
            link.answer(deadline)

    def facts(self, process: tuple[str, int]) -> TenantFacts:
        """Return what a parked process said of itself."""
        found = [g for g in self._idle if (g.workload.name, g.share_pct) == process]
        return _facts(found[0]) if found else TenantFacts()

    def leave(self, groups: Sequence[Group], *, broken: bool) -> None:
        """Park processes, or end them where there is no room, or they cannot be relied on."""
        self._busy = [g for g in self._busy if g not in groups]
        if broken or not self.parked:
            self._end(groups)
            return
        self._idle += groups
        self._end(self._idle[: max(0, len(self._idle) - self.parked)])

    def renew(self) -> None:
        """End what is parked."""
        self._end(self._idle)

    def close(self) -> None:
        """End everything."""
        self._end([*self._busy, *self._idle])
        self._busy = []
        self._listener.close()

    def _parked(self, process: tuple[str, int]) -> Group | None:
        for group in self._idle:
            if (group.workload.name, group.share_pct) == process:
                self._idle.remove(group)
                if group.alive:
                    return group
                self._end([group])
                return self._parked(process)
        return None

    def _spawn(self, name: str, share_pct: int) -> Group:
        workload = self.workloads[name]
        self._started += 1
        if self.shares is None:
            environment: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": self._about.uuid}
        else:
            environment = self.shares.environment(workload, share_pct, self._started)
        log = self.folder / f"{name}.{self._started}.log"
        return Group(workload, share_pct, self._started, environment, self._listener, log)

    def _wait(self, group: Group, deadline: float) -> None:
        group.wait(deadline)
        if self._watcher is not None:
            for pid in group.pids:
                self._watcher("came", group, pid)

    def _end(self, groups: Sequence[Group]) -> None:
        groups = list(groups)
        for group in groups:
            group.ask_to_end()  # all at once: a process with a GPU takes a while to end
        for group in groups:
            if group in self._idle:
                self._idle.remove(group)
            pids = group.pids
            how = group.end()
            if self.shares is not None:
                self.shares.release(group.number)
            if self._watcher is not None:
                for pid in pids:
                    self._watcher("left", group, pid)
            if how is not None:
                self.forced.append(f"{group.name}: {how}")


class _ProcessCompany:
    """Groups of processes that are measured together."""

    def __init__(self, bench: ProcessBench, groups: Sequence[Group], *, fresh: bool) -> None:
        self.fresh = fresh
        self._bench, self._groups = bench, groups
        self._before: list[list[Count]] = []
        self._open = [False] * len(groups)
        self._broken = False

    def set(self, tenants: Sequence[Tenant]) -> None:
        """Bring all to their settings; those that went first wait for the others, working."""
        for group, tenant in zip(self._groups, tenants, strict=True):
            n = len(group.links)
            rate = None if tenant.arrival_rps is None else tenant.arrival_rps / n
            request = {"do": "set", "batch": tenant.batch, "arrival_rps": rate}
            for i, link in enumerate(group.links):
                link.ask({**request, "seed": 1 + i})
        deadline = time.monotonic() + self._bench.prepare_s
        failed: UnitError | None = None
        for group in self._groups:
            for link in group.links:
                try:
                    link.answer(deadline)
                except UnitError as problem:
                    # every answer must be read, or the next request would get this one's
                    failed = failed or problem
        if failed is not None:
            self._broken = self._broken or not isinstance(failed, CannotRunError)
            raise failed
        self._open = [not t.closed for t in tenants]
        self._check_clients()
        self._before = self._counts()

    def _check_clients(self) -> None:
        """See that all are clients of MPS; from the first "set" on they must be."""
        new = [group for group in self._groups if not group.is_client]
        if self._bench.shares is None or not new:
            return
        try:
            self._bench.shares.check(pid for group in new for pid in group.pids)
        except MpsError:
            self._broken = True
            raise
        for group in new:
            group.is_client = True

    def window(self, seconds: float) -> tuple[Window, ...]:
        """Let time pass and return what each tenant did."""
        time.sleep(seconds)
        before, self._before = self._before, self._counts()
        return tuple(
            _window(old, new, is_open=is_open)
            for old, new, is_open in zip(before, self._before, self._open, strict=True)
        )

    def facts(self) -> tuple[TenantFacts, ...]:
        """Return what the processes said of themselves when they reported."""
        return tuple(_facts(group) for group in self._groups)

    def leave(self) -> None:
        """Take the processes off the GPU: parked, or ended."""
        self._bench.leave(self._groups, broken=self._broken or not self._paused())

    def _paused(self) -> bool:
        """Have everybody pause, if they are to be parked; return whether all did."""
        if not self._bench.parked:
            return True
        links = [link for group in self._groups for link in group.links]
        try:
            for link in links:
                link.ask({"do": "pause"})
            deadline = time.monotonic() + self._bench.answer_s
            return all(link.answer(deadline).get("did") == "pause" for link in links)
        except UnitError:
            return False

    def _counts(self) -> list[list[Count]]:
        try:
            for group in self._groups:
                for link in group.links:
                    link.ask({"do": "count"})
            deadline = time.monotonic() + self._bench.answer_s
            return [[link.count(deadline) for link in group.links] for group in self._groups]
        except UnitError:
            self._broken = True
            raise


def _window(before: Sequence[Count], after: Sequence[Count], *, is_open: bool) -> Window:
    """Return what the processes of a tenant did together."""
    rate = seconds = 0.0
    for old, new in zip(before, after, strict=True):
        # without arrivals from batch to batch, so that none is cut in two
        passed = new.now - old.now if is_open else new.at - old.at
        seconds += passed / len(after)
        rate += (new.samples - old.samples) / passed if passed > 0 else 0.0
    samples = sum(new.samples - old.samples for old, new in zip(before, after, strict=True))
    memory = [c.memory_mib for c in after if c.memory_mib is not None]
    return Window(
        seconds=samples / rate if rate > 0 else seconds,
        samples=samples,
        batches=sum(new.batches - old.batches for old, new in zip(before, after, strict=True)),
        busy_s=sum(new.busy_s - old.busy_s for old, new in zip(before, after, strict=True)),
        latencies_ms=tuple(v for c in after for v in c.latencies_ms),
        waiting=sum(c.waiting for c in after),
        memory_mib=max(memory, default=None),
    )


def _facts(group: Group) -> TenantFacts:
    seen = [link.hello.facts.get("sm_count") for link in group.links]
    counts = {s for s in seen if isinstance(s, int) and not isinstance(s, bool)}
    return TenantFacts(
        pids=group.pids,
        sm_count=counts.pop() if len(counts) == 1 else None,
        more=dict(group.links[0].hello.facts),
    )
