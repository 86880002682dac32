"""Units start, get ready and stop, and nothing runs on that nobody knows of."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from colocate.executor.errors import UnitError
from colocate.executor.workloads import looking
from tests.executor.workloads.stage import GPU, Stage, eventually, launches, state, unit
from tests.export.launchers.test_hostile import hostile


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wrote(path: Path) -> Any:
    """Return what the program wrote about itself."""

    def read():
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return None

    return eventually(read, f"{path}")


def test_start_ready_stop(stage: Stage):
    processes, one = stage.set("say=hello")
    assert processes.observe() == ()
    processes.start(one, {})
    processes.wait_ready(one.key)
    seen = state(processes, one)
    assert (seen.unit, seen.phase, seen.restarts) == (one, "ready", 0)
    assert len(seen.pids) == 1
    assert os.getsid(seen.pids[0]) == seen.pids[0]
    assert "hello" in eventually(lambda: processes.log(one.key))
    processes.stop(one.key)
    assert processes.observe() == ()
    stage.none_left()
    assert list((stage.root / "units").iterdir()) == []
    processes.stop(one.key)


def test_a_second_start_changes_nothing(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    before = state(processes, one), stage.keeper(one)
    processes.start(one, {})
    assert (state(processes, one), stage.keeper(one)) == before


def test_races_of_starts_leave_one_process(stage: Stage, tmp_path: Path):
    processes, one = stage.set(f"touch={tmp_path}/it")
    failed: list[Exception] = []

    def start():
        try:
            processes.start(one, {})
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    processes.wait_ready(one.key)
    assert len(state(processes, one).pids) == 1
    assert sorted(stage.left()) == sorted([*state(processes, one).pids, stage.keeper(one) or 0])


def test_only_listed_variables_are_passed(stage: Stage, tmp_path: Path):
    file = launches(f"touch={tmp_path}/it", env={"MODEL": "b-{batch}-{share_pct}"})
    processes, one = stage.processes(file), unit(file)
    processes.start(one, {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30"})
    env = wrote(tmp_path / "it")["env"]
    processes.stop(one.key)
    env.pop("LC_CTYPE", None)  # Python's own
    assert env == {
        "PATH": os.environ["PATH"],
        "MODEL": "b-4-30",
        "BATCH": "4",
        "COLOCATE_UNIT": one.key,
        "COLOCATE_FOLDER": str(stage.folder(one)),
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30",
    }


def test_places_are_filled(stage: Stage, tmp_path: Path):
    words = ("say={workload}/{ordinal}/{gpu_uuid}/{share_pct}/{batch}/{key}/{port}/{x}{y}",)
    with pytest.raises(Exception, match=r"argv holds \{x\}"):
        launches(*words)
    file = launches(words[0][:-7], ports={"first": 40_000, "last": 40_100})
    one = unit(file, ordinal=7)
    processes = stage.processes(file)
    processes.start(one, {})
    port = processes.port(one.key)
    assert port is not None
    assert 40_000 <= port <= 40_100
    said = eventually(lambda: processes.log(one.key))
    assert said == f"p/7/{GPU}/30/4/{one.key}/{port}"
    processes.stop(one.key)


def test_hostile_texts_reach_the_process_as_they_are(stage: Stage, tmp_path: Path):
    """No shell and no splitting on the way."""
    texts = [t for t in hostile(400, 8) if t.isprintable() and "{" not in t]
    env = {f"X{i}": text for i, text in enumerate(texts)}
    file = launches(f"touch={tmp_path}/it", *texts, env={**env, "STAGE": str(stage.root)})
    processes, one = stage.processes(file), unit(file)
    processes.start(one, {})
    found = wrote(tmp_path / "it")
    assert found["argv"][2:] == texts
    assert {name: found["env"][name] for name in env} == env


def test_every_unit_has_a_port_of_its_own(stage: Stage):
    first = free_port()
    file = launches("listen={port}", ready={"kind": "tcp"}, ports={"first": first, "last": 65_535})
    processes = stage.processes(file)
    units = [unit(file, ordinal=i) for i in range(3)]
    for one in units:
        processes.start(one, {})
    for one in units:
        processes.wait_ready(one.key)
    ports = {one.key: processes.port(one.key) for one in units}
    assert len(set(ports.values())) == 3
    stage.kill_keeper(units[1])
    processes.start(units[1], {})
    assert processes.port(units[1].key) == ports[units[1].key]


def test_no_port_is_free(stage: Stage):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        processes, one = stage.set(ports={"first": port, "last": port})
        with pytest.raises(UnitError, match=f"no port from {port} to {port} is free"):
            processes.start(one, {})
    assert processes.observe() == ()


# -- readiness -------------------------------------------------------------------------------------


def test_ready_by_tcp(stage: Stage, tmp_path: Path):
    go = tmp_path / "go"
    processes, one = stage.set(
        f"until={go}",
        "listen={port}",
        ready={"kind": "tcp", "interval_s": 0.02},
        ports={"first": free_port(), "last": 65_535},
    )
    processes.start(one, {})
    assert "refused" in eventually(lambda: state(processes, one).detail)
    assert state(processes, one).phase == "starting"
    go.touch()
    processes.wait_ready(one.key)


def test_ready_by_http(stage: Stage):
    probe = {"kind": "http", "url": "http://127.0.0.1:{port}/health?x=1", "interval_s": 0.02}
    ports = {"first": free_port(), "last": 65_535}
    processes, one = stage.set("serve={port}", ready=probe, ports=ports)
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.stop(one.key)


def test_another_status_is_not_ready(stage: Stage):
    probe = {"kind": "http", "url": "http://127.0.0.1:{port}/", "interval_s": 0.02}
    ports = {"first": free_port(), "last": 65_535}
    processes, one = stage.set("status=503", "serve={port}", ready=probe, ports=ports)
    processes.start(one, {})
    eventually(lambda: "status 503" in state(processes, one).detail, "503")
    assert state(processes, one).phase == "starting"


def test_ready_by_file_of_this_process(stage: Stage, tmp_path: Path):
    go, mark = tmp_path / "go", tmp_path / "ready"
    mark.touch()
    os.utime(mark, (time.time() - 100, time.time() - 100))
    processes, one = stage.set(
        f"until={go}",
        f"touch={mark}",
        ready={"kind": "file", "path": str(mark), "interval_s": 0.02},
    )
    processes.start(one, {})
    assert "older than the process" in eventually(lambda: state(processes, one).detail)
    go.touch()
    processes.wait_ready(one.key)


def test_ready_by_command(stage: Stage, tmp_path: Path):
    go = tmp_path / "go"
    probe = {"kind": "command", "argv": ["test", "-e", str(go)], "interval_s": 0.02}
    processes, one = stage.set(ready=probe)
    processes.start(one, {})
    assert "test ended with 1" in eventually(lambda: state(processes, one).detail)
    go.touch()
    processes.wait_ready(one.key)


def test_never_ready(stage: Stage, tmp_path: Path):
    never = tmp_path / "never"
    probe = {"kind": "file", "path": str(never), "interval_s": 0.02, "deadline_s": 0.5}
    argv = ["/bin/sh", "-c", "echo waiting for a licence; exec sleep 100"]
    processes, one = stage.set(argv=argv, ready=probe)
    processes.start(one, {})
    words = "is failed: not ready within 0.5 s: .*never: No such.*it wrote: waiting for a licence"
    with pytest.raises(UnitError, match=words):
        processes.wait_ready(one.key)
    assert state(processes, one).phase == "failed"
    assert state(processes, one).pids == ()
    stage.none_left()
    processes.stop(one.key)
    assert processes.observe() == ()


def test_dies_at_once(stage: Stage):
    alive = {"kind": "alive", "settle_s": 50}
    processes, one = stage.set("say=no such model", "exit=3", ready=alive)
    processes.start(one, {})
    with pytest.raises(UnitError, match="ended with code 3; it wrote: no such model"):
        processes.wait_ready(one.key)
    seen = state(processes, one)
    assert (seen.phase, seen.pids, seen.restarts) == ("failed", (), 0)


def test_a_task_that_is_done_is_not_started_again(stage: Stage):
    file = launches("for=0.2")
    processes, one = stage.processes(file), unit(file, role="task")
    processes.start(one, {})
    processes.wait_ready(one.key)
    eventually(lambda: state(processes, one).phase == "stopped", "the end")
    stage.none_left()
    assert state(processes, one).restarts == 0


# -- programs that cannot be run -------------------------------------------------------------------


def test_programs_that_cannot_be_run(stage: Stage, tmp_path: Path):
    data, open_to_all, broken = (tmp_path / n for n in ("data", "open", "broken"))
    for path, mode in ((data, 0o600), (open_to_all, 0o777), (broken, 0o700)):
        path.write_text("#!/no/such/interpreter\n")
        path.chmod(mode)
    for program, words in (
        ("/no/such/program", "cannot be used: No such file"),
        ("no-such-program-anywhere", "is not in PATH"),
        (str(data), "is no file that may be run"),
        (str(tmp_path), "is no file that may be run"),
        (str(open_to_all), "may be changed by everybody"),
    ):
        processes, one = stage.set(argv=[program])
        with pytest.raises(UnitError, match=words):
            processes.start(one, {})
        assert processes.observe() == ()
    processes, one = stage.set(argv=[str(broken)])
    processes.start(one, {})
    with pytest.raises(UnitError, match="cannot be started: No such file"):
        processes.wait_ready(one.key)
    assert state(processes, one).phase == "failed"


def test_no_such_directory(stage: Stage, tmp_path: Path):
    processes, one = stage.set(directory=str(tmp_path / "gone"))
    processes.start(one, {})
    with pytest.raises(UnitError, match="cannot be started: No such file"):
        processes.wait_ready(one.key)


def test_another_launch_file_than_it_was_planned_with(stage: Stage):
    _, one = stage.set()
    for file in (None, launches("say=changed"), launches(id="q")):
        with pytest.raises(UnitError, match=r"(needs program|is another one)"):
            stage.processes(file).start(one, {})
    assert not (stage.root / "units").exists()


# -- files -----------------------------------------------------------------------------------------


def test_nobody_else_may_read_the_environment(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    for path in [stage.folder(one), *stage.folder(one).iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_folder_of_others_is_refused(stage: Stage, tmp_path: Path):
    processes, one = stage.set()
    stage.root.mkdir()
    (stage.root / "units").symlink_to(tmp_path)
    with pytest.raises(UnitError, match="this user alone"):
        processes.start(one, {})
    (stage.root / "units").unlink()
    (stage.root / "units").mkdir(mode=0o777)
    (stage.root / "units").chmod(0o777)
    with pytest.raises(UnitError, match="this user alone"):
        processes.start(one, {})


def test_what_writes_much_keeps_a_small_log(stage: Stage):
    processes, one = stage.set("shout=4096", "say=last", log_mib=1)
    processes.start(one, {})
    processes.wait_ready(one.key)
    folder = stage.folder(one)
    eventually(lambda: (folder / "log.1").exists(), "the second file")
    eventually(lambda: (folder / "log").stat().st_size <= 1 << 20, "the cut")
    assert (folder / "log.1").stat().st_size <= 1 << 20


def test_keys_that_are_no_names(stage: Stage):
    processes, _ = stage.set()
    for key in ("", ".", "..", "../x", "a/b", "a\nb", "-x", "x" * 200):
        with pytest.raises(UnitError, match="a key that is no name"):
            processes.stop(key)
        with pytest.raises(UnitError, match="a key that is no name"):
            processes.wait_ready(key)


def test_unknown_units(stage: Stage):
    processes, _ = stage.set()
    for call in (processes.wait_ready, processes.pause, processes.resume):
        with pytest.raises(UnitError, match="there is no unit"):
            call("nobody.0.00000000")
    processes.switch("nobody.0.00000000", None)


def test_a_keeper_that_does_not_answer_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    processes, one = stage.set(stop={"grace_s": 0.1})
    processes.start(one, {})
    processes.wait_ready(one.key)
    keeper = stage.keeper(one)
    assert keeper is not None
    os.kill(keeper, signal.SIGSTOP)
    monkeypatch.setattr(looking, "SLACK", 0.2)
    with pytest.raises(UnitError, match="was not stopped in time"):
        processes.stop(one.key)
    assert len(state(processes, one).pids) == 1
    os.kill(keeper, signal.SIGCONT)
    monkeypatch.undo()
    processes.stop(one.key)
    stage.none_left()
