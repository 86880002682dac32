"""The verbs of the command line, on the MPS double with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from colocate.cli.main import run
from colocate.executor.apply.lock import Lock
from tests.executor.apply.real_node import PATIENCE_S, Outcome, RealNode, real_node

Cli = Callable[..., Outcome]


@pytest.fixture
def node() -> Iterator[RealNode]:
    with real_node("v2", gpus=1) as made:
        yield made


@pytest.fixture
def cli(node: RealNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command line in this process, with the node as its surroundings."""
    for name in [n for n in os.environ if n.startswith("COLOCATE_")]:
        monkeypatch.delenv(name)
    for name, value in node.surroundings.items():
        if name.startswith("COLOCATE_"):
            monkeypatch.setenv(name, value)

    def go(*words: str) -> Outcome:
        capsys.readouterr()
        code = run(list(words))
        return Outcome(code, *capsys.readouterr())

    return go


def test_all_verbs_one_after_another(node, cli):
    plan = node.files(tasks=1)
    kept = str(node.folder / "kept.json")

    shown = cli("preview", *plan, "-o", kept)
    assert shown.code == 0, shown.err
    assert "start the MPS daemon" in shown.out
    assert "taken back by" in shown.out
    assert "no downtime of a service" in shown.out
    assert not node.root.exists()  # a look leaves nothing behind
    empty = cli("export-state")
    assert '"pid"' not in empty.out
    assert cli("assert", *plan).code == 1
    assert cli("assert").code == 0  # nothing was applied, so nothing is missing
    assert cli("status", "--json").json["state"] == "empty"
    assert cli("apply", *plan, "--dry-run").out == shown.out
    assert node.double.changes() == []

    done = cli("apply", kept)
    assert done.code == 0, done.err
    assert "1/" in done.err
    assert "Applied: 7 steps (change 1)" in done.out
    assert cli("assert").code == 0
    assert cli("assert", *plan).out == "All is as wanted.\n"
    status = cli("status", "--json").json
    assert (status["state"], status["rollbacks_left"]) == ("applied", 1)
    (gpu,) = status["gpus"]
    assert [unit["client_of_mps"] for unit in gpu["units"]] == [True, True]
    assert "all is as applied" in cli("status").out

    said = len(node.double.changes())
    again = cli("apply", *plan, "--json")
    assert (again.code, again.json["changed"]) == (0, False)
    assert node.double.changes()[said:] == []
    full = cli("export-state").out
    assert len(json.loads(full)["gpus"][0]["units"]) == 2

    late = cli("apply", kept)
    assert late.code == 1
    assert "what is true now is not what the preview saw" in late.err
    assert "Maybe make a new preview" in late.err

    back = cli("rollback", "--json")
    assert (back.code, back.json["changed"]) == (0, True)
    assert cli("export-state").out == empty.out
    nothing = cli("rollback")
    assert (nothing.code, nothing.out) == (0, "Nothing to go back to.\n")


def test_what_never_gets_ready_is_put_back(node, cli):
    """The node is as before, and the exit code says so."""
    probe = {"kind": "file", "path": "/nowhere/ready", "interval_s": 0.02, "deadline_s": 0.2}
    before = cli("export-state").out
    failed = cli("apply", *node.files(node.launch(ready=probe), tasks=1))
    assert failed.code == 6
    assert "everything was put back" in failed.err
    assert cli("export-state").out == before
    assert cli("status", "--json").json["unfinished"] is None
    assert node.double.daemons() == []


def test_a_process_beside_mps_is_not_taken_for_a_success(node, cli):
    """It is ready, but it never became a client: no limit would hold for it."""
    argv = [sys.executable, "-IS", "-c", "import time; time.sleep(600)"]
    launch = node.launch(argv=argv, ready={"kind": "alive", "settle_s": 0.05})
    failed = cli("apply", *node.files(launch, tasks=0), "--member-timeout", "0.5")
    assert failed.code == 6
    assert "it runs without any limit" in failed.err


def test_the_lock_is_held(node, cli):
    files = node.files(tasks=1)
    node.root.mkdir(mode=0o700)
    with Lock(node.root, "rollback"):
        for words in (("apply", *files), ("rollback",)):
            held = cli(*words)
            assert held.code == 8
            assert f"'rollback', pid {os.getpid()}" in held.err
        assert cli("status", "--json").json["state"] == "changing"
        wrong = cli("rollback", "--force-unlock", str(os.getpid() + 1))
        assert wrong.code == 2
        assert cli("rollback", "--force-unlock", str(os.getpid())).code == 0


def test_nothing_is_changed_as_root_unless_told_to(node, cli, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("COLOCATE_ALLOW_ROOT")
    for words in (("apply", *node.files(tasks=1)), ("rollback",)):
        refused = cli(*words)
        assert refused.code == 2
        assert "--allow-root" in refused.err
    assert not node.root.exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("group", "can be written to by others"),
        ("link", "is not a folder"),
        ("relative", "is not an absolute path"),
    ],
)
def test_a_state_folder_that_others_could_reach_into(node, cli, how, words):
    root = str(node.root)
    if how == "group":
        node.root.mkdir()
        node.root.chmod(0o770)
    elif how == "link":
        node.root.symlink_to(node.ready)
    else:
        root = "state"
    for verb in (("status",), ("export-state",), ("rollback",), ("apply", *node.files(tasks=1))):
        refused = cli(*verb, "--root", root)
        assert refused.code == 2
        assert words in refused.err


def test_a_plan_for_other_nodes(node, cli):
    files = node.files(tasks=1)
    node.tell_gpus(["GPU-0000ffff-0000-4000-8000-000000000001"])
    refused = cli("preview", *files)
    assert refused.code == 2
    assert "none of the plan's 1 GPUs is on this node" in refused.err


def test_a_plan_of_another_instance(node, cli):
    one, other = node.files(tasks=1), node.files(tasks=1, slo_ms=200.0)
    refused = cli("preview", one[0], *other[1:])
    assert refused.code == 2
    assert "the plan is for the instance with hash" in refused.err


def test_without_the_control_program(node, cli):
    node.double.binary.unlink()
    failed = cli("apply", *node.files(tasks=1))
    assert failed.code in (5, 6)
    assert "nvidia-cuda-mps-control" in failed.err
    assert cli("status", "--json").code in (0, 5)


def test_a_preview_is_not_to_be_edited(node, cli):
    kept = node.folder / "kept.json"
    assert cli("preview", *node.files(tasks=1), "-o", str(kept)).code == 0
    text = kept.read_text()
    whole = json.loads(text)
    evil = json.loads(text)
    evil["target"]["units"][0]["key"] = "a\nquit"
    other = json.loads(text)
    other["launch"]["programs"][0]["argv"] = ["/bin/sh", "-c", "true"]
    fewer = json.loads(text)
    fewer["steps"] = fewer["steps"][1:]
    for changed, code in (
        (evil, 2),
        (other, 2),
        ({**whole, "more": 1}, 2),
        ({**whole, "schema": "colocate/preview/v2"}, 2),
        ({**whole, "fingerprint": "0" * 64}, 1),
        (fewer, 1),
    ):
        kept.write_text(json.dumps(changed))
        refused = cli("apply", str(kept))
        assert refused.code == code, refused.err
        assert "Maybe" in refused.err
    assert node.double.changes() == []


def test_a_terminated_apply_puts_everything_back(node):
    """SIGTERM while it waits for a unit: first that step ends, then all is taken back."""
    slow = {"kind": "file", "path": str(node.folder / "go"), "interval_s": 0.05}
    files = node.files(node.launch(ready={**slow, "deadline_s": PATIENCE_S}), tasks=0)
    process = node.start("apply", *files)
    until = time.monotonic() + PATIENCE_S
    while not list(node.ready.iterdir()):
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    try:
        (node.folder / "go").touch()
        err = process.communicate(timeout=PATIENCE_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 6, err
    assert "interrupted" in err
    assert node.operator().look().observed.units == {}
    assert node.double.daemons() == []
