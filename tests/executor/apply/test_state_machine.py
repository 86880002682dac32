"""Any order of applies, rollbacks, crashes, faults and drift: a net that holds, every time."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from colocate.errors import InputError
from colocate.executor.apply.differences import differences
from colocate.executor.errors import (
    AttentionError,
    DriftError,
    ForeignError,
    MpsError,
    RolledBackError,
    UnitError,
)
from colocate.executor.unit import Unit
from tests.executor.apply.bench import Bench, origin_of
from tests.executor.core_world import CoreWorld
from tests.executor.world import Crash, World, make_unit, uuid_of

GPUS = 3
IN_MEMORY = Path("/dev/shm")  # thousands of journals: a disk would wait for each line
MEMORY_GIB = 40


@st.composite
def some_units(draw: st.DrawFn) -> tuple[Unit, ...]:
    """Units that fit in memory; some may be for another node."""
    free = dict.fromkeys(range(GPUS + 1), float(MEMORY_GIB))
    units = []
    for name in ("web", "search", "train", "tune"):
        for ordinal in range(draw(st.integers(0, 2))):
            gpu = draw(st.sampled_from((*range(GPUS), *range(GPUS), GPUS)))
            base, batch = draw(st.sampled_from((4, 8, 16, 24))), draw(st.sampled_from((8, 16)))
            launch = draw(st.sampled_from(("live", "fixed")))
            # In this world a process keeps its memory when its batch size changes.
            memory = base * (1.25 if (launch, batch) == ("fixed", 16) else 1.0)
            if memory > free[gpu]:
                continue
            free[gpu] -= memory
            units.append(
                make_unit(
                    name,
                    ordinal,
                    gpu=gpu,
                    role="service" if name in ("web", "search") else "task",
                    share_pct=draw(st.sampled_from((20, 40, 60))),
                    batch=batch,
                    memory_gib=memory,
                    memory_limit_mib=draw(st.sampled_from((None, 40960))),
                    launch=launch,
                    version=base,
                )
            )
    if all(unit.gpu == uuid_of(GPUS) for unit in units):
        return ()
    return tuple(units)


OPS = (
    "daemons.start",
    "daemons.stop",
    "daemons.set_limits",
    "daemons.reset",
    "daemons.observe",
    "daemons.environment",
    "processes.start",
    "processes.wait_ready",
    "processes.switch",
    "processes.stop",
    "processes.set_batch",
    "processes.observe",
)


class Node(RuleBasedStateMachine):
    """One node in memory, and what is to be true of it."""

    kind: type[World] = World

    def __init__(self) -> None:
        super().__init__()
        folder = IN_MEMORY if IN_MEMORY.is_dir() else None
        self.root = Path(tempfile.mkdtemp(prefix="colocate-machine-", dir=folder))
        self.wanted: tuple[Unit, ...] | None = ()
        """What the last commit asked for; None once something else may be true."""
        self.before: list[str] = []
        """Exports of the states that can be rolled back to, oldest first."""
        self.open: str | None = None
        """Export from before a change that was cut off."""

    @initialize(dialect=st.sampled_from(("v2", "v3")))
    def begin(self, dialect) -> None:
        self.world = self.kind(GPUS, dialect=dialect, memory_mib=MEMORY_GIB * 1024)
        self.bench = Bench(self.root, self.world)

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    # --- what an operator does ---

    @rule(units=some_units())
    def apply(self, units) -> None:
        before = self.bench.export() if self.open is None else self.open
        changed = bool(self.bench.steps(units)) or self.open is not None
        outcome = self.bench.apply(*units)
        self._committed(units, before, outcome.applied)
        calls = len(self.world.changes)
        assert self.bench.apply(*units).steps == ()
        assert len(self.world.changes) == calls
        assert changed == bool(outcome.steps or outcome.took_over)

    @rule()
    def rollback(self) -> None:
        if self.open is not None:
            self.bench.rollback()
            assert self.bench.export() == self.open
            self.open = None
        elif self.before:
            self.bench.rollback()
            assert self.bench.export() == self.before.pop()
        else:
            calls = len(self.world.changes)
            self.bench.rollback()
            assert len(self.world.changes) == calls
        self.wanted = None

    @rule(units=some_units(), n=st.integers(1, 40), after=st.booleans(), back=st.booleans())
    def crash(self, units, n, after, back) -> None:
        """The machine goes down in the n-th change of the node."""
        self._cut_off(units, back, lambda: self.world.crash_at(n, after=after), None)

    @rule(units=some_units(), n=st.integers(0, 60), back=st.booleans())
    def crash_in_journal(self, units, n, back) -> None:
        """The machine goes down around the n-th record."""
        left = [n]

        def hook(_point: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash

        self._cut_off(units, back, lambda: None, hook)

    def _cut_off(self, units, back, arm, hook) -> None:
        if back and not self.before and self.open is None:
            return
        before = self.bench.export() if self.open is None else self.open
        was_open = self.open is not None
        arm()
        try:
            if back:
                self.bench.rollback(hook=hook)
            else:
                outcome = self.bench.apply(*units, hook=hook)
        except Crash:
            self.world.calm()
            self.wanted = None
            self._after_crash(units, before, was_open, back)
            return
        self.world.calm()
        if back:
            expected = self.open if was_open else self.before.pop()
            assert self.bench.export() == expected
            self.open, self.wanted = None, None
        else:
            self._committed(units, before, outcome.applied)

    def _after_crash(self, units, before, was_open, back) -> None:
        """Find out from the outside how far it got: the story must say so."""
        situation = self.bench.look()
        unfinished = situation.unfinished
        earlier = 0 if situation.applied is None else len(situation.applied.earlier)
        if unfinished is None:
            self.open = None
            if back and not was_open and earlier == len(self.before) - 1:
                assert self.bench.export() == self.before.pop()
            elif earlier == len(self.before) + 1:
                self.before.append(before)
            elif back and was_open:
                assert self.bench.export() == before
            return
        assert unfinished.words()
        if back and not was_open and unfinished.prepared.verb == "rollback":
            # Only going on makes sense: `rollback` finishes it, and so does an apply.
            self.bench.rollback()
            assert self.bench.export() == self.before.pop()
            return
        self.open = before

    @rule(
        units=some_units(),
        op=st.sampled_from(OPS),
        skip=st.integers(0, 6),
        after=st.booleans(),
        unit_error=st.booleans(),
    )
    def fault(self, units, op, skip, after, unit_error) -> None:
        """One call fails: everything is put back, or it did not matter."""
        before = self.bench.export()
        was_open = self.open
        left = [skip]
        error = UnitError("it went wrong") if unit_error else MpsError("it went wrong")

        def on_call(called: str, _about: str) -> None:
            if called == op:
                left[0] -= 1
                if left[0] == -1:
                    self.world.fail(op, error=error, after=after)

        self.world.on_call = on_call
        try:
            outcome = self.bench.apply(*units)
        except RolledBackError:
            self._quiet()
            assert self.bench.export() == (before if was_open is None else was_open)
            self.open = None
            if was_open is not None:
                self.wanted = None
        except (MpsError, UnitError):
            self._quiet()  # while looking, before anything was done
            assert self.bench.export() == before
        else:
            self._quiet()
            self._committed(units, before if was_open is None else was_open, outcome.applied)
        assert self.bench.look().unfinished is None or self.open is not None

    @rule(units=some_units(), op=st.sampled_from(OPS), times=st.integers(2, 30))
    def faults_that_stay(self, units, op, times) -> None:
        """So much fails that it cannot even be put back: it says so, and later all is well."""
        before = self.bench.export() if self.open is None else self.open
        self.world.fail(op, times=times, error=UnitError("it still goes wrong"))
        try:
            outcome = self.bench.apply(*units)
        except (RolledBackError, AttentionError, MpsError, UnitError) as failed:
            self._quiet()
            if isinstance(failed, AttentionError):
                change = self.bench.look().unfinished
                assert change is not None
                assert change.phase == "needs_attention"
            if self.bench.look().unfinished is not None:
                self.bench.rollback()
                assert self.bench.export() == before
                self.open, self.wanted = None, None
        else:
            self._quiet()
            self._committed(units, before, outcome.applied)

    def _quiet(self) -> None:
        self.world.on_call = None
        self.world.calm()

    # --- what happens by itself ---

    @precondition(lambda self: self.world.running)
    @rule(data=st.data(), phase=st.sampled_from(("failed", "lost", "stopped")))
    def a_unit_ends(self, data, phase) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.running)))
        self.world.end_unit(key, phase)
        self._drifted()

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), how=st.sampled_from(("fault", "gone", "limits")))
    def a_daemon_suffers(self, data, how) -> None:
        gpu = data.draw(st.sampled_from(sorted(self.world.alive)))
        if how == "fault":
            self.world.break_server(gpu)
        elif how == "gone":
            self.world.lose_daemon(gpu)
        else:
            self.world.spoil_limits(gpu)
        self._drifted()

    def _drifted(self) -> None:
        if self.wanted is not None and self.open is None:
            target = self.bench.target(self.wanted)
            situation = self.bench.look()
            assert differences(situation.observed, target, situation.serving)
        self.wanted = None

    @precondition(lambda self: self.world.alive and self.open is None)
    @rule(data=st.data(), units=some_units())
    def a_stranger_comes(self, data, units) -> None:
        """Nothing is done on its GPU; once it is gone, all goes on."""
        gpu = data.draw(st.sampled_from(sorted(self.world.alive)))
        if not self.world.takes_clients(gpu):
            return
        before = self.bench.export()
        pid = self.world.add_foreign_client(gpu)
        try:
            outcome = self.bench.apply(*units)
        except (ForeignError, InputError):
            assert self.bench.export() == before
        else:
            self._committed(units, before, outcome.applied)
        clients = self.world.daemons.observe(gpu).clients
        assert [c.pid for c in clients if c.unit is None] == [pid]
        self.world.drop_foreign(gpu)

    @rule(units=some_units(), data=st.data())
    def a_preview_grows_old(self, units, data) -> None:
        live = sorted(k for k, p in self.world.running.items() if p.state.pids)
        if not live or self.open is not None:
            return
        expected = self.bench.expected(units)
        key = data.draw(st.sampled_from(live))
        self.world.end_unit(key, detail="it drifted")
        gpu = self.world.running[key].state.unit.gpu
        self.wanted = None
        before = len(self.world.changes)
        if gpu in self.bench.target(units).scope:
            with pytest.raises(DriftError):
                self.bench.apply(*units, expected=expected)
            assert len(self.world.changes) == before

    # --- what must hold ---

    def _committed(self, units, before: str, applied) -> None:
        self.bench.check_holds(units)
        assert self.bench.look().unfinished is None
        if applied is not None and len(applied.earlier) == len(self.before) + 1:
            self.before.append(before)
        self.open, self.wanted = None, units

    @invariant()
    def nothing_forbidden_was_done(self) -> None:
        if hasattr(self, "world"):
            assert self.world.complaints == []


class CoreNode(Node):
    """The same, with the core of the MPS double for its daemons."""

    kind = CoreWorld


def run(machine: type[Node], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        ),
    )


def test_any_order_of_events_on_the_core_of_the_double():
    run(CoreNode, 200, 5)


def test_any_order_of_events_in_memory():
    run(Node, 50, 5)


@pytest.mark.deep
@pytest.mark.parametrize("machine", [Node, CoreNode])
def test_any_long_order_of_events(machine):
    run(machine, 5000, 30)


def test_a_plan_names_where_it_came_from(tmp_path):
    bench = Bench(tmp_path, World(1))
    bench.apply(make_unit(gpu=uuid_of(0)), origin=origin_of("one"))
    applied = bench.look().applied
    assert applied is not None
    assert applied.origin == origin_of("one")
