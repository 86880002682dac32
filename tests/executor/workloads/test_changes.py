"""What changes while a process runs: its batch size, whether it is halted, who gets requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from colocate.executor.errors import UnitError
from colocate.executor.workloads import looking
from colocate.executor.workloads.keeper import procs
from tests.executor.workloads.stage import Stage, eventually, launches, state, unit

HTTP = {
    "kind": "http",
    "url": "http://127.0.0.1:{port}/batch?to={batch}",
    "body": '{"size": {batch}}',
}
PROBE = {"kind": "tcp", "interval_s": 0.02}


def ports() -> dict[str, int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return {"first": one.getsockname()[1], "last": 65_535}


def halted(pids: Any) -> list[bool]:
    found = [procs.find(pid) for pid in pids]
    return [p is not None and p.state == "T" for p in found]


def restart(stage: Stage, processes: Any, one: Any) -> None:
    """Have the process die and come back."""
    before = state(processes, one)
    os.kill(before.pids[0], signal.SIGKILL)
    eventually(lambda: state(processes, one).restarts > before.restarts, "the restart")
    eventually(lambda: state(processes, one).phase == "ready", "ready again")


QUICK = {"first_wait_s": 0.05}

# -- batch sizes -----------------------------------------------------------------------------------


def test_batch_by_http(stage: Stage):
    processes, one = stage.set(
        "serve={port}", batch=HTTP, ready=PROBE, ports=ports(), restart=QUICK
    )
    assert processes.can_set_batch(one)
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    processes.set_batch(one.key, 16)
    now = state(processes, one)
    assert (now.unit.batch, now.unit.key, now.pids) == (16, one.key, (pid,))
    restart(stage, processes, one)
    assert state(processes, one).unit.batch == 16
    stage.kill_keeper(one)
    assert state(processes, one).unit.batch == 16
    processes.stop(one.key)


def test_batch_by_command(stage: Stage, tmp_path: Path):
    script = tmp_path / "set"
    script.write_text(
        f'#!/bin/sh\necho "$1 $BATCH $COLOCATE_UNIT" >> {tmp_path}/sets\n[ $1 != 13 ]\n'
    )
    script.chmod(0o700)
    setter = {"kind": "command", "argv": [str(script), "{batch}"]}
    file = launches("say={batch}", batch=setter, restart=QUICK)
    processes, one = stage.processes(file), unit(file)
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.set_batch(one.key, 8)
    lines = (tmp_path / "sets").read_text().splitlines()
    assert lines == [f"{b}  {one.key}" for b in (4, 8)]
    with pytest.raises(UnitError, match=r"stays at batch 8: .*set ended with 1"):
        processes.set_batch(one.key, 13)
    assert state(processes, one).unit.batch == 8
    eventually(lambda: processes.log(one.key) == "4", "its start")
    # it comes back at what was set last, by its arguments too
    restart(stage, processes, one)
    assert (tmp_path / "sets").read_text().splitlines()[-1] == f"8  {one.key}"
    eventually(lambda: processes.log(one.key) == "4 8", "its second start")
    processes.stop(one.key)


CONFIG = """# Triton
name: "bert"
max_batch_size: 4  # as planned
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 }
"""


def test_batch_by_triton(stage: Stage, tmp_path: Path):
    config = tmp_path / "config.pbtxt"
    config.write_text(CONFIG)
    config.chmod(0o640)
    setter = {
        "kind": "triton",
        "url": "http://127.0.0.1:{port}",
        "model": "bert",
        "config": f"{tmp_path}/config.pbtxt",
    }
    file = launches(
        "serve={port}", batch=setter, ready=PROBE, ports=ports(), env={"TRITON_CONFIG": str(config)}
    )
    processes, one = stage.processes(file), unit(file)
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.set_batch(one.key, 32)
    assert config.read_text() == CONFIG.replace("max_batch_size: 4", "max_batch_size: 32")
    assert config.stat().st_mode & 0o777 == 0o640
    assert state(processes, one).unit.batch == 32
    config.write_text("max_batch_size: 1\nmax_batch_size: 2\n")
    with pytest.raises(UnitError, match="max_batch_size is given 2 times"):
        processes.set_batch(one.key, 64)
    assert config.read_text() == "max_batch_size: 1\nmax_batch_size: 2\n"
    processes.stop(one.key)


def test_a_server_that_loads_something_else(stage: Stage, tmp_path: Path):
    """What is set is read back."""
    (tmp_path / "config.pbtxt").write_text(CONFIG)
    (tmp_path / "other.pbtxt").write_text("max_batch_size: 7\n")
    setter = {
        "kind": "triton",
        "url": "http://127.0.0.1:{port}",
        "model": "bert",
        "config": f"{tmp_path}/config.pbtxt",
    }
    env = {"TRITON_CONFIG": f"{tmp_path}/other.pbtxt", "STAGE": str(stage.root)}
    probe = {**PROBE, "deadline_s": 1}
    file = launches("serve={port}", batch=setter, ready=probe, ports=ports(), env=env)
    processes, one = stage.processes(file), unit(file)
    processes.start(one, {})
    with pytest.raises(UnitError, match="was loaded with max_batch_size 7, not 4"):
        processes.wait_ready(one.key)
    assert (tmp_path / "config.pbtxt").read_text() == CONFIG
    stage.none_left()


@pytest.mark.parametrize(
    "batch", [{"kind": "environment", "variable": "B"}, {"kind": "fixed", "batch": 4}]
)
def test_batch_that_takes_a_new_process(stage: Stage, batch: dict[str, Any]):
    processes, one = stage.set(batch=batch)
    assert not processes.can_set_batch(one)
    processes.start(one, {})
    processes.wait_ready(one.key)
    with pytest.raises(UnitError, match="learns its batch size when it starts"):
        processes.set_batch(one.key, 8)
    assert state(processes, one).unit.batch == 4


def test_batch_of_what_does_not_run(stage: Stage):
    setter = {"kind": "command", "argv": ["true", "{batch}"]}
    alive = {"kind": "alive", "settle_s": 0}
    processes, one = stage.set("for=0.1", batch=setter, ready=alive, restart={"when": "never"})
    processes.start(one, {})
    eventually(lambda: state(processes, one).phase in ("stopped", "failed"), "the end")
    with pytest.raises(UnitError, match="does not run"):
        processes.set_batch(one.key, 8)


def test_a_change_that_takes_too_long_is_taken_back(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The caller was told that it failed, so it must not come true later."""
    script = tmp_path / "set"
    script.write_text(f"#!/bin/sh\nif [ $1 = 8 ]; then sleep 1; fi; echo $1 >> {tmp_path}/sets\n")
    script.chmod(0o700)
    setter = {"kind": "command", "argv": [str(script), "{batch}"]}
    alive = {"kind": "alive", "settle_s": 0, "interval_s": 0.02, "deadline_s": 3}
    processes, one = stage.set(batch=setter, ready=alive)
    processes.start(one, {})
    processes.wait_ready(one.key)
    with monkeypatch.context() as patch:
        patch.setattr(looking, "call_seconds", lambda _: -2.6)
        with pytest.raises(UnitError, match="is ready"):
            processes.set_batch(one.key, 8)
    folders = processes._folders

    def dealt_with():
        status = folders.status(one.key)
        return status is not None and status.serial == folders.wanted(one.key).serial

    eventually(dealt_with, "the answer")
    assert state(processes, one).unit.batch == 4
    assert (tmp_path / "sets").read_text().split()[-1] == "4"


# -- halting ---------------------------------------------------------------------------------------


def test_pause_and_resume(stage: Stage):
    setter = {"kind": "command", "argv": ["true", "{batch}"]}
    processes, one = stage.set("child=session", "say=up", pausable=True, batch=setter)
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    processes.wait_ready(one.key)
    pids = eventually(lambda: (p := state(processes, one).pids) and len(p) == 2 and p, "both")
    processes.pause(one.key)
    assert (state(processes, one).phase, state(processes, one).pids) == ("paused", pids)
    assert halted(pids) == [True, True]
    with pytest.raises(UnitError, match="stays at batch 4: it is halted"):
        processes.set_batch(one.key, 8)
    processes.resume(one.key)
    assert state(processes, one).phase == "ready"
    assert halted(pids) == [False, False]
    processes.set_batch(one.key, 8)
    processes.pause(one.key)
    processes.stop(one.key)
    stage.none_left()


def test_what_may_not_be_halted(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    with pytest.raises(UnitError, match="may not be halted"):
        processes.pause(one.key)
    assert halted(state(processes, one).pids) == [False]


def test_pause_while_it_backs_off(stage: Stage, tmp_path: Path):
    """Nothing is started while it is halted."""
    alive = {"kind": "alive", "settle_s": 0}
    processes, one = stage.set(
        f"count={tmp_path}/n", "for=0.1", ready=alive, pausable=True, restart={"first_wait_s": 0.4}
    )
    processes.start(one, {})
    eventually(lambda: state(processes, one).phase == "backing_off", "the wait")
    processes.pause(one.key)
    before = (tmp_path / "n").read_text()
    threading.Event().wait(0.6)
    assert state(processes, one).phase == "paused"
    assert (tmp_path / "n").read_text() == before
    processes.resume(one.key)
    eventually(lambda: (tmp_path / "n").read_text() != before, "the restart")


def test_changes_after_the_keeper_was_killed(stage: Stage):
    """A guard can halt a task whoever keeps it."""
    setter = {"kind": "command", "argv": ["true", "{batch}"]}
    processes, one = stage.set(pausable=True, batch=setter)
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    stage.kill_keeper(one)
    processes.pause(one.key)
    assert halted([pid]) == [True]
    stage.kill_keeper(one)
    processes.resume(one.key)
    assert halted([pid]) == [False]
    stage.kill_keeper(one)
    processes.set_batch(one.key, 16)
    now = state(processes, one)
    assert (now.unit.batch, now.phase, now.pids) == (16, "ready", (pid,))
    stage.kill_keeper(one)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not state(processes, one).pids, "its end")
    with pytest.raises(UnitError, match="does not run"):
        processes.pause(one.key)
    with pytest.raises(UnitError, match="does not run"):
        processes.set_batch(one.key, 32)


# -- switching -------------------------------------------------------------------------------------


def test_switch_by_command(stage: Stage, tmp_path: Path):
    places = ["{workload}", "{ordinal}", "{old_key}", "{old_port}", "{new_key}", "{new_port}"]
    call = {"kind": "command", "argv": ["sh", "-c", f'echo "$@" >> {tmp_path}/said', "-", *places]}
    file = launches(switch=call, ports=ports())
    old, new = unit(file), unit(file, share_pct=50)
    processes = stage.processes(file)
    for one in (old, new):
        processes.start(one, {})
        processes.wait_ready(one.key)
    at = {one.key: processes.port(one.key) for one in (old, new)}
    processes.switch(None, old.key)
    processes.switch(old.key, new.key)
    processes.stop(old.key)
    processes.switch(new.key, None)
    assert (tmp_path / "said").read_text().splitlines() == [
        f"p 0 - - {old.key} {at[old.key]}",
        f"p 0 {old.key} {at[old.key]} {new.key} {at[new.key]}",
        f"p 0 {new.key} {at[new.key]} - -",
    ]


def test_a_switch_that_fails(stage: Stage):
    for argv, words in ((["false"], "false ended with 1"), (["sleep", "9"], "longer than 0.1 s")):
        call = {"kind": "command", "argv": argv, "timeout_s": 0.1 if argv[0] == "sleep" else 50}
        processes, one = stage.set(switch=call)
        processes.start(one, {})
        with pytest.raises(UnitError, match=f"requests were not switched from None to .*{words}"):
            processes.switch(None, one.key)
        processes.stop(one.key)


def test_switch_by_http(stage: Stage):
    got: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.command, self.path, json.loads(body)))
            self.send_response(200 if len(got) == 1 else 302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            call = {
                "kind": "http",
                "method": "PUT",
                "url": f"http://127.0.0.1:{server.server_port}/routes/{{workload}}",
                "body": '{"old": "{old_key}", "new": "{new_key}"}',
            }
            processes, one = stage.set(switch=call)
            processes.start(one, {})
            processes.switch(None, one.key)
            assert got == [("PUT", "/routes/p", {"old": "-", "new": one.key})]
            with pytest.raises(UnitError, match="status 302"):
                processes.switch(None, one.key)
        finally:
            server.shutdown()
            thread.join()


def test_without_a_switch_nobody_is_told(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.switch(None, one.key)
    processes.switch(one.key, None)
    processes.switch(None, None)


def test_the_switch_is_no_client_of_the_gpu(stage: Stage, tmp_path: Path):
    code = f"import os; open('{tmp_path}/env', 'w').write(' '.join(os.environ))"
    call = {"kind": "command", "argv": [sys.executable, "-I", "-S", "-c", code]}
    processes, one = stage.set(switch=call)
    processes.start(one, {"CUDA_MPS_PIPE_DIRECTORY": "/x"})
    processes.switch(None, one.key)
    assert "CUDA" not in (tmp_path / "env").read_text()
