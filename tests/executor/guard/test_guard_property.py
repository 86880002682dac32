"""Whatever goes wrong, in the end everything runs as it did."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.errors import UnitError
from colocate.executor.guard.thresholds import Policy
from tests.executor.guard.stand import ETERNAL, GPU, Node

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "quiet",
                "slow",
                "very slow",
                "server fault",
                "task dies",
                "task killed",
                "service dies",
                "no daemon",
                "no gpu",
                "no pause",
                "no ready",
                "no stop",
                "no reset",
                "no environment",
                "new guard",
            ]
        ),
        st.integers(1, 6),
    ),
    max_size=14,
)


@given(EVENTS, st.sampled_from(["v2", "v3"]), st.sampled_from(["pause", "evict"]))
def test_whatever_goes_wrong_in_the_end_everything_runs_as_it_did(events, dialect, over):
    node = Node(dialect, policy=Policy(over=over), patience=ETERNAL)
    world = node.world
    node.go(2)
    latency = 50.0
    for event, ticks in events:
        match event:
            case "quiet":
                latency = 50.0
            case "slow":
                latency = 110.0
            case "very slow":
                latency = 300.0
            case "server fault":
                world.break_server(GPU)
            case "task dies" | "task killed" if node.train.key in world.running:
                end = "code 1" if event == "task dies" else "SIGKILL"
                world.end_unit(node.train.key, "backing_off", f"was ended by {end}")
            case "service dies" if node.web.key in world.running:
                world.end_unit(node.web.key, "backing_off", "was ended by SIGSEGV")
            case "no daemon":
                world.fail("daemons.observe", times=ticks)
            case "no gpu":
                world.fail("gpus.read", times=ticks)
            case "no pause":
                world.fail("processes.pause", error=UnitError("no"), times=1)
            case "no ready":
                world.fail("processes.wait_ready", error=UnitError("no"), times=ticks)
            case "no stop":
                world.fail("processes.stop", error=UnitError("no"), times=1)
            case "no reset":
                world.fail("daemons.reset", times=1)
            case "no environment":
                world.fail("daemons.environment", times=1)
            case "new guard":
                node.restart()
        node.go(ticks, latency)
    world.calm()
    # What is down comes back by its keeper, unless the guard has taken it away.
    for key in (node.web.key, node.train.key):
        if key in world.running and world.running[key].state.phase == "backing_off":
            world.processes.start(world.running[key].state.unit, world.running[key].environment)
            world.processes.wait_ready(key)
    node.go(120)
    assert node.guard.state.phase == "healthy", node.lines.records[-5:]
    assert node.phase(node.web) == "ready"
    assert node.phase(node.train) == "ready"
    assert node.web.key in world.serving
    train = node.find("train")
    assert train is not None
    assert train.batch == 32
    assert world.members(GPU) == {node.web.key: 40, node.train.key: 60}
    assert not node.guard.owed.evicted
    assert not node.guard.owed.services
    assert not [c for c in world.changes if node.far.key in c[1]]
    wrong = [c for c in world.complaints if "is not ready" not in c]
    assert not wrong
    halted = [c for c in world.changes if c == ("processes.pause", node.web.key)]
    assert not halted
