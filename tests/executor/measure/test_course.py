"""A campaign on a bench in memory: what it knows in the end, resumed, cut short, failing."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.executor.errors import HeldError
from colocate.executor.measure.bench import Window
from colocate.executor.measure.course import MOST_IN_A_ROW, Progress, run_campaign
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.results import Record, Results, read_results
from colocate.executor.measure.rows import table_of
from colocate.executor.measure.runner import measure_point
from colocate.executor.measure.runs import Run, estimate_s, runs_of
from colocate.executor.measure.tenants import Point, Tenant, Workload
from tests.executor.measure.fake_bench import CONTEXT_MIB, PREPARE_S, START_S, FakeBench, rate

PROGRAMS = {
    "bert": Workload(name="bert", role="inference", command=("/bin/true",)),
    "vgg": Workload(name="vgg", role="training", command=("/bin/true",)),
}
HEAD = {"campaign": "test", "gpu": "Fake"}


def tenant(name: str = "bert", batch: int = 4, share: int = 50, **more: float) -> Tenant:
    return Tenant(workload=name, batch=batch, share_pct=share, **more)


def evidence(record: Record) -> dict[str, Any]:
    assert record.evidence is not None
    return dict(record.evidence)


def grid() -> list[Point]:
    points = [Point.of(tenant("bert", b, s)) for b in (1, 8) for s in (20, 50, 100)]
    points += [Point.of(tenant("bert", 8, s, load=x)) for s in (50, 100) for x in (0.3, 0.6)]
    points += [Point.of(tenant("vgg", 16, s)) for s in (20, 100)]
    points += [Point.of(tenant("bert", 8, s), tenant("vgg", 16, 100 - s)) for s in (30, 60)]
    return points


RUNS = runs_of(grid(), PROGRAMS)


class World:
    """A bench and a results file that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "measured.jsonl"
        self.bench = FakeBench()

    def go(self, runs=RUNS, effort=None, *, resume=False, **more):
        with Results(self.path, HEAD, resume=resume) as results:
            return run_campaign(runs, self.bench, PROGRAMS, effort or Effort(), results, **more)

    @property
    def records(self) -> list[Record]:
        return read_results(self.path)[1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_table_holds_the_rates_of_the_formula(world: World):
    world.bench.noise = 0.01
    summary = world.go()
    assert summary.ended == "complete"
    assert summary.measured == len(RUNS)
    table = table_of(world.records)
    assert len(table) == len(RUNS) + 2  # two rows for each pair
    for i in range(len(table)):
        me = tenant(table["workload"][i], int(table["batch"][i]), int(table["share_pct"][i]))
        others = [tenant(n.workload, int(n.batch), int(n.share_pct)) for n in table.neighbours(i)]
        expected = rate(me, others)
        if not math.isnan(table["arrival_rps"][i]):
            expected = table["arrival_rps"][i]
            assert table["latency_p99_ms"][i] > table["latency_ms"][i]
        assert table["rate"][i] == pytest.approx(expected, rel=0.04)
    loads = table["arrival_rps"] / [
        rate(tenant("bert", 8, int(s))) for s in table["share_pct"].tolist()
    ]
    assert sorted(round(x, 1) for x in loads[~(loads != loads)]) == [0.3, 0.3, 0.6, 0.6]


def test_processes_are_started_once_for_all_that_needs_them(world: World):
    world.go()
    assert len(world.bench.started) == len(set(world.bench.started))
    assert world.bench.inside == 0


def test_new_starts_mean_new_processes_and_new_repeats(world: World):
    runs = runs_of(grid()[:3], PROGRAMS, starts=3)
    world.go(runs)
    assert world.bench.renewed == 2
    assert sorted(world.bench.started) == sorted(3 * [("bert", s) for s in (20, 50, 100)])
    assert sorted(row["repeat"] for r in world.records for row in r.rows) == [
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
    ]


def test_more_noise_takes_more_windows_until_it_is_known_well_enough(world: World):
    world.bench.noise = 0.03
    world.go(runs_of(grid()[:6], PROGRAMS), Effort(most_windows=200))
    for record in world.records:
        assert evidence(record)["enough"]
        value, low, high, _ = evidence(record)["tenants"][0]["rate"]
        assert (high - low) / 2 / value <= 0.02
    assert sum(evidence(r)["windows"] for r in world.records) > 1.5 * 6 * 6


def test_what_is_still_not_known_well_is_said_to_be_so(world: World):
    world.bench.noise = 0.3
    world.go(RUNS[:2], Effort(most_windows=8, steady_most_s=5.0))
    assert [evidence(r)["enough"] for r in world.records] == [False, False]
    assert [evidence(r)["windows"] for r in world.records] == [8, 8]


def test_nothing_is_measured_before_it_is_steady(world: World):
    """The rate doubles after a while that is longer than the warm-up."""
    world.bench.warm_s = 9.0
    world.go(RUNS[:1])
    (record,) = world.records
    assert evidence(record)["steady"]
    assert record.rows[0]["rate"] == pytest.approx(rate(RUNS[0].point.tenants[0]), rel=1e-6)


def test_what_never_gets_steady_is_measured_all_the_same_and_says_so(world: World):
    drifting = iter(range(1, 10_000))
    world.bench.rate = lambda t, others: 50.0 + 20 * next(drifting)
    world.go(RUNS[:1], Effort(steady_most_s=6.0, most_windows=7))
    (record,) = world.records
    assert record.state == "measured"
    assert evidence(record)["steady"] is False


def test_windows_hold_five_batches_of_the_slowest():
    bench = FakeBench(rate=lambda t, others: 2.0)
    point = Point.of(tenant("bert", 4, 100))
    company = bench.enter(point.tenants)
    measure_point(company, bench, point.tenants, Effort(steady_most_s=60.0))
    # a batch takes two seconds
    assert bench.now > 6 * 10


def test_an_overloaded_service_states_no_percentile(world: World):
    runs = runs_of([Point.of(tenant("bert", 8, 50, arrival_rps=10_000.0))], PROGRAMS)
    world.go(runs)
    (record,) = world.records
    assert evidence(record)["tenants"][0]["stable"] is False
    assert "latency_p99_ms" not in record.rows[0]
    assert record.rows[0]["rate"] == pytest.approx(rate(tenant("bert", 8, 50)), rel=0.02)


def test_a_load_needs_the_rate_that_it_is_a_part_of(world: World):
    summary = world.go(runs_of([Point.of(tenant("bert", 8, 50, load=0.5))], PROGRAMS))
    assert summary.failed == 1
    assert "rate without arrivals" in world.records[0].why


def test_a_load_finds_its_rate_in_what_was_measured_before(world: World):
    world.go(runs_of([Point.of(tenant("bert", 8, 50))], PROGRAMS))
    world.go(runs_of([Point.of(tenant("bert", 8, 50, load=0.5))], PROGRAMS), resume=True)
    assert world.records[1].rows[0]["arrival_rps"] == pytest.approx(
        0.5 * rate(tenant("bert", 8, 50)), rel=0.01
    )


def test_memory_holds_the_context_at_every_batch(world: World):
    """It is seen to grow at the first batch only, when the process is new."""
    points = [Point.of(tenant("bert", b, 50)) for b in (2, 16, 8)]
    world.go(runs_of(points, PROGRAMS))
    found = {r.rows[0]["batch"]: r.rows[0]["memory_gib"] * 1024 for r in world.records}
    assert found == pytest.approx({b: CONTEXT_MIB + 100 + b for b in (2, 8, 16)})


# -- going on ----------------------------------------------------------------------------------


@given(st.data())
def test_an_interrupted_campaign_never_repeats_a_finished_run(tmp_path_factory, data):
    world = World(tmp_path_factory.mktemp("campaign"))
    crashes = data.draw(st.lists(st.integers(0, 40), max_size=4), label="windows of crashes")

    class CrashError(Exception):
        pass

    for i, windows in enumerate(crashes):
        left = iter(range(windows))

        def stop(left=left) -> bool:
            if next(left, None) is None:
                raise CrashError
            return False

        world.bench = FakeBench()
        with contextlib.suppress(CrashError):
            world.go(resume=i > 0, stop=stop)
        assert world.bench.inside == 0
        if data.draw(st.booleans(), label="torn") and world.path.stat().st_size:
            with world.path.open("ab") as file:
                file.write(b'{"key": "bert.b1.s20#')
    world.bench = FakeBench()
    before = {r.key for r in world.records} if crashes else set()
    summary = world.go(resume=bool(crashes))
    assert summary.kept == len(before)
    keys = [r.key for r in world.records]
    assert sorted(keys) == sorted(r.key for r in RUNS)
    assert {repr(t) for t in world.bench.entered}.isdisjoint(
        {repr(r.point.tenants) for r in RUNS if r.key in before and not _loaded(r)}
    )


def _loaded(run: Run) -> bool:
    return not all(t.closed for t in run.point.tenants)


def test_the_table_of_a_resumed_campaign_is_that_of_one_in_one_go(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    once, twice = World(tmp_path / "one"), World(tmp_path / "two")
    once.go()
    stops = iter([False] * 50)
    twice.go(stop=lambda: next(stops, True))
    assert 0 < len(twice.records) < len(RUNS)
    twice.bench = FakeBench()
    twice.go(resume=True)
    tables = [table_of(w.records) for w in (once, twice)]
    rows = [
        sorted(
            (w, b, s, n, round(r, 6))
            for w, b, s, n, r in zip(
                t["workload"], t["batch"], t["share_pct"], t["neighbour"], t["rate"], strict=True
            )
        )
        for t in tables
    ]
    assert rows[0] == rows[1]


def test_stopping_keeps_what_is_finished_and_drops_what_is_not(world: World):
    asked = iter([False] * 25)
    summary = world.go(stop=lambda: next(asked, True))
    assert summary.ended == "stopped"
    assert summary.measured == len(world.records)
    assert summary.left == len(RUNS) - summary.measured
    assert all(evidence(r)["enough"] for r in world.records)


def test_the_budget_is_kept(world: World):
    whole = estimate_s(RUNS, Effort())
    summary = world.go(budget_s=whole / 2)
    assert summary.ended == "budget"
    assert 0 < summary.measured < len(RUNS)
    assert summary.left == len(RUNS) - summary.measured
    assert world.bench.now <= whole / 2


def test_progress_tells_what_is_left_and_learns_from_what_it_took(world: World):
    seen: list[Progress] = []
    world.bench.noise = 0.05
    world.go(effort=Effort(most_windows=60), progress=seen.append)
    assert [p.done for p in seen] == list(range(len(RUNS)))
    assert {p.total for p in seen} == {len(RUNS)}
    assert seen[0].left_s == pytest.approx(estimate_s(RUNS, Effort()))
    assert seen[-1].text == RUNS[-1].point.text
    # noise makes it take longer than was expected at least; that is noticed on the way
    half = len(RUNS) // 2
    assert seen[half].left_s > 1.3 * estimate_s(RUNS[half:], Effort())


# -- failing -----------------------------------------------------------------------------------


def test_what_cannot_run_is_not_tried_again_and_the_rest_is_measured(world: World):
    world.bench.cannot = lambda t: t.batch == 8 and t.closed
    summary = world.go()
    impossible = [r for r in world.records if r.state == "impossible"]
    assert summary.impossible == len(impossible) == 5
    assert all("out of memory" in r.why for r in impossible)
    entered = len(world.bench.entered)
    world.go(resume=True)
    assert {t.batch for ts in world.bench.entered[entered:] for t in ts} <= {8}
    assert all(not t.closed for ts in world.bench.entered[entered:] for t in ts)


def test_what_failed_is_tried_again(world: World):
    world.bench.does_not_start = lambda t: t.workload == "vgg"
    summary = world.go()
    assert summary.failed == 4
    assert summary.measured == len(RUNS) - 4
    assert all("does not start" in r.why for r in world.records if r.state == "failed")
    world.bench.does_not_start = lambda t: False
    summary = world.go(resume=True)
    assert (summary.measured, summary.failed, summary.kept) == (4, 0, len(RUNS) - 4)
    assert len(table_of(world.records)) == len(RUNS) + 2


def test_a_process_that_goes_away_costs_its_run_and_gets_a_new_company(world: World):
    world.bench.goes_away = lambda window: window == 30
    summary = world.go()
    assert (summary.failed, summary.measured) == (1, len(RUNS) - 1)
    assert world.bench.inside == 0


def test_a_bench_on_which_nothing_works_is_given_up(world: World):
    world.bench.does_not_start = lambda t: True
    summary = world.go()
    assert summary.ended == "failures"
    assert summary.failed == MOST_IN_A_ROW
    assert summary.left == len(RUNS) - MOST_IN_A_ROW


def test_rows_beside_a_neighbour_with_arrivals_stay_out_of_the_table(world: World):
    runs = runs_of([Point.of(tenant("bert", 8, 50, arrival_rps=20.0), tenant("vgg", 16, 50))],
                   PROGRAMS)  # fmt: skip
    world.go(runs)
    assert len(world.records[0].rows) == 2
    table = table_of(world.records)
    assert table["workload"].tolist() == ["bert"]


# -- the file ----------------------------------------------------------------------------------


def test_a_results_file_is_not_overwritten_and_not_mixed_up(world: World):
    world.go(RUNS[:1])
    before = world.path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        world.go(RUNS[:1])
    with pytest.raises(InputError, match="about gpu 'Fake', not 'Other'"):
        Results(world.path, {**HEAD, "gpu": "Other"}, resume=True)
    assert world.path.read_bytes() == before


def test_two_writers_do_not_share_a_file(world: World):
    with Results(world.path, HEAD, resume=False), pytest.raises(HeldError):
        Results(world.path, HEAD, resume=True)


@given(cut=st.integers(0, 400))
def test_a_file_cut_off_anywhere_loses_at_most_the_last_line(tmp_path_factory, cut):
    world = World(tmp_path_factory.mktemp("cut"))
    world.go(RUNS[:2])
    data = world.path.read_bytes()
    world.path.write_bytes(data[: max(0, len(data) - cut)])
    whole = data[: max(0, len(data) - cut)].count(b"\n")
    with Results(world.path, HEAD, resume=True) as results:
        assert len(results.records) == max(0, whole - 1)
        results.add(Record(key="k", state="measured", text="", seconds=1.0))
    lines = world.path.read_bytes().splitlines()
    assert json.loads(lines[0])["schema"] == "colocate/measured/v1"
    assert all(json.loads(line) for line in lines)
    assert len(lines) == max(1, whole) + 1


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b'{"key": 1, "state": "measured"}', b'{"key": "a", "state": "odd"}', b"\xff"],
)
def test_damage_in_the_middle_is_refused_by_line(world: World, line: bytes):
    world.go(RUNS[:2])
    lines = world.path.read_bytes().splitlines()
    lines[1] = line
    world.path.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(InputError, match="line 2"):
        read_results(world.path)


def test_another_file_is_not_taken_for_results(tmp_path: Path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"schema": "other"}\n')
    with pytest.raises(InputError, match="does not say"):
        Results(path, HEAD, resume=True)
    assert path.read_text() == '{"schema": "other"}\n'
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(InputError):
        Results(link, HEAD, resume=False)
    with pytest.raises(InputError):
        read_results(tmp_path / "missing")


def test_a_window_without_time_has_no_rate():
    assert Window(seconds=0.0, samples=0, batches=0).rate == 0.0


def test_times_of_the_fake_are_what_the_estimate_assumes_at_least():
    from colocate.executor.measure import runs

    assert START_S <= runs.START_S
    assert PREPARE_S <= runs.PREPARE_S
