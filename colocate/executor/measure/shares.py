"""Measuring under MPS: a daemon for the GPU, and what makes a process a client of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.measure.tenants import Workload
from colocate.executor.ports import Daemons, Limits, Space
from colocate.executor.unit import Unit

__all__ = ["MpsShares"]


class MpsShares:
    """The MPS daemon of one GPU, for as long as something is measured.

    Parameters
    ----------
    daemons
        The daemons of this node.
    gpu
        UUID of the GPU.
    """

    def __init__(self, daemons: Daemons, gpu: str) -> None:
        self.daemons, self.gpu = daemons, gpu
        self._started = False
        self._units: dict[str, Unit] = {}

    def start(self) -> None:
        """Start the daemon, unless one of ours is there; nobody else may be its client.

        Raises
        ------
        ForeignError
            When somebody else uses the GPU through MPS: measurements would be of both.
        """
        before = self.daemons.observe(self.gpu)
        if before.clients:
            raise ForeignError(
                f"GPU {self.gpu} has {len(before.clients)} MPS clients already",
                advice="stop them first: what is measured beside them is of no use.",
            )
        self._started = not before.alive
        self.daemons.start(self.gpu)
        self.daemons.set_limits(self.gpu, Limits())

    def stop(self) -> None:
        """Stop the daemon if it was started here; one that was there before is left as it was."""
        if self._started:
            self.daemons.stop(self.gpu)
            self._started = False
        elif self._units:
            self._units.clear()
            self.daemons.set_limits(self.gpu, Limits())

    def environment(self, workload: Workload, share_pct: int, number: int) -> Mapping[str, str]:
        """Return what makes a process a client with this share; `number` tells it from others."""
        unit = self._unit(workload, share_pct, number)
        if self.daemons.observe(self.gpu).dialect == "v3" and unit.key not in self._units:
            from colocate.executor.mps.encode import space_name

            self._units[unit.key] = unit
            spaces = tuple(
                Space(
                    name=space_name(each.key),
                    share_pct=each.share_pct,
                    memory_limit_mib=each.memory_limit_mib,
                )
                for _, each in sorted(self._units.items())
            )
            self.daemons.set_limits(self.gpu, Limits(spaces=spaces))
        return self.daemons.environment(unit)

    def release(self, number: int) -> None:
        """Let the limits of a process that has ended go, when the next one comes."""
        self._units = {key: u for key, u in self._units.items() if u.ordinal != number}

    def check(self, pids: Iterable[int]) -> None:
        """See that processes are clients; one that finds no daemon runs without, and says nothing.

        Raises
        ------
        MpsError
            When one is none: whatever it measures is at no share at all.
        """
        clients = {client.pid for client in self.daemons.observe(self.gpu).clients}
        outside = sorted(set(pids) - clients)
        if outside:
            raise MpsError(
                f"process {outside[0]} uses the GPU without being an MPS client",
                advice="look into the daemon's log: it may have been refused there.",
            )

    def _unit(self, workload: Workload, share_pct: int, number: int) -> Unit:
        text = f"{workload.digest} {share_pct} {number}"
        digits = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = workload.name[:40]
        return Unit(
            key=f"{name}.{number}.{digits}",
            role="service" if workload.role == "inference" else "task",
            workload=name,
            ordinal=number,
            gpu=self.gpu,
            share_pct=share_pct,
            batch=1,
            memory_gib=0.0,
            memory_limit_mib=workload.memory_limit_mib,
            launch=name,
        )
