"""Whose daemon it is, against the executable double: left, adopted, stale, or cut short."""

from __future__ import annotations

import os
import subprocess

import pytest

from colocate.executor.errors import ForeignError
from colocate.executor.mps import NodeDaemons
from colocate.executor.mps.directories import PID_FILE
from colocate.executor.ports import Limits
from tests.executor.mps.bench import Node, eventually


def test_a_daemon_of_somebody_else_is_left_or_adopted(node: Node) -> None:
    """In our own folder, where somebody started one by hand."""
    node.daemons.start(node.gpu)
    (node.tmp_path / "root/mps/00000001/daemon.json").unlink()
    state = node.daemons.observe(node.gpu)
    assert (state.alive, state.ours) == (True, False)
    said = len(node.double.changes())
    for change in (
        lambda: node.daemons.start(node.gpu),
        lambda: node.daemons.stop(node.gpu),
        lambda: node.daemons.set_limits(node.gpu, Limits(share_pct=5)),
        lambda: node.daemons.reset(node.gpu),
    ):
        with pytest.raises(ForeignError, match="not ours") as caught:
            change()
        assert "--adopt" in (caught.value.advice or "")
    assert len(node.double.changes()) == said
    adopting = node.make(adopt=True)
    assert adopting.observe(node.gpu).ours
    adopting.set_limits(node.gpu, Limits(share_pct=70))
    assert node.daemons.observe(node.gpu).ours  # from then on it is ours, for everybody
    node.daemons.stop(node.gpu)
    assert not node.daemons.observe(node.gpu).alive


@pytest.mark.parametrize("visible", ["gpu", "both", "index", "unset", "other"])
def test_a_daemon_elsewhere_that_serves_the_gpu(node_v2: Node, visible: str) -> None:
    node = node_v2
    pipe = node.tmp_path / "nvidia-mps"
    environment = {
        "CUDA_MPS_PIPE_DIRECTORY": str(pipe),
        "CUDA_MPS_LOG_DIRECTORY": str(node.tmp_path / "nvidia-log"),
        "CUDA_VISIBLE_DEVICES": {
            "gpu": node.gpu,
            "both": ",".join(node.double.uuids),
            "index": "0",
            "other": node.other,
        }.get(visible, ""),
    }
    if visible == "unset":
        del environment["CUDA_VISIBLE_DEVICES"]
    subprocess.run([str(node.double.binary), "-d"], env=environment, check=True)
    assert eventually((pipe / PID_FILE).exists)
    plain = node.make(other_pipes=(pipe,))
    adopting = node.make(other_pipes=(pipe,), adopt=True)
    if visible == "other":
        assert not plain.observe(node.gpu).alive
        return
    state = plain.observe(node.gpu)
    assert (state.alive, state.ours) == (True, False)
    with pytest.raises(ForeignError, match="not ours"):
        plain.start(node.gpu)
    if visible == "gpu":
        adopting.start(node.gpu)
        assert node.make().observe(node.gpu).ours
        unit = node.unit()
        assert node.make().environment(unit)["CUDA_MPS_PIPE_DIRECTORY"] == str(pipe)
        assert node.run("a", node.make().environment(unit))[1]["mps"]
    else:
        assert not adopting.observe(node.gpu).ours
        with pytest.raises(ForeignError, match="alone, by UUID"):
            adopting.start(node.gpu)


def test_a_stale_pid_file_is_no_daemon(node_v2: Node) -> None:
    node = node_v2
    node.daemons.start(node.gpu)
    pipe = node.daemons.pipe_directory(node.gpu)
    node.double.kill_daemon(pipe)
    assert (pipe / PID_FILE).exists()
    assert eventually(lambda: not node.daemons.observe(node.gpu).alive)
    (pipe / PID_FILE).write_text(f"{os.getpid()}\n")  # used again by something else
    assert not node.daemons.observe(node.gpu).alive
    for text in ("", "abc", "-1", "99999999999", "0"):
        (pipe / PID_FILE).write_text(text)
        assert not node.daemons.observe(node.gpu).alive
    node.daemons.start(node.gpu)
    assert node.daemons.observe(node.gpu).ours


def test_a_daemon_that_follows_another_in_our_folder_is_not_ours(node_v2: Node) -> None:
    """Ours was killed, and somebody started one in its place."""
    node = node_v2
    node.daemons.start(node.gpu)
    pipe = node.daemons.pipe_directory(node.gpu)
    old = (pipe / PID_FILE).read_text()
    node.double.kill_daemon(pipe)
    assert eventually(lambda: not node.daemons.observe(node.gpu).alive)
    environment = {
        "CUDA_MPS_PIPE_DIRECTORY": str(pipe),
        "CUDA_MPS_LOG_DIRECTORY": str(pipe.parent / "log"),
        "CUDA_VISIBLE_DEVICES": node.gpu,
    }
    subprocess.run([str(node.double.binary), "-d"], env=environment, check=True)
    assert eventually(lambda: (pipe / PID_FILE).read_text() not in ("", old))
    assert eventually(lambda: node.daemons.observe(node.gpu).alive)
    assert not node.daemons.observe(node.gpu).ours
    with pytest.raises(ForeignError):
        node.daemons.stop(node.gpu)


def test_a_crash_between_start_and_record_leaves_a_daemon_that_is_ours(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(Exception):
        pass

    def crash(*_: object) -> None:
        raise CrashError

    monkeypatch.setattr(NodeDaemons, "_wait_started", crash)
    with pytest.raises(CrashError):
        node.daemons.start(node.gpu)
    monkeypatch.undo()
    again = node.make()
    assert eventually(lambda: again.observe(node.gpu).alive)
    assert again.observe(node.gpu).ours
    again.start(node.gpu)
    assert again.observe(node.gpu).limits == Limits()
    assert node.make().observe(node.gpu).ours
    again.stop(node.gpu)
