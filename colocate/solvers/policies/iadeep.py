"""IADeep (Chen et al., SC 2023, DOI 10.1145/3581784.3607060): least degradation, or wait.

Of a task k at batch m, own batch m0, gradient noise scale phi, on a GPU d with everyone else there:

    PD_k = (T_co(m) / T(m0)) * (m0 / m) * (phi + m) / (phi + m0)      performance degradation
         = progress alone on a whole GPU at m0 / progress in company at m
    device   the one where the sum of PD rises least, under the memory of the device
    batch    min over m of the sum of PD there, by GP-LCB, for the task that joins
    wait     with eps_l the relative rise of PD_l when the task joins, the task itself among the l,
             E_i = (1 + eps_i) * sum_l eps_i / (1 + eps_l) - 1 > 0 for some resident task i

There are no shares in IADeep, everyone is uncapped (read as in `uncapped`), and no services. Here a
service counts as one more resident with PD = its rate alone / its rate in company; it has no batch
to tune and no completion to delay, so it is not among the i and l. Its SLO is kept as in
`uncapped`: pairs that would miss it are not made.

`iadeep-fixed` reads the numerator as eps_l (with eps_i the sum counts one task's loss n times; the
slide has probably a slip) and uses the beta_n of GP-LCB for which there is a theorem.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar

import numpy as np

from colocate.solvers.policies._company import NO_SERVICE, Held, Setting
from colocate.solvers.policies._online import Joined
from colocate.solvers.policies.gp_lcb import Beta, gp_lcb, published_beta, standard_beta
from colocate.solvers.policies.uncapped import Uncapped

__all__ = ["Iadeep", "IadeepFixed", "extra_time", "extra_time_as_printed"]


def extra_time_as_printed(eps: list[float], i: int) -> float:
    """Return E_i as on the slide."""
    return (1 + eps[i]) * sum(eps[i] / (1 + e) for e in eps) - 1


def extra_time(eps: list[float], i: int) -> float:
    """Return E_i with the loss of each task in the sum."""
    return (1 + eps[i]) * sum(e / (1 + e) for e in eps) - 1


class Iadeep(Uncapped):
    """As on the slides."""

    name: ClassVar[str] = "iadeep"
    most_tasks: ClassVar[int] = 16
    beta: ClassVar[Beta] = staticmethod(published_beta)

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Tune the batch of the task that joins, then see whether it had better wait."""
        alone = self.alone.get(Held(held.gpu, NO_SERVICE, (task,)))
        if alone is None:
            return None
        if len(held.classes) == 1:
            return sum(self.degradations(alone)), alone
        place = bisect_right(setting.held.tasks, task)
        there = setting.batch[held.n_services :]
        row = self.company.task(task)
        own = self.company.own_batches(Held(held.gpu, NO_SERVICE, (task,)))
        batches = sorted(row.batches) if row.batches is not None else list(own)
        settings: dict[int, Setting] = {}

        def degradation(i: int) -> float | None:
            if self.company.at[held.gpu].tasks[self._variant(held.gpu, task, batches[i])] is None:
                return None
            found = self.split(setting, held, (*there[:place], batches[i], *there[place:]))
            if found is None:
                return None
            settings[i] = found
            return sum(self.degradations(found))

        best = gp_lcb(np.log2(batches), degradation, type(self).beta)
        if best is None:
            return None
        before, after = self.degradations(setting), self.degradations(settings[best.best])
        if self._had_better_wait(held, before, after, place, self.degradations(alone)[0]):
            return None
        return best.value - sum(before), settings[best.best]

    def _variant(self, gpu: int, task: int, batch: int) -> int:
        return self.company.at[gpu].variants.at(task, batch)

    def degradations(self, setting: Setting) -> list[float]:
        """Return PD of everyone on a GPU, the service first."""
        held, company = setting.held, self.company
        grid = np.array(setting.grid, dtype=np.int64)[:, None]
        seen = company.look(held, setting.batch, grid)
        found = []
        if held.n_services:
            alone = self.alone[Held(held.gpu, held.service)]
            at = np.array(alone.grid, dtype=np.int64)[:, None]
            whole = alone.batch[0] / float(company.look(alone.held, alone.batch, at).batch_s[0])
            found.append(whole / (setting.batch[0] / float(seen.batch_s[0])))
        for i, own in enumerate(company.own_batches(held)):
            whole = float(company.rate_alone(held, i, own).max())
            found.append(whole / float(seen.progress[i, 0]))
        return found

    def _had_better_wait(
        self, held: Held, before: list[float], after: list[float], place: int, alone: float
    ) -> bool:
        n = held.n_services
        whole = [*before[n : n + place], alone, *before[n + place :]]
        eps = [now / then - 1 for now, then in zip(after[n:], whole, strict=True)]
        return any(self.lateness(eps, i) > 0 for i in range(len(eps)) if i != place)

    @staticmethod
    def lateness(eps: list[float], i: int) -> float:
        """Return E_i."""
        return extra_time_as_printed(eps, i)


class IadeepFixed(Iadeep):
    """With the loss of each task in the test, and more exploring."""

    name: ClassVar[str] = "iadeep-fixed"
    beta: ClassVar[Beta] = staticmethod(standard_beta)

    @staticmethod
    def lateness(eps: list[float], i: int) -> float:
        """Return E_i."""
        return extra_time(eps, i)
