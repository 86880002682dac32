"""The daemons of a node against the executable double, in both dialects."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps import NodeDaemons, space_of
from colocate.executor.mps.control import ControlError
from colocate.executor.ports import Client, Limits
from tests.executor.mps.bench import Name, Node, eventually
from tests.fakes.double import Double, client_argv, wait_for

# What the second dialect adds here is in `test_double` too, without processes.
second = pytest.mark.parametrize(
    "node", ["v2", pytest.param("v3", marks=pytest.mark.deep)], indirect=True
)


def test_the_life_of_a_daemon(node: Node) -> None:
    daemons, gpu = node.daemons, node.gpu
    assert not daemons.observe(gpu).alive
    daemons.stop(gpu)  # nothing there, nothing to do
    daemons.start(gpu)
    state = daemons.observe(gpu)
    assert (state.alive, state.ours, state.dialect, state.clients) == (True, True, node.dialect, ())
    assert state.limits == Limits()
    said = len(node.double.changes())
    daemons.start(gpu)
    daemons.set_limits(gpu, Limits())
    assert len(node.double.changes()) == said  # what is true already is not said again

    unit = node.unit()
    wanted = node.limits(unit, share_pct=60, memory=4096)
    daemons.set_limits(gpu, wanted)
    assert daemons.observe(gpu).limits == wanted
    process, got = node.run("a", daemons.environment(unit))
    assert (got["mps"], got["share"], got["sms"], got["memory_mib"]) == (True, 50.0, 66, 2048)
    node.units = {unit.key: [process.pid]}
    (client,) = daemons.observe(gpu).clients
    assert (client.pid, client.server_pid, client.unit) == (
        process.pid,
        got["server_pid"],
        unit.key,
    )
    with pytest.raises(ForeignError, match="still has 1 clients"):
        daemons.stop(gpu)
    process.terminate()
    assert process.wait(20) == 0
    assert eventually(lambda: daemons.observe(gpu).clients == ())

    # another process of this program knows the daemon again; the other GPU was never touched
    again = node.make()
    assert again.observe(gpu).ours
    assert not again.observe(node.other).alive
    again.set_limits(gpu, Limits())
    assert again.observe(gpu).limits == Limits()
    again.stop(gpu)
    assert not again.observe(gpu).alive
    assert eventually(lambda: node.double.daemons() == [])


@second
def test_new_limits_hold_for_clients_that_come_later(node: Node) -> None:
    daemons, gpu = node.daemons, node.gpu
    daemons.start(gpu)
    unit = node.unit(share_pct=80, memory_limit_mib=None)
    daemons.set_limits(gpu, node.limits(unit))
    environment = daemons.environment(unit)
    assert node.run("first", environment)[1]["share"] == 80.0
    smaller = replace(unit, share_pct=40) if node.dialect == "v3" else unit
    daemons.set_limits(gpu, node.limits(smaller, share_pct=40, memory=1024))
    state = daemons.observe(gpu)
    assert state.settled
    assert node.run("second", environment)[1]["share"] == 40.0
    assert len(daemons.observe(gpu).clients) == 2


def test_fault_is_seen_and_ended_by_a_reset(node: Node) -> None:
    daemons, gpu = node.daemons, node.gpu
    daemons.start(gpu)
    units = [node.unit("a"), node.unit("b")]
    wanted = node.limits(*units, share_pct=70, memory=8192)
    daemons.set_limits(gpu, wanted)
    for unit in units:
        process, _ = node.run(unit.workload, daemons.environment(unit))
        node.units[unit.key] = [process.pid]
    node.double.meet_fault(daemons.pipe_directory(gpu), node.processes[0].pid)
    assert daemons.observe(gpu).server == "fault"
    listing = "get_client_list" if node.dialect == "v2" else "client list"
    node.double.fail(listing, "exit", times=1)
    node.double.gpus.mps[gpu] = (node.processes[0].pid, 77)
    with_driver = daemons.observe(gpu)  # the fault shows even where it answers nothing else
    assert with_driver.server == "fault"
    assert [(client.pid, client.unit) for client in with_driver.clients] == [
        (77, None),
        (node.processes[0].pid, units[0].key),
    ]
    node.double.heal()
    refused = node.run("late", daemons.environment(units[0]))[1]
    assert refused["error"] == "CUDA_ERROR_MPS_SERVER_NOT_READY"
    before = {client.server_pid for client in daemons.observe(gpu).clients}
    daemons.reset(gpu)
    state = daemons.observe(gpu)
    assert state.server in ({"none"} if node.dialect == "v2" else {"active"})
    assert (state.limits, state.clients) == (wanted, ())
    fresh = node.run("fresh", daemons.environment(units[0]))[1]
    assert fresh["mps"]
    assert fresh["server_pid"] not in before


@second
def test_a_reset_and_an_end_leave_clients_of_others_alone(node: Node) -> None:
    daemons, gpu = node.daemons, node.gpu
    daemons.start(gpu)
    unit = node.unit()
    daemons.set_limits(gpu, node.limits(unit))
    process, _ = node.run("stranger", daemons.environment(unit))
    said = len(node.double.changes())
    (client,) = daemons.observe(gpu).clients
    assert client.unit is None
    with pytest.raises(ForeignError, match="not ours"):
        daemons.reset(gpu)
    with pytest.raises(ForeignError, match="not one of ours"):
        daemons.terminate(gpu, replace(client, unit=unit.key))  # whatever the caller believes
    assert len(node.double.changes()) == said
    assert process.poll() is None


@second
def test_a_client_of_ours_is_ended(node: Node) -> None:
    daemons, gpu = node.daemons, node.gpu
    daemons.start(gpu)
    unit = node.unit()
    daemons.set_limits(gpu, node.limits(unit))
    process, _ = node.run("a", daemons.environment(unit))
    node.units = {unit.key: [process.pid]}
    (client,) = daemons.observe(gpu).clients
    daemons.terminate(gpu, client)
    assert daemons.observe(gpu).clients == ()
    event = node.tmp_path / "a.json.event"
    assert eventually(event.exists)
    assert event.read_text() == "CUDA_ERROR_MPS_CLIENT_TERMINATED"
    assert process.poll() is None  # the process itself stays, and is now safe to end
    daemons.terminate(gpu, client)  # it has left: nothing to do


def test_descendants_belong_to_the_unit(node_v2: Node) -> None:
    """A client two steps below the unit's process, and one whose parent has gone."""
    node, daemons, gpu = node_v2, node_v2.daemons, node_v2.gpu
    daemons.start(gpu)
    unit = node.unit()
    argv = client_argv("--ready", str(node.tmp_path / "deep.json"))
    orphan = client_argv("--ready", str(node.tmp_path / "orphan.json"))
    code = (
        "import subprocess, time\n"
        f"subprocess.Popen(['/bin/sh', '-c', '\"$@\"; true', '-', *{argv!r}])\n"
        f"subprocess.run(['/bin/sh', '-c', '\"$@\" & true', '-', *{orphan!r}])\n"
        "time.sleep(300)"
    )
    keeper = subprocess.Popen(
        [argv[0], "-IS", "-c", code], env=dict(daemons.environment(unit)), start_new_session=True
    )
    try:
        pids = {wait_for(node.tmp_path / f"{name}.json")["pid"] for name in ("deep", "orphan")}
        node.units = {unit.key: [keeper.pid]}
        clients = daemons.observe(gpu).clients
        assert {client.pid for client in clients} == pids
        assert {client.unit for client in clients} == {unit.key}
    finally:
        os.killpg(keeper.pid, 9)
        keeper.wait()


@second
def test_as_root_nothing_is_changed_unless_allowed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.daemons.start(node.gpu)
    said = len(node.double.changes())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    careful = node.make(allow_root=False)
    client = Client(pid=1, server_pid=1, unit="a")
    for change in (
        lambda: careful.start(node.other),
        lambda: careful.stop(node.gpu),
        lambda: careful.set_limits(node.gpu, Limits(share_pct=5)),
        lambda: careful.reset(node.gpu),
        lambda: careful.terminate(node.gpu, client),
    ):
        with pytest.raises(InputError, match="root") as caught:
            change()
        assert caught.value.exit_code == 2
        assert "--allow-root" in (caught.value.advice or "")
    assert len(node.double.changes()) == said
    if node.tmp_path.stat().st_uid == 0:
        assert careful.observe(node.gpu).alive  # looking is no change


@second
def test_only_gpus_of_this_node_are_touched(node: Node) -> None:
    stranger = node.gpu[:-1] + "f"
    for touch in (
        lambda: node.daemons.observe(stranger),
        lambda: node.daemons.start(stranger),
        lambda: node.daemons.set_limits(stranger, Limits()),
        lambda: node.daemons.environment(node.unit(gpu=stranger)),
    ):
        with pytest.raises(MpsError, match="is not on this node"):
            touch()
    assert node.double.commands() == []


def test_a_gpu_that_is_gone_is_noticed(node_v2: Node) -> None:
    node_v2.double.gpus.lost.add(node_v2.gpu)
    with pytest.raises(MpsError, match="is not on this node"):
        node_v2.daemons.observe(node_v2.gpu)
    node_v2.double.gpus.lost.clear()
    assert not node_v2.daemons.observe(node_v2.gpu).alive


@second
def test_a_running_daemon_keeps_its_dialect(node: Node) -> None:
    node.daemons.start(node.gpu)
    other: Name = "v3" if node.dialect == "v2" else "v2"
    assert node.make(dialect=other).observe(node.gpu).dialect == node.dialect
    environment = node.make(dialect=other).environment(node.unit())
    assert ("/gpu/" in environment["CUDA_MPS_PIPE_DIRECTORY"]) == (node.dialect == "v3")


def test_v3_is_refused_where_the_program_does_not_know_it(tmp_path: Path) -> None:
    with Double(tmp_path / "bin", driver="575.57.08", version=12090) as double:
        daemons = NodeDaemons(
            tmp_path / "root",
            double.binary,
            allow_root=True,
            gpus=double.gpus,
            dialect="v3",
            other_pipes=(),
        )
        with pytest.raises(MpsError, match="does not know the v3 dialect"):
            daemons.start(double.uuids[0])
        assert double.changes() == []


def test_v2_has_no_namespaces(node_v2: Node) -> None:
    node_v2.daemons.start(node_v2.gpu)
    with pytest.raises(MpsError, match="no namespaces"):
        node_v2.daemons.set_limits(node_v2.gpu, Limits(spaces=(space_of(node_v2.unit()),)))


def test_without_a_daemon_nothing_can_be_set(node_v2: Node) -> None:
    for change in (
        lambda: node_v2.daemons.set_limits(node_v2.gpu, Limits()),
        lambda: node_v2.daemons.reset(node_v2.gpu),
        lambda: node_v2.daemons.terminate(node_v2.gpu, Client(pid=5, server_pid=6, unit="a")),
    ):
        with pytest.raises(ControlError) as caught:
            change()
        assert caught.value.kind == "no-daemon"
