"""Real processes with the synthetic workload: rates come out, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

import colocate
from colocate.executor.errors import ForeignError, MpsError, UnitError
from colocate.executor.measure.bench import BadStartError, GpuAbout
from colocate.executor.measure.link import CannotRunError, Listener
from colocate.executor.measure.process_bench import ProcessBench
from colocate.executor.measure.shares import MpsShares
from colocate.executor.measure.tenants import Tenant, Workload
from colocate.executor.measure.workloads.synthetic import SM_COUNT, rate
from colocate.executor.ports import Client, DaemonState, Limits
from colocate.executor.unit import Unit

MODULE = "colocate.executor.measure.workloads"
ABOUT = GpuAbout(gpu_type="None", uuid="GPU-0")
PATIENCE_S = 60.0


def program(name: str = "one", **environment: str) -> Workload:
    return Workload(
        name=name,
        role="training",
        command=(sys.executable, "-m", MODULE, "synthetic"),
        environment=environment,
    )


def tenant(name: str = "one", batch: int = 4, share: int = 100, **more: float) -> Tenant:
    return Tenant(workload=name, batch=batch, share_pct=share, **more)


class Daemons:
    """As much of the port as measuring needs; `clients` are whatever the test says."""

    def __init__(self, bench: list[ProcessBench], dialect: str = "v2") -> None:
        self.bench, self.dialect = bench, dialect
        self.alive = False
        self.strangers: list[int] = []
        self.blind = False
        self.calls: list[str] = []
        self.limits: list[Limits] = []

    def observe(self, gpu: str) -> DaemonState:
        pids = list(self.strangers)
        for bench in self.bench if not self.blind else ():
            pids += [p for g in [*bench._busy, *bench._idle] for p in g.pids]
        return DaemonState(
            gpu=gpu,
            alive=self.alive,
            ours=True,
            dialect=self.dialect if self.alive else None,  # type: ignore[arg-type]
            server="active",
            limits=Limits() if self.alive else None,
            clients=tuple(Client(pid=p, server_pid=1, unit=None) for p in pids),
        )

    def start(self, gpu: str) -> None:
        self.calls.append("start")
        self.alive = True

    def stop(self, gpu: str) -> None:
        self.calls.append("stop")
        self.alive = False

    def set_limits(self, gpu: str, limits: Limits) -> None:
        self.limits.append(limits)

    def environment(self, unit: Unit) -> dict[str, str]:
        return {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(unit.share_pct)}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[object]:
    benches: list[ProcessBench] = []

    def build(*programs: Workload, daemons: Daemons | None = None, **more) -> ProcessBench:
        shares = None if daemons is None else MpsShares(daemons, "GPU-0")  # type: ignore[arg-type]
        if shares is not None:
            shares.start()
        more = {"start_s": PATIENCE_S, "prepare_s": PATIENCE_S, "answer_s": PATIENCE_S, **more}
        bench = ProcessBench({p.name: p for p in programs}, ABOUT, tmp_path, shares=shares, **more)
        benches.append(bench)
        if daemons is not None:
            daemons.bench.append(bench)
        return bench

    yield build
    for bench in benches:
        pids = [g._process.pid for g in [*bench._busy, *bench._idle]]
        bench.close()
        assert not bench._listener.folder.exists()
        for pid in pids:
            assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def rates(company, tenants, seconds: float = 0.25) -> list[float]:
    """Return steady rates: of several windows the largest, for a busy machine only slows down."""
    company.set(tenants)
    company.window(0.05)
    windows = [company.window(seconds) for _ in range(2)]
    return [max(w[i].rate for w in windows) for i in range(len(tenants))]


def test_rates_are_those_of_the_formula_at_every_batch_and_share(make):
    bench = make(program("one"), program("two"), daemons=Daemons([]), parked=4)
    for share in (100, 40):
        company = bench.enter([tenant("one", share=share)])
        for batch in (2, 16):
            (found,) = rates(company, [tenant("one", batch, share)])
            assert found == pytest.approx(rate(batch, share), rel=0.1)
        assert company.facts()[0].sm_count == SM_COUNT * share // 100
        company.leave()
    pair = [tenant("one", 4, 40), tenant("two", 8, 60)]
    company = bench.enter(pair)
    both = rates(company, pair)
    assert both == pytest.approx([rate(4, 40), rate(8, 60)], rel=0.1)
    company.leave()


def test_arrivals_do_not_wait_for_answers(make):
    bench = make(program())
    me = replace(tenant(batch=4), arrival_rps=100.0)  # half of the 200 a second that it can
    company = bench.enter([me])
    company.set([me])
    company.window(0.3)
    windows = [company.window(1.0)[0] for _ in range(2)]
    samples, seconds = sum(w.samples for w in windows), sum(w.seconds for w in windows)
    assert samples / seconds == pytest.approx(100, rel=0.35)
    latencies = [v for w in windows for v in w.latencies_ms]
    assert len(latencies) == samples
    # single batches may be quicker: the workload makes up for waits that were too long
    assert median(latencies) >= 0.9 * 1000 * 4 / rate(4, 100)
    # far too many: they pile up, and latencies count from the arrival
    company.set([replace(me, arrival_rps=1000.0)])
    company.window(0.3)
    (late,) = company.window(0.6)
    assert late.waiting > 300
    assert max(late.latencies_ms) > 400
    company.leave()


def test_what_cannot_run_says_so_and_goes_on_at_another_batch(make):
    bench = make(program(SYNTHETIC_MOST="8"))
    company = bench.enter([tenant()])
    with pytest.raises(CannotRunError, match="out of memory at batch 16"):
        company.set([tenant(batch=16)])
    (found,) = rates(company, [tenant(batch=8)])
    assert found == pytest.approx(rate(8, 100), rel=0.1)
    company.leave()


def test_parked_processes_are_the_same_ones_again_and_rest_meanwhile(make):
    bench = make(program("one"), program("two"), daemons=Daemons([]), parked=1)
    first = bench.enter([tenant("one")])
    (pid,) = first.facts()[0].pids
    rates(first, [tenant("one")], 0.1)
    first.leave()
    again = bench.enter([tenant("one")])
    assert again.facts()[0].pids == (pid,)
    assert not again.fresh
    again.leave()
    other = bench.enter([tenant("two")])
    other.leave()
    assert not alive(pid)  # only one may wait
    bench.renew()
    last = bench.enter([tenant("two")])
    assert last.fresh
    last.leave()


def test_a_program_that_ends_is_told_with_its_last_words(make):
    script = "import sys; sys.stderr.write('no GPU here\\n'); sys.exit(3)"
    bad = Workload(name="bad", role="training", command=(sys.executable, "-c", script))
    bench = make(bad, program("one"), daemons=Daemons([]))
    with pytest.raises(BadStartError, match="exit code 3 before it reported; it wrote: no GPU"):
        bench.enter([tenant("one"), tenant("bad")])
    assert bench._busy == bench._idle == []


def test_a_program_that_does_not_report_is_ended_at_its_deadline(make):
    mute = Workload(name="mute", role="training", command=("/bin/sleep", "600"))
    bench = make(mute, start_s=0.3)
    began = time.monotonic()
    with pytest.raises(BadStartError, match="0 of 1 processes reported in time"):
        bench.enter([tenant("mute")])
    assert time.monotonic() - began < 20
    missing = Workload(name="gone", role="training", command=("/nowhere/program",))
    with pytest.raises(BadStartError, match="does not start"):
        make(missing).enter([tenant("gone")])


def test_a_process_that_dies_while_it_is_measured_is_noticed(make):
    bench = make(program(SYNTHETIC_EXIT_AFTER="5"), parked=3)
    company = bench.enter([tenant()])
    company.set([tenant()])

    def measure() -> None:
        while True:
            company.window(0.05)

    with pytest.raises(UnitError, match="has gone"):
        measure()
    company.leave()
    assert bench._idle == []


def test_a_process_that_does_not_want_to_end_is_ended(make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("colocate.executor.measure.processes.GRACE_S", 0.3)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from colocate.executor.measure.worker import Worker\n"
        "from colocate.executor.measure.workloads.synthetic import Synthetic\n"
        "worker = Worker(Synthetic())\n"
        "worker._answer = lambda message: None\n"
        "signal.signal = lambda *given: None\n"
        "worker.run()\n"
    )
    stubborn = Workload(name="one", role="training", command=(sys.executable, "-c", script))
    bench = make(stubborn)
    company = bench.enter([tenant()])
    (pid,) = company.facts()[0].pids
    company.leave()
    assert not alive(pid)
    assert bench.forced == ["one.1: SIGKILL"]


def test_without_mps_there_are_no_shares(make):
    bench = make(program("one"), program("two"))
    with pytest.raises(BadStartError, match="without MPS"):
        bench.enter([tenant("one", share=50)])
    with pytest.raises(BadStartError, match="without MPS"):
        bench.enter([tenant("one"), tenant("two")])


def test_a_process_that_bypasses_mps_is_not_measured(make):
    daemons = Daemons([])
    bench = make(program(), daemons=daemons, parked=2)
    daemons.blind = True
    company = bench.enter([tenant(share=50)])
    with pytest.raises(MpsError, match="without being an MPS client"):
        company.set([tenant(share=50)])
    company.leave()
    assert bench._idle == []


def test_nobody_is_measured_beside_strangers(make):
    daemons = Daemons([])
    daemons.alive, daemons.strangers = True, [1]
    with pytest.raises(ForeignError, match="1 MPS clients already"):
        make(program(), daemons=daemons)
    assert daemons.calls == []


@pytest.mark.parametrize("was_there", [True, False])
def test_a_daemon_is_stopped_only_by_whoever_started_it(was_there: bool):
    daemons = Daemons([])
    daemons.alive = was_there
    shares = MpsShares(daemons, "GPU-0")  # type: ignore[arg-type]
    shares.start()
    shares.stop()
    assert daemons.alive is was_there


def test_in_the_v3_dialect_every_process_has_a_space_with_its_share():
    daemons = Daemons([], dialect="v3")
    shares = MpsShares(daemons, "GPU-0")  # type: ignore[arg-type]
    shares.start()
    limited = replace(program(), memory_limit_mib=512)
    shares.environment(limited, 30, 1)
    shares.environment(limited, 70, 2)
    spaces = daemons.limits[-1].spaces
    assert sorted(s.share_pct for s in spaces) == [30, 70]
    assert {s.memory_limit_mib for s in spaces} == {512}
    assert len({s.name for s in spaces}) == 2
    shares.release(1)
    shares.environment(limited, 50, 3)
    assert sorted(s.share_pct for s in daemons.limits[-1].spaces) == [50, 70]
    shares.stop()
    assert not daemons.alive


def test_environments_are_bare(make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    bench = make(program(MINE="y"))
    company = bench.enter([tenant()])
    (pid,) = company.facts()[0].pids
    names = {
        line.split(b"=")[0].decode()
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    }
    assert "SECRET_TOKEN" not in names
    assert {"MINE", "COLOCATE_MEASURE_SOCKET", "PYTHONPATH"} <= names
    company.leave()


def test_a_worker_of_a_bench_that_has_died_ends_by_itself(make):
    bench = make(program(), parked=1)
    company = bench.enter([tenant()])
    company.set([tenant()])
    group = bench._busy[0]
    for link in group.links:
        link.close()
    deadline = time.monotonic() + PATIENCE_S
    while group.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not group.alive
    company.leave()
    assert bench._idle == []


def test_several_processes_of_one_workload_count_together(make, tmp_path: Path):
    script = tmp_path / "two.py"
    script.write_text(
        "import subprocess, sys\n"
        f"run = [sys.executable, '-m', '{MODULE}', 'synthetic']\n"
        "children = [subprocess.Popen(run) for _ in range(2)]\n"
        "sys.exit(max(c.wait() for c in children))\n"
    )
    both = Workload(
        name="both", role="training", command=(sys.executable, str(script)), processes=2
    )
    bench = make(both)
    company = bench.enter([tenant("both")])
    assert len(company.facts()[0].pids) == 2
    (found,) = rates(company, [tenant("both")])
    assert found == pytest.approx(2 * rate(4, 100), rel=0.15)
    company.leave()


def test_a_process_that_somebody_else_started_reports_all_the_same(tmp_path: Path):
    """As the launch file of an applied plan starts it: told by arguments, at work at once."""
    ready = tmp_path / "ready"
    listener = Listener()
    argv = [sys.executable, "-m", MODULE, "synthetic", "--batch", "4", "--arrival-rps", "50"]
    argv += ["--connect", listener.address, "--name", "mine", "--ready", str(ready)]
    process = subprocess.Popen(argv, env={"PYTHONPATH": str(Path(colocate.__file__).parents[1])})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (links := listener.links("mine")) and time.monotonic() < deadline:
            listener.wait(0.5)
        (link,) = links
        assert link.hello.pid == link.peer_pid == process.pid
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        link.ask({"do": "count"})
        before = link.count(deadline)
        time.sleep(0.5)
        link.ask({"do": "count"})
        assert link.count(deadline).samples > before.samples
        # it goes on without whoever listens, and ends when it is told to by a signal
        link.close()
        listener.close()
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        listener.close()
