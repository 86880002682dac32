"""What a node does when its daemons, folders or clock misbehave: the right error, in time, and
nothing lost.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import ColocateError
from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps import NodeDaemons, identity
from colocate.executor.mps.control import ControlError
from colocate.executor.ports import Limits
from tests.fakes.double import Double, short_folder

deep = pytest.mark.deep


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.double = Double(folder / "bin")
        self.gpu = self.double.uuids[0]

    def daemons(self, **changes: Any) -> NodeDaemons:
        values: dict[str, Any] = {
            "binary": self.double.binary,
            "allow_root": True,
            "gpus": self.double.gpus,
            "other_pipes": (),
            **changes,
        }
        return NodeDaemons(self.folder / "root", **values)


@pytest.fixture
def site() -> Iterator[Site]:
    with short_folder() as folder:
        made = Site(folder)
        yield made
        made.double.close()


@pytest.fixture
def running(site: Site) -> Site:
    site.daemons().start(site.gpu)
    return site


def failure(act: Callable[[], object]) -> ColocateError:
    with pytest.raises(ColocateError) as caught:
        act()
    assert caught.value.advice, caught.value
    return caught.value


def kind(act: Callable[[], object]) -> str:
    error = failure(act)
    assert isinstance(error, ControlError)
    assert error.exit_code == 5
    return error.kind


LIMITS = Limits(share_pct=40, memory_limit_mib=4096)


def test_a_missing_program(site: Site) -> None:
    daemons = site.daemons(binary=site.folder / "none")
    assert not daemons.observe(site.gpu).alive  # nothing runs, so nothing need be asked
    assert kind(lambda: daemons.start(site.gpu)) == "missing"


@pytest.mark.parametrize(
    ("do", "more", "expected"),
    [
        ("hang", {}, "timeout"),
        ("garbage", {}, "reply"),
        ("exit", {"value": "User did not send valid credentials"}, "status"),
        pytest.param("exit", {"value": "No space left on device"}, "status", marks=deep),
        pytest.param("busy", {}, "refused", marks=deep),
    ],
)
def test_a_daemon_that_does_not_answer_well(
    running: Site, do: str, more: dict[str, Any], expected: str
) -> None:
    """While it is so nothing is believed; afterwards everything is as it was."""
    daemons = running.daemons(deadline_s=3.0)
    daemons.set_limits(running.gpu, LIMITS)
    running.double.fail("get_server_list", do, **more)
    impatient = running.daemons(deadline_s={"hang": 0.4, "busy": 3.0}.get(do, 20.0))
    began = time.monotonic()
    assert kind(lambda: impatient.observe(running.gpu)) == expected
    assert kind(lambda: impatient.stop(running.gpu)) == expected
    assert time.monotonic() - began < 30
    running.double.heal()
    assert daemons.observe(running.gpu).limits == LIMITS


@pytest.mark.parametrize(
    "do", ["ignore", pytest.param("exit", marks=deep), pytest.param("garbage", marks=deep)]
)
def test_a_setting_that_is_not_taken_is_noticed(running: Site, do: str) -> None:
    running.double.fail("set_default_active_thread_percentage", do)
    daemons = running.daemons()
    assert kind(lambda: daemons.set_limits(running.gpu, LIMITS)) in {"status", "reply"}
    running.double.heal()
    daemons.set_limits(running.gpu, LIMITS)
    assert daemons.observe(running.gpu).limits == LIMITS


def test_a_daemon_that_dies_in_the_middle(running: Site) -> None:
    running.double.fail("set_default_active_thread_percentage", "kill-daemon-after")
    daemons = running.daemons()
    assert kind(lambda: daemons.set_limits(running.gpu, LIMITS)) == "no-daemon"
    running.double.heal()
    assert not daemons.observe(running.gpu).alive
    daemons.start(running.gpu)
    state = daemons.observe(running.gpu)
    assert state.ours
    assert state.limits == Limits()  # what was set is lost with the daemon, and reads so


@pytest.mark.parametrize(
    ("do", "value"),
    [
        ("exit", "Permission denied"),
        pytest.param("exit", "Read-only file system", marks=deep),
        pytest.param("exit", "No space left on device", marks=deep),
        pytest.param("exit", "An instance of this daemon is already running", marks=deep),
        ("hang", ""),
        ("no-daemon", ""),
    ],
)
def test_a_daemon_that_does_not_start(site: Site, do: str, value: str) -> None:
    site.double.fail("-d", do, value=value)
    daemons = site.daemons(start_deadline_s=30.0 if value else 0.5)
    error = failure(lambda: daemons.start(site.gpu))
    assert error.exit_code == 5
    assert value in error.message
    assert not daemons.observe(site.gpu).alive
    site.double.heal()
    site.daemons().start(site.gpu)
    assert site.daemons().observe(site.gpu).ours


def test_a_socket_path_that_is_too_long_starts_nothing(site: Site) -> None:
    deep = site.folder / ("d" * 90)
    daemons = NodeDaemons(
        deep, site.double.binary, allow_root=True, gpus=site.double.gpus, other_pipes=()
    )
    assert "107" in failure(lambda: daemons.start(site.gpu)).message
    assert site.double.commands() == []
    assert not deep.exists()


@pytest.mark.parametrize("name", ["record", "start.out"])
def test_a_disk_that_is_full(site: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = os.write
    real_open = os.open

    def full(path: Any, *rest: Any, **more: Any) -> int:
        wanted = "daemon.json" if name == "record" else name
        if wanted in str(path) and rest[0] & (os.O_WRONLY | os.O_RDWR):
            raise OSError(28, "No space left on device")
        return real_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    assert os.write is write
    error = failure(lambda: site.daemons().start(site.gpu))
    assert "No space left on device" in error.message
    assert site.double.commands() == []  # nothing was started that would not be known again
    monkeypatch.undo()
    site.daemons().start(site.gpu)


def test_a_record_that_makes_no_sense_is_no_claim(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    record = identity.Record(
        gpu="GPU-x",
        state="running",
        boot_id="b",
        since_ticks=1,
        pipe="/p",
        log="/l",
        dialect="v2",
        pid=5,
        start_ticks=2,
    )
    assert identity.read_record(path) is None
    identity.write_record(path, record)
    assert identity.read_record(path) == record
    good = path.read_text()
    for text in (
        "",
        "{",
        "[]",
        '{"pid": 1}',
        good.replace('"v2"', '"v9"'),
        "\x00",
        good.replace("5", '"5"'),
        "[" * 9999,
    ):
        path.write_text(text)
        assert identity.read_record(path) is None


def test_a_record_of_another_boot_is_no_claim(
    running: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "boot_id", lambda: "another")
    assert not running.daemons().observe(running.gpu).ours


def test_the_wall_clock_may_jump(running: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is decided here depends on it."""
    daemons = running.daemons()
    for jump in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.8e9 + jump)
        assert daemons.observe(running.gpu).ours


def test_links_in_place_of_files_are_not_followed(running: Site) -> None:
    base = running.folder / "root/mps/00000001"
    for name in ("daemon.json", "pipe/nvidia-cuda-mps-control.pid"):
        path = base / name
        content = path.read_bytes()
        path.unlink()
        path.symlink_to("/etc/hostname")
        failure(lambda: running.daemons().observe(running.gpu))
        path.unlink()
        path.write_bytes(content)
    (base / "log").rename(base / "moved")
    (base / "log").symlink_to(base / "moved")
    with pytest.raises(ForeignError, match="symbolic link"):
        running.daemons().observe(running.gpu)


def test_a_gpu_that_fell_off(running: Site) -> None:
    running.double.gpus.lost.add(running.gpu)
    error = failure(lambda: running.daemons().stop(running.gpu))
    assert isinstance(error, MpsError)
    running.double.gpus.lost.clear()
    running.daemons().stop(running.gpu)


def test_two_starts_at_once_make_one_daemon(site: Site) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from colocate.executor.mps import NodeDaemons\n"
        "from tests.fakes.double import KnownGpus\n"
        "from tests.fakes.mps_core import Gpu, Machine\n"
        "gpus = KnownGpus(Machine(gpus=(Gpu(sys.argv[4]),)))\n"
        "NodeDaemons(Path(sys.argv[2]), sys.argv[3], allow_root=True, gpus=gpus,\n"
        "            other_pipes=()).start(sys.argv[4])\n"
    )
    import sys

    root = Path(__file__).parents[3]
    argv = [sys.executable, "-c", code, str(root), str(site.folder / "root")]
    both = [
        subprocess.Popen(
            [*argv, str(site.double.binary), site.gpu], cwd=root, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    codes = []
    for process in both:
        process.communicate(timeout=120)
        codes.append(process.returncode)
    assert 0 in codes  # the other may have been told that there is one already
    assert site.daemons().observe(site.gpu).ours
    assert len(site.double.daemons()) == 1
