"""The knobs worth considering for each set of co-tenants on one kind of GPU.

For a set of services s and tasks t on a GPU with S multiprocessors:

    choose batches b_s, b_t and percentages q_s, q_t so that
      every service meets its SLO at (b_s, q_s) in this company, at the stated confidence
      sum of memory <= memory of the GPU                             (memory)
      sum of hi(q)  <= S                                             (share)
    and keep every choice that no other one beats in value and in all row coefficients.

Where no slowdown depends on the knobs, workloads can be looked at one by one (`uncoupled`), and the
least share of a service is looked up (`least`); else all their knobs are tried together
(`coupled`). The batches of tasks are tried one after the other:
a task at one of its batches is a variant (`variants`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from colocate.configure.coupled import Coupled
from colocate.configure.settings import MAX_WORK, Settings, joined
from colocate.configure.speeds import Speeds, TaskSpeed
from colocate.configure.uncoupled import Uncoupled

__all__ = ["MAX_WORK", "Configurator", "Settings"]

SHOWN = 5

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Configurator(Speeds):
    """Finds the settings of sets of co-tenants, given by their classes, on one GPU class."""

    together: int = 0
    """Sets for which all knobs were tried together."""

    def notes(self) -> list[str]:
        """Say what took a slower way than looking up the least share, and why."""
        found = []
        tried = sorted(self._uncoupled.least.tried)
        if tried:
            names = ", ".join(self.classes.services.representative[s].id for s in tried[:SHOWN])
            more = f" and {len(tried) - SHOWN} more kinds" if len(tried) > SHOWN else ""
            found.append(
                f"on {self.gpu.gpu_type}, SLO model {self.slo.name!r} allows some time of a batch "
                f"and not a shorter one: every percentage was tried for {names}{more}"
            )
        if self.together:
            found.append(
                f"on {self.gpu.gpu_type}, slowdowns depend on batches and shares: every "
                f"combination of them was tried in {self.together} "
                f"{'set' if self.together == 1 else 'sets'} of co-tenants"
            )
        return found

    @cached_property
    def _uncoupled(self) -> Uncoupled:
        return Uncoupled(self)

    @cached_property
    def _coupled(self) -> Coupled:
        return Coupled(self)

    def least_share(self, service: int, slowdown_hi: Floats) -> Ints:
        """Return, [set, batch], the least percentage that meets the SLO; -1 if none."""
        return self._uncoupled.least.by_batch(service, slowdown_hi)

    def trains(self, task: int) -> TaskSpeed | None:
        """Return the smallest variant of a task class that runs on this GPU class, if any does."""
        known = self.tasks[self.variants.first[task] : self.variants.first[task + 1]]
        running = [speed for speed in known if speed is not None]
        return min(running, key=lambda speed: speed.memory_gib, default=None)

    def members(self, cls: Ints, n_services: int, batch: Ints) -> Ints:
        """Return one set with the variants in place of its task classes."""
        found = cls.copy()
        for i in range(n_services, cls.size):
            found[i] = self.variants.at(int(cls[i]), int(batch[i]))
        return found

    def settings(self, sets: Ints, n_services: int) -> Settings:
        """Return the settings worth considering for sets of one shape, services first.

        Sets that cannot be configured have no setting.
        """
        if not self.variants.is_choice:
            return self._settings(sets, n_services)
        chosen, origin = self.variants.expand(sets, n_services)
        runs = np.array([speed is not None for speed in self.tasks], dtype=bool)
        possible = runs[chosen[:, n_services:]].all(axis=1)
        chosen, origin = chosen[possible], origin[possible]
        found = self._settings(chosen, n_services)
        return replace(found, set_index=origin[found.set_index])

    def _settings(self, sets: Ints, n_services: int) -> Settings:
        coupled = self.coupled(sets, n_services)
        self.together += int(coupled.sum())
        if not coupled.any():
            return self._uncoupled.settings(sets, n_services)
        parts = []
        for part, rows in (
            (self._uncoupled, np.flatnonzero(~coupled)),
            (self._coupled, np.flatnonzero(coupled)),
        ):
            found = part.settings(sets[rows], n_services)
            parts.append(replace(found, set_index=rows[found.set_index]))
        return joined(parts)
