"""Which steps lead from what is true to what is asked for, in an order that is always safe.

1. Daemons start, broken servers are reset, and limits widen so that old and new clients both fit.
2. Services go first. A new process starts beside the old one, gets ready, takes the requests, and
   only then the old one drains: as many at once as device memory allows.
3. Where there is no room for both, room is made: tasks that move or leave stop first (after their
   checkpoint), then services that leave; at last a service stops before its successor starts, and
   the step says so.
4. Tasks move: no two processes of one worker at any time.
5. Limits narrow to what is asked for, and daemons without units stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from colocate.executor.apply.actions import (
    Action,
    AwaitUnit,
    ResetServer,
    SetBatch,
    SetLimits,
    StartDaemon,
    StartUnit,
    Step,
    StopDaemon,
    StopUnit,
    Switch,
)
from colocate.executor.apply.desired import as_spoken, joined
from colocate.executor.apply.refusals import (
    SLACK_GIB,
    refuse_foreign,
    refuse_missing,
    refuse_overfull,
    room_gib,
)
from colocate.executor.unit import Unit

if TYPE_CHECKING:
    from colocate.executor.apply.observed import Observed, SeenUnit
    from colocate.executor.apply.serving import Serving
    from colocate.executor.apply.target import Target
    from colocate.executor.ports import Limits

__all__ = ["plan_steps"]

_PAUSE = "there is no room for old and new at once"


def plan_steps(
    observed: Observed,
    target: Target,
    serving: Serving,
    can_set_batch: Callable[[Unit], bool],
) -> tuple[Step, ...]:
    """Return the steps; none when everything is as asked for.

    Parameters
    ----------
    observed
        What is true.
    target
        What is asked for.
    serving
        Which units requests are sent to.
    can_set_batch
        Whether a unit's batch size can change while it runs.

    Raises
    ------
    ForeignError
        When something that is not ours is on a GPU that would have to change.
    InputError
        When a GPU is gone, or the units of a GPU do not fit in its memory.
    """
    refuse_missing(observed, target)
    refuse_overfull(observed, target)
    steps = _Steps(observed, target, serving, can_set_batch).all()
    refuse_foreign(observed, steps)
    return steps


class _Steps:
    """The list while it grows, with the memory of each GPU as it will be then."""

    def __init__(
        self,
        observed: Observed,
        target: Target,
        serving: Serving,
        can_set_batch: Callable[[Unit], bool],
    ) -> None:
        self._observed, self._target = observed, target
        self._can_set_batch = can_set_batch
        self._serving = serving.copy()
        self._steps: list[Step] = []
        scope = set(target.scope)
        seen = {k: s for k, s in observed.units.items() if s.state.unit.gpu in scope}
        self._free = {gpu: room_gib(observed, gpu) for gpu in scope}
        self._limits: dict[str, Limits | None] = {gpu: observed.daemon(gpu).limits for gpu in scope}
        self._wanted = wanted = {unit.key: unit for unit in target.units}
        places = {unit.place: unit for unit in target.units}
        for key, old in seen.items():
            new = wanted.get(key)
            # What is believed of the memory of a unit that stays may have changed.
            stays = new is not None and not old.broken and old.state.unit.batch == new.batch
            self._free[old.state.unit.gpu] -= (
                new.memory_gib if new is not None and stays else old.memory_gib
            )
        self._to_start = {key: unit for key, unit in wanted.items() if key not in seen}
        self._successor: dict[str, Unit] = {}
        """New unit that takes the place of an old one, by the old one's key."""
        self._leaving: dict[str, SeenUnit] = {}
        self._restarting: dict[str, SeenUnit] = {}
        """Same key before and after, but only another process helps."""
        self._batches: dict[str, tuple[SeenUnit, Unit]] = {}
        self._settling: dict[str, SeenUnit] = {}
        self._given_back: list[tuple[str, float]] = []
        for key, old in seen.items():
            new = wanted.get(key)
            if new is None:
                self._leaving[key] = old
                if old.state.unit.place in places:
                    self._successor[key] = places[old.state.unit.place]
            elif old.broken:
                self._restarting[key] = old
            elif old.state.unit.batch != new.batch:
                if can_set_batch(new):
                    self._batches[key] = (old, new)
                else:
                    self._restarting[key] = old
            elif key not in target.unready and not old.finished:
                self._settling[key] = old

    def all(self) -> tuple[Step, ...]:
        self._mend_servers()
        self._clear_away()
        self._widen()
        self._settle()
        while self._services_left():
            if not self._round("service"):
                self._make_room()
        self._finish("service")
        self._tasks()
        self._narrow()
        left = [*self._to_start, *self._leaving, *self._restarting, *self._batches]
        assert not left, left
        return tuple(self._steps)

    # --- 1: daemons and limits ---

    def _mend_servers(self) -> None:
        """End what is left of the clients of a server in FAULT, and reset it."""
        for gpu in self._target.scope:
            if self._observed.daemon(gpu).server != "fault":
                continue
            for seen in self._observed.units_on(gpu):
                self._take_away(seen)
            self._add(ResetServer(gpu=gpu))

    def _clear_away(self) -> None:
        """Remove what no longer works: it serves nobody, and may hold memory."""
        for seen in [s for _, s in sorted(self._restarting.items()) if s.broken]:
            self._take_away(seen)
        for seen in [s for _, s in sorted(self._leaving.items()) if not s.live]:
            self._take_away(seen)

    def _take_away(self, seen: SeenUnit) -> None:
        works = seen.there and not seen.server_fault and seen.state.unit.role == "service"
        remark = "it runs beside MPS" if seen.beside_mps else seen.state.detail[:200]
        self._make_way(seen, downtime=works, remark=remark)

    def _widen(self) -> None:
        starting = {u.gpu for u in self._to_start.values()}
        starting |= {seen.state.unit.gpu for seen in self._restarting.values()}
        for gpu in self._target.scope:
            limits = self._target.limits(gpu)
            daemon = self._observed.daemon(gpu)
            if limits is None:
                continue
            if not daemon.alive:
                self._add(StartDaemon(gpu=gpu), StopDaemon(gpu=gpu))
                self._set_limits(gpu, limits, undo=False)
            elif gpu in starting and self._limits[gpu] is not None:
                spoken = as_spoken(limits, daemon.dialect)
                self._set_limits(gpu, joined(self._limits[gpu] or spoken, spoken))

    def _narrow(self) -> None:
        for gpu in self._target.scope:
            limits = self._target.limits(gpu)
            daemon = self._observed.daemon(gpu)
            if limits is not None and daemon.alive:
                self._set_limits(gpu, as_spoken(limits, daemon.dialect))
            elif limits is None and daemon.alive and daemon.ours:
                before = self._limits[gpu]
                undo = (StartDaemon(gpu=gpu),)
                more = () if before is None else (SetLimits(gpu=gpu, limits=before),)
                self._add(StopDaemon(gpu=gpu), *undo, *more)

    def _set_limits(self, gpu: str, limits: Limits, *, undo: bool = True) -> None:
        before = self._limits[gpu]
        if before == limits and self._observed.daemon(gpu).settled:
            return
        back = () if before is None or not undo else (SetLimits(gpu=gpu, limits=before),)
        self._add(SetLimits(gpu=gpu, limits=limits), *back)
        self._limits[gpu] = limits

    # --- 2 to 4: units ---

    def _settle(self) -> None:
        """Wait for what is on its way, and send requests to what does not get them yet."""
        for _, seen in sorted(self._settling.items()):
            unit = seen.state.unit
            if seen.state.phase not in ("ready", "paused"):
                self._add(AwaitUnit(unit=unit))
        for key, seen in sorted(self._settling.items()):
            unit = seen.state.unit
            if unit.role == "service" and key not in self._serving.sure:
                self._switch(self._old_of(unit), unit)

    def _services_left(self) -> bool:
        return (
            any(u.role == "service" for u in self._to_start.values())
            or any(s.state.unit.role == "service" for s in self._restarting.values())
            or bool(self._batches)
        )

    def _round(self, role: str) -> bool:
        """Start what fits now, all at once; say whether anything was done."""
        done = False
        for key, (old, new) in sorted(self._batches.items()):
            more = new.memory_gib - old.state.unit.memory_gib
            if more <= self._free[new.gpu] + SLACK_GIB:
                before = old.state.unit
                self._add(
                    SetBatch(unit=new, batch=new.batch), SetBatch(unit=before, batch=before.batch)
                )
                self._free[new.gpu] -= max(0.0, more)
                if more < 0:
                    # A process seldom gives memory back: it is counted on only when all else fails.
                    self._given_back.append((new.gpu, -more))
                del self._batches[key]
                self._settling[key] = old
                done = True
        started = [
            unit for _, unit in sorted(self._to_start.items()) if self._may_start(unit, role)
        ]
        for unit in started:
            self._add(StartUnit(unit=unit), StopUnit(unit=unit))
            del self._to_start[unit.key]
        for unit in started:
            if unit.key not in self._target.unready:
                self._add(AwaitUnit(unit=unit))
        if role == "service":
            self._take_over(started)
        return done or bool(started)

    def _may_start(self, unit: Unit, role: str) -> bool:
        """Tell whether a unit's turn has come, and take its memory if so."""
        if unit.role != role or unit.memory_gib > self._free[unit.gpu] + SLACK_GIB:
            return False
        if role == "task" and self._old_of(unit) is not None:
            return False  # two processes of one worker would write the same checkpoints
        self._free[unit.gpu] -= unit.memory_gib
        return True

    def _take_over(self, started: list[Unit]) -> None:
        taken = [(self._old_of(unit), unit) for unit in started]
        for old, unit in taken:
            self._switch(old, unit)
        for old, _ in taken:
            if old is not None:
                self._stop(self._leaving.pop(old.key))

    def _old_of(self, unit: Unit) -> Unit | None:
        """Return the unit that still has this one's place."""
        for key, successor in self._successor.items():
            if successor.key == unit.key and key in self._leaving:
                return self._leaving[key].state.unit
        return None

    def _make_room(self) -> None:
        """Stop one unit, the least missed first, so that a service can start."""
        needed = {u.gpu for u in self._to_start.values() if u.role == "service"}
        needed |= {new.gpu for _, new in self._batches.values()}
        on_them = [s for _, s in sorted(self._leaving.items()) if s.state.unit.gpu in needed]
        same_key = [s for _, s in sorted(self._restarting.items()) if s.state.unit.gpu in needed]

        def leaves(seen: SeenUnit) -> bool:
            return seen.state.unit.key not in self._successor

        tasks = [s for s in (*on_them, *same_key) if s.state.unit.role == "task"]
        services = [s for s in on_them if s.state.unit.role == "service"]
        for choice in (
            [s for s in tasks if leaves(s) and s.state.unit.key in self._leaving],
            tasks,
            [s for s in services if leaves(s)],
        ):
            if choice:
                self._make_way(choice[0])
                return
        # Nothing else is in the way: a service must stop before its successor starts.
        alone = [s for s in services if self._fits_after(s)]
        restarts = [
            s for _, s in sorted(self._restarting.items()) if s.state.unit.role == "service"
        ]
        for choice in (restarts, alone, services):
            if choice:
                fixed = choice[0].state.unit.key in self._restarting
                why = "its batch size cannot change while it runs" if fixed else _PAUSE
                self._make_way(choice[0], downtime=True, remark=why)
                return
        assert self._given_back, "no order of steps was found"
        for gpu, gib in self._given_back:
            self._free[gpu] += gib
        self._given_back.clear()

    def _fits_after(self, seen: SeenUnit) -> bool:
        unit, new = seen.state.unit, self._successor.get(seen.state.unit.key)
        return (
            new is not None
            and new.gpu == unit.gpu
            and new.memory_gib <= self._free[unit.gpu] + seen.memory_gib + SLACK_GIB
        )

    def _make_way(self, seen: SeenUnit, *, downtime: bool = False, remark: str = "") -> None:
        """Stop a unit before its successor starts, if it has one."""
        unit = seen.state.unit
        if unit.role == "service" and seen.there:
            self._switch(unit, None)
        self._stop(seen, downtime=downtime, remark=remark)
        self._leaving.pop(unit.key, None)
        if self._restarting.pop(unit.key, None) is not None:
            self._to_start[unit.key] = self._wanted[unit.key]

    def _finish(self, role: str) -> None:
        """Stop what leaves and has no successor left to wait for."""
        for key, seen in sorted(self._leaving.items()):
            unit = seen.state.unit
            # A task with a successor stops when its successor's turn has come.
            if unit.role == role and (role == "service" or key not in self._successor):
                if role == "service":
                    self._switch(unit, None)
                self._stop(self._leaving.pop(key))

    def _tasks(self) -> None:
        self._finish("task")
        for gpu, gib in self._given_back:
            self._free[gpu] += gib
        changing = {**self._leaving, **self._restarting}
        for key, seen in sorted(changing.items()):
            new = self._successor.get(key)
            self._make_way(seen)
            # The others train on until their turn, where memory allows that.
            if new is None or new.memory_gib <= self._free[new.gpu] + SLACK_GIB:
                self._round("task")
        self._round("task")

    # --- what all of them do ---

    def _stop(self, seen: SeenUnit, *, downtime: bool = False, remark: str = "") -> None:
        unit = seen.state.unit
        undo: list[Action] = [StartUnit(unit=unit), AwaitUnit(unit=unit)]
        if not seen.live:
            undo = []
        elif seen.state.phase not in ("ready", "paused") or seen.broken:
            undo = undo[:1]
        self._add(StopUnit(unit=unit), *undo, downtime=downtime, remark=remark)
        self._free[unit.gpu] += seen.memory_gib

    def _switch(self, old: Unit | None, new: Unit | None) -> None:
        if old is not None and old.key not in self._serving.maybe:
            old = None
        if old is None and (new is None or new.key in self._serving.sure):
            return
        # Requests go back only to what was known to get them: after a crash it may not be ready.
        back = old if old is not None and old.key in self._serving.sure else None
        undo = [] if new is None and back is None else [Switch(old=new, new=back)]
        self._add(Switch(old=old, new=new), *undo)

    def _add(self, action: Action, *undo: Action, downtime: bool = False, remark: str = "") -> None:
        self._steps.append(Step(action=action, undo=undo, downtime=downtime, remark=remark))
        self._serving.begin(action)
        self._serving.end(action)
