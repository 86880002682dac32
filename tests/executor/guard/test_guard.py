"""The guard on a node in memory: what it does to training, and never to the service."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from colocate.executor.errors import HeldError, MpsError, UnitError
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.thresholds import Policy
from colocate.executor.ports import GpuReading
from colocate.executor.unit import Unit
from tests.executor.guard.stand import GPU, Node


@pytest.fixture(params=["v2", "v3"])
def node(request) -> Node:
    return Node(request.param)


def test_a_quiet_gpu_is_left_alone(node):
    node.go(50)
    assert node.guard.state.phase == "healthy"
    assert node.world.changes == []
    assert [r["event"] for r in node.lines.records] == ["state", "action"]


def test_over_the_limit_training_pauses_and_goes_on_after_the_calm_down(node):
    node.go(3).go(2, 200)
    assert node.phase(node.train) == "paused"
    assert node.phase(node.web) == "ready"
    assert node.phase(node.far) == "ready"
    node.go(20)
    assert node.phase(node.train) == "ready"
    assert {c[0] for c in node.world.changes} == {"processes.pause", "processes.resume"}
    assert not node.world.complaints


def test_every_change_is_recorded_with_its_evidence(node):
    node.go(3).go(2, 200)
    change = next(r for r in node.lines.records if r.get("after") == "overlimit")
    assert change["before"] == "healthy"
    assert change["gpu"] == GPU
    assert change["evidence"][-1]["latency_pct"] == 200.0
    assert "latency_pct" in change["why"]
    done = [r["action"] for r in node.lines.records if r["event"] == "action" and r["done"]]
    assert done[-2:] == ["stop_admitting", "pause"]


def test_what_cannot_be_halted_is_evicted_and_comes_back(node):
    node.world.fail("processes.pause", error=UnitError("halting it is not safe"))
    node.go(3).go(1, 200)
    assert node.phase(node.train) is None
    node.go(20)
    assert node.phase(node.train) == "ready"
    assert node.find("train") == node.train
    assert not node.world.complaints


def test_training_that_was_evicted_comes_back_with_less_where_that_can_be_said():
    def respec(unit: Unit, share: int) -> Unit:
        return replace(unit, key=f"{unit.key}.{share}", share_pct=share)

    node = Node(policy=Policy(over="evict", shrink_share=0.5, least_share_pct=20), respec=respec)
    node.go(3).go(1, 200).go(20)
    found = node.find("train")
    assert found is not None
    assert found.share_pct == 30
    node.go(1, 200).go(40)
    found = node.find("train")
    assert found is not None
    assert found.share_pct == 20
    assert node.world.members(GPU) == {node.web.key: 40, found.key: 20}


def test_full_memory_evicts_because_halting_frees_none(node):
    node.go(3)
    node.world.facts[GPU] = replace(node.world.facts[GPU], memory_mib=8300)
    node.go(1)
    assert node.phase(node.train) is None
    assert node.phase(node.web) == "ready"


def test_an_unhealthy_gpu_runs_training_at_half_its_batch_and_then_grows_it_back(node):
    node.go(3).go(2, 110)
    found = node.find("train")
    assert found is not None
    assert found.batch == 16
    node.go(10, 110)
    assert node.find("train").batch == 16
    node.go(10)
    assert node.find("train").batch == 32
    assert node.find("web").batch == 8


def test_a_batch_that_cannot_be_set_is_left_alone():
    node = Node(launch="fixed")
    node.go(3).go(5, 110)
    assert node.world.changes == []


def test_a_training_task_that_is_down_is_kept_down_while_things_settle(node):
    node.go(3)
    node.world.end_unit(node.train.key, "backing_off", "killed by signal 9")
    node.go(1)
    assert node.guard.state.phase == "overlimit"
    assert node.phase(node.train) is None  # its keeper would have started it at once
    node.go(20)
    assert node.phase(node.train) == "ready"
    assert node.find("train").share_pct == 60


def test_a_server_in_fault_is_reset_and_the_survivors_start_anew(node):
    node.go(3)
    node.world.break_server(GPU)
    node.go(1)
    assert node.phase(node.web) == "ready"
    assert node.web.key in node.world.serving
    assert node.phase(node.train) is None
    assert node.phase(node.far) == "ready"
    assert node.world.daemons.observe(GPU).server == "active"
    assert node.guard.state.holds
    node.go(30)
    assert node.phase(node.train) == "ready"
    assert node.world.members(GPU) == {node.web.key: 40, node.train.key: 60}
    assert not node.world.complaints
    assert any(r.get("kind") == "server_fault" for r in node.lines.records)


def test_a_reset_that_fails_half_way_still_brings_the_service_back(node):
    node.go(3)
    node.world.break_server(GPU)
    node.world.fail("daemons.reset", times=1)
    node.go(1)
    assert node.phase(node.web) is None
    node.go(60)
    assert node.phase(node.web) == "ready"
    assert node.phase(node.train) == "ready"
    assert node.world.members(GPU) == {node.web.key: 40, node.train.key: 60}
    assert not node.guard.owed.services


def test_a_service_that_does_not_come_back_at_once_is_tried_again(node):
    node.go(3)
    node.world.break_server(GPU)
    node.world.fail("processes.wait_ready", node.web.key, error=UnitError("not ready"), times=3)
    node.go(10)
    assert node.phase(node.web) == "ready"
    assert node.web.key in node.world.serving


def test_a_server_with_clients_that_are_not_ours_is_never_reset(node):
    node.go(3)
    node.world.add_foreign_client(GPU)
    node.world.break_server(GPU)
    node.go(5)
    assert not [c for c in node.world.changes if c[0] == "daemons.reset"]
    assert not node.world.complaints
    assert any("not ours" in r.get("error", "") for r in node.lines.records)


def test_a_daemon_that_died_is_started_again(node):
    node.go(3)
    node.world.lose_daemon(GPU)
    node.go(30)
    assert node.world.members(GPU) == {node.web.key: 40, node.train.key: 60}


def test_broken_hardware_evicts_training_for_good_and_leaves_the_service(node):
    node.go(3)
    node.world.readings[GPU] = GpuReading(seconds=0.0, xids=(79,))
    node.go(1)
    node.world.readings.clear()
    node.go(300)
    assert node.guard.state.phase == "disabled"
    assert node.phase(node.train) is None
    assert node.phase(node.web) == "ready"
    node.guard.enable(node.now)
    node.go(10)
    assert node.phase(node.train) == "ready"


def test_a_daemon_that_hangs_is_contained_once_and_nothing_is_killed():
    node = Node(policy=Policy(hang_s=5))
    node.go(3)
    node.world.fail("daemons.observe", error=MpsError("no answer"), times=10_000)
    node.go(100)
    hangs = [r for r in node.lines.records if r["event"] == "fault"]
    assert [r["kind"] for r in hangs] == ["hang"]
    assert {c[0] for c in node.world.changes} <= {"processes.pause", "processes.resume"}
    assert node.phase(node.web) == "ready"


def test_a_gpu_that_does_not_answer_is_unhealthy_and_nothing_else(node):
    node.go(3)
    node.world.fail("gpus.read", times=10_000)
    node.go(30)
    assert node.guard.state.phase == "unhealthy"
    assert node.phase(node.train) == "ready"


def test_while_an_apply_holds_the_lock_nothing_is_started_or_stopped():
    locked = True

    @contextmanager
    def exclusive():
        if locked:
            raise HeldError("an apply is at work")
        yield

    node = Node(policy=Policy(over="evict"), exclusive=exclusive)
    node.go(3).go(3, 200)
    assert node.phase(node.train) == "ready"
    locked = False
    node.go(1, 200)
    assert node.phase(node.train) is None
    errors = [r for r in node.lines.records if r.get("error")]
    assert len(errors) == 1  # not one each second


def test_a_dry_run_decides_and_does_nothing():
    node = Node(dry_run=True)
    node.go(3).go(5, 200)
    assert node.guard.state.phase == "overlimit"
    assert node.world.changes == []
    assert any(r.get("action") == "pause" and r["dry_run"] for r in node.lines.records)


def test_what_somebody_else_let_go_is_halted_again(node):
    node.go(3).go(1, 200)
    node.world.processes.resume(node.train.key)
    node.go(1, 200)
    assert node.phase(node.train) == "paused"


def test_training_that_the_tuner_holds_stays_halted_when_the_guard_lets_go():
    holds = Holds()
    node = Node(holds=holds)
    node.go(3)
    holds.put("tuner", node.train.key)
    node.world.processes.pause(node.train.key)
    node.go(1, 200)
    assert holds.holders(node.train.key) == {"guard", "tuner"}
    node.go(20)
    assert node.guard.state.phase == "healthy"
    assert holds.holders(node.train.key) == {"tuner"}
    assert node.phase(node.train) == "paused"


def test_at_its_end_the_guard_lets_everything_go(node):
    node.go(3).go(1, 200)
    node.guard.release(node.now)
    assert node.phase(node.train) == "ready"


def test_at_its_end_the_guard_gives_back_what_it_evicted():
    node = Node(policy=Policy(over="evict"))
    node.go(3).go(1, 200)
    node.guard.release(node.now)
    assert node.phase(node.train) == "ready"


def test_a_guard_that_died_left_markers_and_the_next_one_lets_go(tmp_path):
    node = Node(holds=Holds(tmp_path / "holds"))
    node.go(3).go(1, 200)
    assert node.phase(node.train) == "paused"
    node.guard = node.new_guard()
    node.go(3)
    assert node.phase(node.train) == "ready"
    assert Holds(tmp_path / "holds").of("guard") == ()


def test_markers_of_units_that_are_gone_are_dropped(tmp_path):
    node = Node(holds=Holds(tmp_path / "holds"))
    node.go(3).go(1, 200)
    node.world.processes.stop(node.train.key)
    node.go(1, 200)
    assert node.guard.holds.of("guard") == ()


def test_what_an_apply_has_put_back_is_not_started_twice():
    node = Node(policy=Policy(over="evict"))
    node.go(3).go(1, 200)
    from colocate.executor.guard.hands import start_unit

    start_unit(node.ports, node.train)
    node.go(1, 200)
    assert node.phase(node.train) is None
    start_unit(node.ports, node.train)
    node.go(60)
    assert len([s for s in node.world.processes.observe() if s.unit.workload == "train"]) == 1
    assert not node.world.complaints


def test_the_service_is_never_halted_shrunk_or_evicted_whatever_it_does(node):
    """A service that is always over its SLO, with and without training."""
    node.go(400, 500)
    assert not [t for t in node.touched if node.web.key in t]
    # and training ran in between
    assert len([c for c in node.world.changes if c[0] == "processes.resume"]) >= 5


def test_training_that_is_starting_is_halted_once_it_is_ready_and_nobody_waits_for_it(node):
    node.go(3)
    node.world.running[node.train.key].state = replace(
        node.world.running[node.train.key].state, phase="starting"
    )
    node.go(3, 200)
    assert node.guard.state.holds
    assert node.phase(node.train) == "starting"
    node.world.processes.wait_ready(node.train.key)
    node.go(1, 200)
    assert node.phase(node.train) == "ready"  # whoever started it may still be looking
    node.go(1, 200)
    assert node.phase(node.train) == "paused"
