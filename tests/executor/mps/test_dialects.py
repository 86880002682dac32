"""Both dialects, where a daemon does what it should not; in process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps.control import Control
from colocate.executor.mps.failures import ControlError
from colocate.executor.mps.probe import features, spoken_dialect
from colocate.executor.mps.v2 import V2
from colocate.executor.mps.v3 import V3
from colocate.executor.ports import Client, Dialect, Limits, Space
from tests.executor.mps.test_double import GPU, unit
from tests.fakes import mps_core_v2, mps_core_v3
from tests.fakes.core_daemons import CoreDaemons
from tests.fakes.double import Double
from tests.fakes.mps_core import Reply


def daemons(dialect: Dialect) -> CoreDaemons:
    made = CoreDaemons([GPU], dialect)
    made.start(GPU)
    if dialect == "v3":
        made.set_limits(GPU, Limits(spaces=(Space(name="a", share_pct=50),)))
    made.connect({"CUDA_MPS_PIPE_DIRECTORY": str(made._control(GPU).pipe / where(dialect))}, 5)
    made.units = {"a": [5]}
    return made


def where(dialect: Dialect) -> str:
    return "gpu/a" if dialect == "v3" else ""


class Said:
    """Answers by a table; everything else is empty."""

    def __init__(self, answers: dict[str, str | Exception]) -> None:
        self.answers = answers
        self.pipe = Path("/run/x")

    def ask(self, *words: str, deadline_s: float | None = None) -> str:
        answer = self.answers.get(words[0], "")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call(self, *argv: str, deadline_s: float | None = None) -> str:
        return self.ask(" ".join(argv[:2]))


# --- ending a client -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_client_is_ended_and_gone(dialect: Dialect) -> None:
    made = daemons(dialect)
    (client,) = made.observe(GPU).clients
    made.terminate(GPU, client)
    assert made.observe(GPU).clients == ()
    made.terminate(GPU, client)  # again: nothing to do


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_client_that_stays_listed_was_not_ended(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = daemons(dialect)
    (client,) = made.observe(GPU).clients
    name, table = _table(dialect, "terminate_client", "client terminate")
    monkeypatch.setitem(table, name, lambda *_: Reply("0" if dialect == "v2" else "", "fault"))
    with pytest.raises(ControlError, match="still a client") as caught:
        made.terminate(GPU, client)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("text", ["201", "Invalid process 5!", "Server 0 not found", "", "00"])
def test_only_0_means_that_a_client_was_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = daemons("v2")
    (client,) = made.observe(GPU).clients
    monkeypatch.setitem(mps_core_v2.COMMANDS, "terminate_client", lambda *_: Reply(text, "fault"))
    with pytest.raises(ControlError, match="did not end"):
        made.terminate(GPU, client)


def test_strangers_are_never_ended() -> None:
    made = daemons("v2")
    made.units = {}
    (client,) = made.observe(GPU).clients
    for act in (lambda: made.terminate(GPU, client), lambda: made.reset(GPU)):
        with pytest.raises(ForeignError):
            act()


def _table(dialect: Dialect, v2: str, v3: str) -> tuple[str, dict[str, Callable[..., Reply]]]:
    table = mps_core_v2.COMMANDS if dialect == "v2" else mps_core_v3.COMMANDS
    return (v2 if dialect == "v2" else v3), table  # type: ignore[return-value]


# --- ending a server -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_server_that_does_not_end_is_noticed(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = daemons(dialect)
    name, table = _table(dialect, "shutdown_server", "server delete")
    monkeypatch.setitem(table, name, lambda *_: Reply("", "fault"))
    with pytest.raises(ControlError, match="still there"):
        made.reset(GPU)


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_reset_keeps_the_limits(dialect: Dialect) -> None:
    made = daemons(dialect)
    spaces = (Space(name="a", share_pct=30, memory_limit_mib=512),) if dialect == "v3" else ()
    limits = Limits(share_pct=80, memory_limit_mib=1024, spaces=spaces)
    made.set_limits(GPU, limits)
    made.reset(GPU)
    assert made.observe(GPU).limits == limits
    assert made.observe(GPU).clients == ()


def test_a_reset_without_a_server_does_nothing() -> None:
    made = CoreDaemons([GPU], "v3")
    made.start(GPU)
    made.cores[GPU].end_server(made.cores[GPU].servers["gpu"])
    said = len(made.changes())
    made.reset(GPU)
    assert len(made.changes()) == said


def test_a_server_that_ends_while_it_is_asked_about() -> None:
    control = Said({"get_server_list": "12", "get_server_status": "Server 12 not found"})
    assert V2(control, GPU, 1000).servers() == ()


# --- v3: what is listed --------------------------------------------------------------------------

NAMESPACE = "default,gpu,Ready,-,100.00,{priority},/run/x/gpu/default"


@pytest.mark.parametrize(
    ("priority", "low"), [("0", False), ("1", True), ("1 [BELOW NORMAL]", True), ("-", False)]
)
def test_priorities_are_read(priority: str, low: bool) -> None:
    text = f"{NAMESPACE.format(priority='0')}\na,gpu,Ready,1G,50.00,{priority},/run/x/gpu/a"
    control = Said({"server list": f"gpu,0,12,Ready,/x,{GPU},-", "namespace list": text})
    spoken = V3(control, GPU, 100_000)
    limits = spoken.limits(spoken.servers()).limits
    assert limits.spaces == (
        Space(name="a", share_pct=50, memory_limit_mib=1024, low_priority=low),
    )


def test_a_priority_that_makes_no_sense_is_refused() -> None:
    text = NAMESPACE.format(priority="high\x1b")
    control = Said({"server list": f"gpu,0,12,Ready,/x,{GPU},-", "namespace list": text})
    spoken = V3(control, GPU, 100_000)
    with pytest.raises(ControlError, match="priority") as caught:
        spoken.limits(spoken.servers())
    assert "\x1b" not in caught.value.message


def test_servers_that_do_not_run_have_no_pid() -> None:
    rows = "a,0,-,Stopped,/x,-,-\nb,0,0,Ready,/x,-,-\ngpu,0,12,Fault,/x,GPU-a,GPU-b,-"
    seen = V3(Said({"server list": rows}), GPU, 1000).servers()
    assert [(server.name, server.pid, server.status) for server in seen] == [("gpu", 12, "fault")]


def test_clients_of_other_servers_are_not_ours_to_list() -> None:
    control = Said(
        {
            "server list": f"gpu,0,12,Ready,/x,{GPU},-",
            "client list": "7,gpu,0,default,a,b\n8,uid_0,0,default,c\n7,gpu,1,default,a",
        }
    )
    spoken = V3(control, GPU, 1000)
    assert [client.pid for client in spoken.clients(spoken.servers())] == [7]
    assert spoken.clients(()) == ()


@pytest.mark.parametrize(
    "spaces",
    [
        (Space(name="default", share_pct=5),),
        (Space(name="a", share_pct=5), Space(name="a", share_pct=6)),
    ],
)
def test_namespaces_have_names_of_their_own(spaces: tuple[Space, ...]) -> None:
    made = CoreDaemons([GPU], "v3")
    made.start(GPU)
    with pytest.raises(MpsError, match="not distinct"):
        made.set_limits(GPU, Limits(spaces=spaces))


# --- which dialect -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"get_default_active_thread_percentage": "100.0"}, "v2"),
        ({"get_default_active_thread_percentage": "usage: ..."}, "v3"),
        ({"get_default_active_thread_percentage": ControlError("x", kind="status")}, "v3"),
    ],
)
def test_the_daemon_says_which_it_speaks(
    answers: dict[str, str | Exception], expected: Dialect
) -> None:
    assert spoken_dialect(Said(answers)) == expected


def test_a_daemon_that_speaks_neither_is_refused() -> None:
    answers: dict[str, str | Exception] = {
        "get_default_active_thread_percentage": "hello",
        "server list": "hello",
    }
    with pytest.raises(MpsError, match="neither dialect"):
        spoken_dialect(Said(answers))


@pytest.mark.parametrize("kind", ["timeout", "no-daemon", "missing"])
@pytest.mark.parametrize("question", ["get_default_active_thread_percentage", "server list"])
def test_a_daemon_that_does_not_answer_is_not_guessed_at(kind: str, question: str) -> None:
    answers: dict[str, str | Exception] = {
        "get_default_active_thread_percentage": "hello",
        question: ControlError("x", kind=kind),  # type: ignore[arg-type]
    }
    with pytest.raises(ControlError) as caught:
        spoken_dialect(Said(answers))
    assert caught.value.kind == kind


def test_a_program_without_options_can_little(tmp_path: Path) -> None:
    double = Double(tmp_path / "bin")
    for name in ("pipe", "log"):
        (tmp_path / name).mkdir()
    control = Control(binary=double.binary, pipe=tmp_path / "pipe", log=tmp_path / "log")
    double.fail("-", "exit", value="unknown option", code=2)
    able = features(control)
    assert (able.version, able.v3, able.static_partitioning) == (None, False, None)
    double.heal()
    double.fail("-", "garbage", value="usage: -S, --static-partitioning")
    assert features(control).static_partitioning
    double.heal()
    double.fail("-", "hang")
    impatient = Control(
        binary=double.binary, pipe=tmp_path / "pipe", log=tmp_path / "log", deadline_s=0.3
    )
    with pytest.raises(ControlError):
        features(impatient)


def test_a_client_that_was_never_there_is_left() -> None:
    made = daemons("v2")
    made.terminate(GPU, Client(pid=99, server_pid=1, unit="a"))
    assert not [text for text in made.changes() if text.startswith("terminate")]


def test_unit_limits_reach_the_client() -> None:
    made = CoreDaemons([GPU], "v2")
    made.start(GPU)
    wanted = unit(share_pct=25, memory_limit_mib=512)
    got = made.connect(made.environment(wanted), 7)
    assert (got.share, got.memory_mib) == (25, 512)
