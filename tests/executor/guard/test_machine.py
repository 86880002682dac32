"""The machine: only drawn edges, bounded changes, bounded holds, evidence kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.guard.evidence import Evidence, Fault
from colocate.executor.guard.machine import (
    EDGES,
    HOLDING,
    KEPT,
    GuardState,
    Transition,
    enable,
    step,
)
from colocate.executor.guard.thresholds import (
    Band,
    Level,
    Patience,
    Thresholds,
    most_changes,
)

THRESHOLDS = Thresholds()
LATENCY = 200.0
USUAL = Patience()


def seen(at: float, latency: float | None = 50.0, *faults: Fault, blind: bool = False) -> Evidence:
    values = () if latency is None else (("latency_pct", latency),)
    return Evidence(seconds=at, values=values, blind=blind, faults=faults)  # type: ignore[arg-type]


def fault(severity: str, kind: str = "exit") -> Fault:
    return Fault(kind=kind, gpu="g", unit=None, detail="it broke", severity=severity)


class Run:
    """A machine and what became of it."""

    def __init__(self, patience: Patience = USUAL, thresholds: Thresholds = THRESHOLDS):
        self.patience, self.thresholds = patience, thresholds
        self.state = GuardState()
        self.now = 0.0
        self.changes: list[Transition] = []
        self.held: list[tuple[float, float]] = []

    def look(self, evidence: Evidence) -> None:
        before = self.state
        self.state, change = step(before, evidence, self.now, self.thresholds, self.patience)
        if change is not None:
            self.changes.append(change)
        if before.holds and not self.state.holds:
            assert before.held_from is not None
            self.held.append((before.held_from, self.now))

    def go(self, seconds: float, latency: float | None = 50.0, *, blind: bool = False) -> Run:
        for _ in range(round(seconds)):
            self.look(seen(self.now, latency, blind=blind))
            self.now += 1.0
        return self

    @property
    def phase(self) -> str:
        return self.state.phase

    @property
    def phases(self) -> list[str]:
        return [c.after for c in self.changes]


def healthy(patience: Patience = USUAL) -> Run:
    run = Run(patience).go(5)
    assert run.phase == "healthy"
    return run


# -- one thing at a time -----------------------------------------------------------------------


def test_a_gpu_is_healthy_after_some_good_readings_and_not_before():
    run = Run(Patience(init_readings=4))
    run.go(3)
    assert run.phase == "init"
    assert not run.state.admits
    run.go(1)
    assert run.phase == "healthy"
    assert run.state.admits


def test_one_bad_reading_changes_nothing():
    run = healthy().go(1, 300).go(10)
    assert run.phases == ["healthy"]


def test_unhealthy_keeps_its_training_and_takes_no_more():
    run = healthy().go(4, 110)
    assert run.phase == "unhealthy"
    assert not run.state.admits
    assert not run.state.holds


def test_over_the_limit_training_is_held_back_and_comes_back_after_the_calm_down():
    patience = Patience(recover_s=5, calm_first_s=8)
    run = healthy(patience).go(3, LATENCY)
    assert run.phases == ["healthy", "overlimit"]
    run.go(6)
    assert run.phase == "calm_down"
    since = run.state.since
    run.go(7)
    assert run.phase == "calm_down"
    run.go(3)
    assert run.phase == "healthy"
    assert run.held[0][1] - since == pytest.approx(8, abs=1)


def test_each_further_time_training_stays_away_longer_up_to_a_limit():
    patience = Patience(
        recover_s=1, calm_first_s=4, calm_factor=2, calm_most_s=20, over_sustain_s=0
    )
    run = healthy(patience)
    for _ in range(6):
        run.go(2, LATENCY)
        assert run.state.holds
        while run.state.holds:
            run.go(1)
    stays = [b - a for a, b in run.held]
    assert stays[0] == pytest.approx(4 + 2, abs=1.5)
    assert stays[1] == pytest.approx(8 + 2, abs=1.5)
    assert stays[2] == pytest.approx(16 + 2, abs=1.5)
    assert all(s <= 20 + 1 for s in stays)
    assert stays[-1] >= 19


def test_what_was_long_ago_is_forgiven():
    patience = Patience(
        recover_s=1, calm_first_s=4, calm_most_s=100, forgive_s=50, over_sustain_s=0
    )
    run = healthy(patience).go(2, LATENCY).go(20)
    assert run.state.offences == 1
    run.go(60)
    assert run.state.offences == 0
    run.go(2, LATENCY).go(20)
    assert run.held[1][1] - run.held[1][0] <= 4 + 3


def test_training_that_is_not_to_blame_is_let_go_even_though_the_signals_stay_bad():
    patience = Patience(calm_most_s=30, calm_first_s=5)
    run = healthy(patience).go(200, LATENCY)
    assert run.held
    assert all(b - a <= 31 for a, b in run.held)
    assert set(run.phases) <= {"healthy", "overlimit", "unhealthy"}


def test_a_signal_that_rests_on_its_bound_does_not_swing():
    run = healthy().go(3, 101)
    for _ in range(100):
        run.go(1, 99).go(1, 101)
    assert run.phases == ["healthy", "unhealthy"]


def test_blindness_is_unhealthy_after_a_while():
    patience = Patience(blind_s=10, sustain_s=2)
    run = healthy(patience).go(8, None, blind=True)
    assert run.phase == "healthy"
    run.go(6, None, blind=True)
    assert run.phase == "unhealthy"
    assert "answer" in run.changes[-1].why
    run.go(12)
    assert run.phase == "healthy"


def test_a_missing_signal_is_as_it_was():
    run = healthy().go(4, 110).go(30, None)
    assert run.phase == "unhealthy"


def test_a_fault_holds_training_back_at_once():
    run = healthy()
    run.look(seen(run.now, 50, fault("contain")))
    assert run.phase == "overlimit"
    assert "it broke" in run.changes[-1].why


def test_a_note_changes_nothing():
    run = healthy()
    run.look(seen(run.now, 50, fault("note")))
    assert run.phase == "healthy"


def test_broken_hardware_disables_until_a_person_enables():
    run = healthy()
    run.look(seen(run.now, 50, fault("disable", "xid")))
    run.go(5000)
    assert run.phase == "disabled"
    assert run.state.holds
    run.state = enable(run.state, run.now)
    run.go(5)
    assert run.phase == "healthy"


def test_a_server_that_is_reset_again_and_again_disables():
    run = healthy(Patience(most_resets=2, calm_first_s=1, recover_s=1))
    for _ in range(3):
        run.look(seen(run.now, 50, fault("reset")))
        run.now += 1
        run.go(30)
    assert run.phase == "disabled"
    assert "3 times" in run.changes[-1].why


def test_many_times_over_the_limit_disable_only_where_that_is_asked_for():
    patience = {"recover_s": 1.0, "calm_first_s": 1.0, "over_sustain_s": 0.0}
    for limit in (None, 3):
        run = healthy(Patience(disable_after=limit, **patience))  # type: ignore[arg-type]
        for _ in range(6):
            run.go(2, LATENCY).go(150)
        assert (run.phase == "disabled") == (limit == 3)


def test_enabling_what_is_not_disabled_changes_nothing():
    run = healthy()
    assert enable(run.state, run.now) is run.state


def test_a_clock_that_jumps_back_stands_still():
    run = healthy()
    run.now = -1000.0
    run.go(1, LATENCY)
    assert run.state.seconds == 4.0
    assert run.phase == "healthy"


# -- whatever happens --------------------------------------------------------------------------

PATIENCE = st.builds(
    Patience,
    init_readings=st.integers(1, 4),
    sustain_s=st.sampled_from([0.0, 1.0, 3.0]),
    over_sustain_s=st.sampled_from([0.0, 1.0, 2.0]),
    recover_s=st.sampled_from([1.0, 4.0, 10.0]),
    calm_first_s=st.sampled_from([1.0, 5.0, 20.0]),
    calm_factor=st.sampled_from([1.0, 2.0, 10.0]),
    calm_most_s=st.sampled_from([20.0, 60.0]),
    forgive_s=st.sampled_from([10.0, 600.0]),
    blind_s=st.sampled_from([2.0, 10.0]),
)
SIGHTS = st.lists(
    st.tuples(
        st.floats(0.1, 8.0),
        st.one_of(
            st.none(), st.sampled_from([20.0, 86.0, 99.0, 101.0, 116.0, 131.0, 500.0, math.inf])
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=120,
)


@given(PATIENCE, SIGHTS)
def test_whatever_is_seen_changes_are_few_and_holds_are_short(patience, sights):
    run = Run(patience)
    gap = 0.0
    for after, latency, blind in sights:
        run.now += after
        gap = max(gap, after)
        latency = None if latency is None else min(latency, 1e9)
        run.look(seen(run.now, latency, blind=blind))
        if run.state.holds:
            assert run.state.held_from is not None
            assert run.now - run.state.held_from <= patience.calm_most_s + gap
    span = run.now
    assert all((c.before, c.after) in EDGES for c in run.changes)
    assert all(c.why and c.evidence for c in run.changes)
    assert all(c.evidence[-1].seconds == c.seconds for c in run.changes)
    assert len(run.changes) <= most_changes(patience, span)
    assert all(b - a <= patience.calm_most_s + gap for a, b in run.held)
    assert len(run.state.evidence) <= KEPT
    joined = ["init", *run.phases]
    assert [c.before for c in run.changes] == joined[:-1]


SEVERITIES = st.lists(st.sampled_from(["note", "contain", "reset", "disable"]), max_size=2)


@given(
    PATIENCE, st.lists(st.tuples(st.sampled_from([20.0, 120.0, 200.0]), SEVERITIES), max_size=80)
)
def test_faults_too_take_only_drawn_edges_and_the_state_adds_up(patience, sights):
    run = Run(patience)
    for latency, severities in sights:
        run.now += 1.0
        run.look(seen(run.now, latency, *map(fault, severities)))
        state = run.state
        assert state.holds == (state.phase in HOLDING)
        assert (state.held_from is not None) == state.holds
        assert state.admits == (state.phase == "healthy")
        if "disable" in severities:
            assert state.phase == "disabled"
        elif {"contain", "reset"} & set(severities):
            assert state.holds or run.changes[-1].before in HOLDING
    assert all((c.before, c.after) in EDGES for c in run.changes)


@given(
    st.floats(1, 50),
    st.one_of(st.none(), st.floats(51, 100)),
    st.floats(0.1, 20),
    st.booleans(),
    st.lists(st.floats(0, 120), min_size=2, max_size=30),
)
def test_a_band_gets_worse_at_its_bounds_and_better_only_behind_its_margin(
    low, high, margin, falling, values
):
    flip = 200.0
    bound, over = (flip - low, None if high is None else flip - high) if falling else (low, high)
    band = Band(unhealthy=bound, overlimit=over, margin=margin, falling=falling)
    level = Level.FINE
    for value in values:
        new = band.level(flip - value if falling else value, level)
        plain = Level.OVER if high is not None and value >= high else Level(int(value >= low))
        assert new >= plain
        if new < level:
            left = high if level is Level.OVER else low
            assert left is not None
            assert value <= left - margin + 1e-9
        if new > level:
            assert new == plain
        level = new


def test_the_guide_shows_the_edges_that_there_are():
    import re
    from pathlib import Path

    page = Path(__file__).resolve().parents[3] / "docs" / "guard.md"
    if not page.is_file():
        pytest.skip("the tests were copied away from the source tree")
    table = page.read_text().split("| from | to |")[1].split("\n\n")[0]
    shown = {
        (before, after)
        for line in table.splitlines()
        if (cells := line.split("|"))[1:2] and (found := re.findall(r"`(\w+)`", cells[1]))
        for before in found
        for after in re.findall(r"`(\w+)`", cells[2])
    }
    assert shown == EDGES


def test_the_settings_of_the_guides_are_read():
    import json
    import re
    from pathlib import Path

    from colocate.executor.guard.thresholds import GuardSettings
    from colocate.executor.tuner.settings import TunerSettings, sources_of

    docs = Path(__file__).resolve().parents[3] / "docs"
    if not docs.is_dir():
        pytest.skip("the tests were copied away from the source tree")
    for name, model in (("guard", GuardSettings), ("tuner", TunerSettings)):
        (text,) = re.findall(r"```json\n(.*?)```", (docs / f"{name}.md").read_text(), re.DOTALL)
        found = model.model_validate(json.loads(text))
        if isinstance(found, TunerSettings):
            assert len(sources_of(found)) == 4
