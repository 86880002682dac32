"""The order of steps: safe at every moment, whatever there is and whatever is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.executor.apply.actions import AwaitUnit, SetBatch, StartUnit, StopUnit, Switch, words
from colocate.executor.apply.desired import target_of_units
from colocate.executor.errors import ForeignError
from colocate.executor.ports import Limits, Space
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit, uuid_of


def bench(folder, *units, gpus=2, dialect="v2", memory_mib=40960) -> Bench:
    made = Bench(folder, World(gpus, dialect=dialect, memory_mib=memory_mib))
    if units:
        made.apply(*units)
    return made


def told(made: Bench, *units) -> list[str]:
    return [words(step.action) for step in made.steps(units)]


def test_a_changed_share_is_a_second_process_first(in_memory):
    old, new = make_unit(share_pct=40), make_unit(share_pct=60)
    made = bench(in_memory, old)
    assert told(made, new) == [
        "set limits: at most 60 %",
        f"start {new.key} (service, share 60 %, batch 8)",
        f"wait until {new.key} is ready",
        f"send requests to {new.key} instead of {old.key}",
        f"drain and stop {old.key}",
    ]
    assert not any(step.downtime for step in made.steps([new]))


def test_without_room_the_downtime_is_said(in_memory):
    old, new = make_unit(memory_gib=30), make_unit(memory_gib=30, share_pct=60)
    made = bench(in_memory, old)
    stops = [step for step in made.steps([new]) if step.downtime]
    assert [words(step.action) for step in stops] == [f"drain and stop {old.key}"]
    assert "no room" in stops[0].remark


def test_training_makes_room_before_a_service_does(in_memory):
    web = make_unit(memory_gib=15)
    task = make_unit("train", role="task", memory_gib=15)
    moved = make_unit("train", role="task", memory_gib=15, gpu=1)
    made = bench(in_memory, web, task)
    newer = make_unit(memory_gib=15, share_pct=60)
    steps = made.steps([newer, moved])
    assert not any(step.downtime for step in steps)
    order = [words(step.action) for step in steps]
    assert order.index(f"checkpoint and stop {task.key}") < order.index(
        f"start {newer.key} (service, share 60 %, batch 8)"
    )
    made.apply(newer, moved)
    made.check_holds([newer, moved])


def test_a_live_batch_needs_no_process(in_memory):
    made = bench(in_memory, make_unit(batch=8))
    wanted = make_unit(batch=16)
    assert told(made, wanted) == [f"set the batch size of {wanted.key} to 16"]
    made.apply(wanted)
    made.check_holds([wanted])
    made.rollback()
    made.check_holds([make_unit(batch=8)])


def test_a_fixed_batch_with_the_same_key_stops_first(in_memory):
    made = bench(in_memory, make_unit(batch=8, launch="fixed"))
    (stop,) = [s for s in made.steps([make_unit(batch=16, launch="fixed")]) if s.downtime]
    assert "batch size cannot change" in stop.remark


def test_batches_that_grow_wait_for_room(in_memory):
    """One shrinks, one grows, and both fit in the end: the memory is never overdrawn."""
    made = bench(in_memory, make_unit(memory_gib=20), make_unit("search", memory_gib=15))
    steps = made.steps(
        [
            make_unit(memory_gib=10, batch=4),
            replace(make_unit("search", memory_gib=15), memory_gib=25.0, batch=16),
        ]
    )
    batches = [step.action for step in steps if isinstance(step.action, SetBatch)]
    assert [(b.unit.workload, b.batch) for b in batches] == [("web", 4), ("search", 16)]


def test_two_that_change_places(in_memory):
    """Neither fits beside the other: one has downtime, the other has not."""
    a, b = make_unit("a", gpu=0, memory_gib=30), make_unit("b", gpu=1, memory_gib=30)
    made = bench(in_memory, a, b)
    wanted = make_unit("a", gpu=1, memory_gib=30), make_unit("b", gpu=0, memory_gib=30)
    assert sum(step.downtime for step in made.steps(wanted)) == 1
    made.apply(*wanted)
    made.check_holds(wanted)


def test_what_needs_more_memory_than_there_is(in_memory):
    made = bench(in_memory)
    with pytest.raises(InputError, match=r"need 41\.00 GiB .* it has 40\.00 GiB"):
        made.steps([make_unit(memory_gib=30), make_unit("b", memory_gib=11)])


def test_a_stranger_is_in_nobodys_way_where_nothing_changes(in_memory):
    made = bench(in_memory, make_unit(gpu=0))
    made.world.add_foreign_client(uuid_of(0))
    more = make_unit("b", gpu=1)
    assert made.steps([make_unit(gpu=0)]) == ()
    made.apply(make_unit(gpu=0), more)
    with pytest.raises(ForeignError, match=r"pid \d+") as shown:
        made.steps([make_unit(gpu=0, share_pct=20), more])
    assert shown.value.exit_code == 1


def test_a_daemon_of_somebody_else(in_memory):
    made = bench(in_memory)
    made.world.add_foreign_daemon(uuid_of(0), Limits(share_pct=30))
    with pytest.raises(ForeignError, match="somebody else"):
        made.apply(make_unit())
    assert made.world.alive[uuid_of(0)].limits.share_pct == 30
    made.world.adopt = True
    made.apply(make_unit())
    assert made.world.members(uuid_of(0)) == {make_unit().key: 50}
    made.rollback()
    assert made.world.alive[uuid_of(0)].limits.share_pct == 30


def test_spaces_of_others_stay(in_memory):
    """A daemon that was taken over keeps what its former owner had set up."""
    made = bench(in_memory, dialect="v3")
    theirs = Space(name="llm_decode", share_pct=70)
    made.world.add_foreign_daemon(uuid_of(0), Limits(spaces=(theirs,)))
    made.world.adopt = True
    made.apply(make_unit())
    assert theirs in made.world.alive[uuid_of(0)].limits.spaces
    made.apply(make_unit(share_pct=20))
    assert theirs in made.world.alive[uuid_of(0)].limits.spaces
    assert len(made.world.alive[uuid_of(0)].limits.spaces) == 2


def test_a_part_of_a_cluster(in_memory):
    made = bench(in_memory)
    units = [make_unit(gpu=0), make_unit("b", gpu=5), make_unit("c", gpu=6), make_unit("d", gpu=6)]
    target, left_out = target_of_units(units, made.look().observed, gpus=[uuid_of(9)])
    assert [unit.key for unit in target.units] == [make_unit(gpu=0).key]
    assert (left_out.units, left_out.gpus) == (3, 2)
    made.apply(*units)
    made.check_holds(units)


def test_what_an_earlier_plan_left_is_stopped(in_memory):
    made = bench(in_memory, make_unit(gpu=0), make_unit("b", gpu=1))
    made.apply(make_unit("c", gpu=1))
    made.check_holds([make_unit("c", gpu=1)])


def test_a_task_that_is_done_stays_done(in_memory):
    task = make_unit("train", role="task")
    made = bench(in_memory, task)
    made.world.end_unit(task.key, "stopped", "ended with code 0")
    assert made.steps([task]) == ()
    made.world.end_unit(task.key, "stopped", "ended with code 1")
    assert [step.action.do for step in made.steps([task])] == [
        "stop_unit",
        "start_unit",
        "await_unit",
    ]


def test_the_same_place_twice_is_refused(in_memory):
    made = bench(in_memory)
    with pytest.raises(InputError, match="planned twice"):
        made.steps([make_unit(gpu=0), make_unit(gpu=1)])


@st.composite
def some_units(draw):
    free = dict.fromkeys(range(3), 40.0)
    found = []
    for name in ("web", "search", "chat", "train", "tune"):
        for ordinal in range(draw(st.integers(0, 2))):
            gpu = draw(st.integers(0, 2))
            memory = float(draw(st.sampled_from((4, 9, 14, 19, 27, 40))))
            if memory > free[gpu]:
                continue
            free[gpu] -= memory
            found.append(
                make_unit(
                    name,
                    ordinal,
                    gpu=gpu,
                    role="task" if name in ("train", "tune") else "service",
                    share_pct=draw(st.sampled_from((10, 30))),
                    memory_gib=memory,
                    version=int(memory),
                )
            )
    return found


@settings(max_examples=150)
@given(some_units(), some_units())
def test_every_order_is_safe(before, after):
    """Walk along the steps: memory, requests and single workers hold at each of them."""
    world = World(3)
    made = Bench.__new__(Bench)
    made.world = world
    for unit in before:
        world.daemons.start(unit.gpu)
        world.daemons.set_limits(unit.gpu, Limits())
        world.processes.start(unit, world.daemons.environment(unit))
        world.processes.wait_ready(unit.key)
    from colocate.executor.apply.observed import observe
    from colocate.executor.apply.order import plan_steps
    from colocate.executor.apply.serving import Serving

    observed = observe(world.daemons, world.processes, world.gpus)
    target = target_of_units(after, observed)[0]
    services = {unit.key for unit in before if unit.role == "service"}
    steps = plan_steps(observed, target, Serving.of(services), lambda _unit: True)

    live = {unit.key: unit for unit in before}
    serving, ready = set(services), set(live)
    had = {unit.place for unit in before if unit.role == "service"}
    stay = had & {unit.place for unit in after}
    down: set[tuple[str, int]] = set()
    for step in steps:
        action = step.action
        match action:
            case StartUnit(unit=unit):
                live[unit.key] = unit
            case AwaitUnit(unit=unit):
                ready.add(unit.key)
            case StopUnit(unit=unit):
                assert unit.key not in serving
                live.pop(unit.key)
                ready.discard(unit.key)
                if step.downtime:
                    down.add(unit.place)
            case Switch(old=old, new=new):
                if new is not None:
                    assert new.key in ready
                    serving.add(new.key)
                    down.discard(new.place)
                if old is not None:
                    serving.remove(old.key)
        for gpu in range(3):
            used = sum(u.memory_gib for u in live.values() if u.gpu == uuid_of(gpu))
            assert used <= 40.0
        tasks = [u.place for u in live.values() if u.role == "task"]
        assert len(tasks) == len(set(tasks))
        answered = {unit.place for key, unit in live.items() if key in serving}
        switched_off = {
            s.action.old.place
            for s in steps
            if isinstance(s.action, Switch) and s.action.new is None and s.action.old
        }
        assert stay - answered <= switched_off | down
    assert live.keys() == {unit.key for unit in after}
    assert serving == {unit.key for unit in after if unit.role == "service"}
    assert not down
