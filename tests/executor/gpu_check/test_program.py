"""The whole check on the MPS double, and what it says where something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import InputError
from colocate.executor.gpu_check.program import check
from colocate.executor.gpu_check.world import Sizes, World
from colocate.executor.mps.sms import load_sm_table
from colocate.executor.mps.transcript import ClientEvent, read_transcript
from colocate.executor.ports import GpuFacts, GpuReading
from tests.executor.gpu_check.here import QUICK, TINY, WORKLOAD, world_on
from tests.fakes.double import Double


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "bin") as made:
        yield made
        assert left_behind(tmp_path) == []


def left_behind(folder: Path) -> list[str]:
    """Return the processes that this test has started, but for the daemons of the double."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            given = (entry / "environ").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        mine = bytes(folder) in given or str(folder) in line
        mine = mine or (parent == os.getpid() and str(WORKLOAD) in line)
        if mine and "nvidia-cuda-mps-control" not in line:
            found.append(line)
    return found


def run(world: World, out: Path, sizes: Sizes = TINY) -> tuple[int, dict[str, Any]]:
    world.root.mkdir(mode=0o700, exist_ok=True)
    code = check(world, out, sizes=sizes, say=lambda line: None)
    report = json.loads((out / "report.json").read_text())
    assert report["finished"]
    return code, report


def gpu_name(report: dict[str, Any]) -> str:
    """Return the name of the GPU."""
    name: str = stage(report, "prepare")["facts"]["gpu"]["name"]
    return name


def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in report["stages"] if s["name"] == name)
    return found


def test_from_an_empty_gpu_to_an_empty_gpu(double: Double, tmp_path: Path):
    out = tmp_path / "out"
    code, report = run(world_on(double, tmp_path / "root"), out)
    verdicts = report["verdicts"]
    assert verdicts.pop("held-out pairs") == "not possible"  # there is only one pair
    assert code == 1
    # on a machine that is busy with other things, rates and latencies are not those of the formula
    for name in ("share caps", "compare"):
        assert verdicts.pop(name) in ("passed", "failed")
    assert set(verdicts.values()) == {"passed"}, report
    caps = stage(report, "share caps")["facts"]["points"]
    assert [p["sm_count"] for p in caps] == [132, 32]
    assert load_sm_table(out / "sms.json").whole_sms(gpu_name(report), 132, 25).measured
    assert stage(report, "memory limit")["facts"]["beyond"]["taken"] is False
    assert stage(report, "memory limit")["facts"]["without_limit"]["taken"] is True
    assert stage(report, "apply")["facts"]["steps_of_a_second_apply"] == 0
    compared = stage(report, "compare")["facts"]
    assert {r["workload"] for r in compared["rows"]} == {"bert-inference", "bert-training"}
    for row in compared["rows"]:
        assert abs(row["error"]) < 0.4
    assert compared["p99"]["measured_ms"] > 0.9 * 1000 * 4 / 2000
    assert stage(report, "kill")["facts"]["restarts"] == {"bert-inference": 0, "bert-training": 1}
    assert stage(report, "roll back")["facts"]["same"] is True
    transcript = read_transcript(out / "mps-transcript.jsonl")
    assert transcript.header.gpu == double.uuids[0]
    assert any("quit" in getattr(line, "stdin", "") for line in transcript.lines)
    events = [line for line in transcript.lines if isinstance(line, ClientEvent)]
    came, left = ([e.pid for e in events if e.event == what] for what in ("came", "left"))
    assert sorted(came) == sorted(left)
    # and one for a share that only the pair has
    assert len(came) == len(stage(report, "processes")["facts"]["started"]) + 1
    arrived = [e for e in events if e.event == "came"]
    shares = {e.environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"]: e.sms for e in arrived}
    assert (shares["100"], shares["25"]) == (132, 32)
    assert {"share-caps.svg", "alone.svg", "predicted.svg", "kill.svg"} <= {
        p.name for p in out.iterdir()
    }
    assert double.daemons() == []


@pytest.mark.deep
@pytest.mark.parametrize("poison", [False, True])
def test_the_whole_check_with_pairs_that_are_held_out(tmp_path: Path, poison: bool):
    """With `poison`, a killed client leaves its server in FAULT, as the documentation warns."""
    with Double(tmp_path / "bin", poison=poison) as double:
        code, report = run(world_on(double, tmp_path / "root"), tmp_path / "out", QUICK)
        killed = stage(report, "kill")["facts"]
        assert ("fault" in killed["server_states"]) is poison
        assert (killed["training_back_after_s"] is None) is poison
        assert stage(report, "held-out pairs")["facts"]["mean_error"] < 0.1
        verdicts = {
            name: verdict
            for name, verdict in report["verdicts"].items()
            if name not in ("share caps", "compare") or verdict != "failed"
        }
        assert set(verdicts.values()) == {"passed"}, report["verdicts"]
        assert code == (0 if len(verdicts) == len(report["verdicts"]) else 1)
        assert stage(report, "as found")["verdict"] == "passed"
        assert double.daemons() == []


def test_where_mps_does_not_start_it_says_why_and_measures_the_rest(double: Double, tmp_path: Path):
    double.fail("-d", "exit", code=1)
    code, report = run(world_on(double, tmp_path / "root"), tmp_path / "out")
    assert code == 1
    daemon = stage(report, "daemon")
    assert daemon["verdict"] == "failed"
    assert daemon["facts"]["why"]
    assert daemon["facts"]["compute_mode"] == "default"
    # the products on the whole GPU, and every workload at 100 %
    assert "the whole GPU makes" in stage(report, "share caps")["summary"]
    alone = stage(report, "alone")
    assert alone["verdict"] == "passed"
    assert {p["rows"][0]["share_pct"] for p in alone["facts"]["points"]} == {100}
    for name in ("memory limit", "pairs", "apply", "kill", "roll back"):
        assert report["verdicts"][name] == "not possible", name
    assert report["verdicts"]["as found"] == "passed"


def test_a_cap_or_a_limit_that_does_not_hold_is_found_out(double: Double, tmp_path: Path):
    """Workloads that never become clients get the whole GPU; MPS does not list them."""
    world = world_on(double, tmp_path / "root")
    script = tmp_path / "bypass.py"
    script.write_text(
        "import os, sys\n"
        "os.environ['CUDA_MPS_PIPE_DIRECTORY'] = '/nowhere'\n"
        f"sys.argv[0] = {str(WORKLOAD)!r}\n"
        "from tests.executor.gpu_check.workload import main\n"
        "sys.exit(main())\n"
    )
    world = replace(world, command=lambda kind: (sys.executable, str(script), kind))
    _, report = run(world, tmp_path / "out")
    assert report["verdicts"]["share caps"] == "failed"
    assert "without being an MPS client" in stage(report, "share caps")["summary"]
    assert stage(report, "memory limit")["verdict"] == "failed"
    assert report["verdicts"]["as found"] == "passed"


def test_workloads_that_do_not_start_leave_a_report(double: Double, tmp_path: Path):
    script = "import sys; sys.stderr.write('PyTorch is not installed\\n'); sys.exit(1)"
    world = world_on(
        double,
        tmp_path / "root",
        command=lambda kind: (sys.executable, "-c", script, kind),
        software=lambda: {"python": "3", "torch": None},
    )
    code, report = run(world, tmp_path / "out")
    assert code == 1
    assert report["verdicts"]["prepare"] == "failed"
    assert "missing: torch" in stage(report, "prepare")["summary"]
    assert "PyTorch is not installed" in stage(report, "processes")["summary"]
    assert report["verdicts"]["daemon"] == "passed"
    assert report["verdicts"]["measuring ends"] == "passed"
    assert report["verdicts"]["as found"] == "passed"
    assert double.daemons() == []


def test_what_is_not_as_it_was_is_told(double: Double, tmp_path: Path):
    class Changing:
        """A GPU whose compute mode somebody changes meanwhile, and whose memory fills up."""

        def __init__(self) -> None:
            self.asked = 0

        def facts(self) -> tuple[GpuFacts, ...]:
            self.asked += 1
            (gpu,) = double.gpus.facts()
            mode = "default" if self.asked < 3 else "exclusive_process"
            return (replace(gpu, compute_mode=mode),)

        def read(self, gpu: str) -> GpuReading:
            return GpuReading(seconds=0.0, memory_used_mib=1000.0 if self.asked < 3 else 3000.0)

        def mps_pids(self, gpu: str) -> tuple[int, ...]:
            return ()

    script = "import sys; sys.exit(1)"
    world = world_on(
        double,
        tmp_path / "root",
        gpus=Changing(),
        command=lambda kind: (sys.executable, "-c", script, kind),
    )
    double.fail("-d", "exit", code=1)
    _, report = run(world, tmp_path / "out")
    summary = stage(report, "as found")["summary"]
    assert "compute_mode was default and is exclusive_process" in summary
    assert "2000 MiB more are in use" in summary


def test_ctrl_c_puts_everything_back_and_leaves_a_report(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(state: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("colocate.executor.gpu_check.grid.measure_alone", interrupted)
    world = world_on(double, tmp_path / "root")
    world.root.mkdir(mode=0o700)
    with pytest.raises(KeyboardInterrupt):
        check(world, tmp_path / "out", sizes=TINY, say=lambda line: None)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verdicts"]["as found"] == "passed"
    assert "alone" not in report["verdicts"]
    assert double.daemons() == []


def test_a_folder_that_holds_something_is_left_alone(double: Double, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        check(world_on(double, tmp_path / "root"), tmp_path / "out", sizes=TINY)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "colocate.executor.gpu_check", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_gpu_it_refuses_politely(tmp_path: Path):
    """No GPU, or a driver that does not answer: there is advice, and nothing is written."""
    fake = Path(__file__).resolve().parents[2] / "fakes" / "fake_nvml.py"
    for state in ('{"gpus": []}', '{"init": false}'):
        (tmp_path / "state.json").write_text(state)
        done = program(
            "--out",
            str(tmp_path / "out"),
            COLOCATE_FAKE_NVML=str(fake),
            COLOCATE_FAKE_NVML_STATE=str(tmp_path / "state.json"),
            # the fake is taken in tests only
            PYTEST_CURRENT_TEST="yes",
        )
        assert done.returncode == 2, done.stderr
        assert "Maybe" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_python_without_what_is_needed_is_told_so(tmp_path: Path):
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError('x', name='pydantic')\n")
    done = program("--out", str(tmp_path / "out"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "has no pydantic" in done.stderr
    assert "make gpu-check PYTHON=" in done.stderr
