"""Each target's files say what the plan and the launch file say, and the rest is reported."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.mps import encode
from colocate.executor.workloads import gpu_uuids, units_of
from colocate.export import launchers
from colocate.export.launchers import LossError
from colocate.export.launchers.result import ExportFile, ExportResult, Loss
from tests.export.launchers import made, parsers

QUESTION = made.instance()
UNITS = {
    u.key: u
    for u in units_of(
        QUESTION,
        made.plan(QUESTION),
        made.launch_file(),
        gpu_uuids(QUESTION),
        any_user=True,
    )
}
TARGETS = ("compose", "env", "mps-v3", "slurm", "systemd")
OUTER = {"HOME": "/home/x y", "PATH": "/usr/bin:/bin", "SECRET": "x"}


def files(target: str) -> dict[str, ExportFile]:
    return {f.name: f for f in made.exported(target).files}


def key_of(workload: str, ordinal: int) -> str:
    return next(k for k, u in UNITS.items() if u.place == (workload, ordinal))


BERT = key_of("bert", 0)
TRAIN = key_of("train-1", 0)
MPS = {
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "60",
    "CUDA_MPS_LOG_DIRECTORY": "/run/colocate/mps/00000000/log",
    # 4 GiB and a quarter
    "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"{made.UUIDS[0]}=5120M",
    "CUDA_MPS_PIPE_DIRECTORY": "/run/colocate/mps/00000000/pipe",
    "CUDA_VISIBLE_DEVICES": made.UUIDS[0],
}
OWN = {"MODEL": "bert base; $HOME", "SHARE": "60", "COLOCATE_UNIT": BERT}
SAID = ["--port=8000", "--batch", "16", "--say", 'it\'s 100 % "$5"']


@pytest.mark.parametrize("target", TARGETS)
def test_golden_files(target: str):
    folder = made.GOLDEN / target
    kept = {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.is_file()
    }
    found = {name: f.text for name, f in files(target).items()}
    assert found == kept, "if it is meant: python -m tests.export.launchers.made"


def test_what_there_is():
    assert launchers.names() == sorted(TARGETS)


# -- each target -----------------------------------------------------------------------------------


def test_systemd_services():
    service = parsers.unit_file(files("systemd")[f"n1/colocate-{BERT}.service"].text)
    settings = dict(service["Service"])
    assert parsers.systemd_argv(settings["ExecStart"]) == ["/opt/serve/run", *SAID]
    assert parsers.systemd_environment(service["Service"]) == {**OWN, **MPS}
    assert settings["PassEnvironment"].split() == ["HOME", "LANG", "LC_ALL", "PATH", "TZ"]
    assert settings["WorkingDirectory"] == "/srv/bert"
    assert (settings["Restart"], settings["RestartSec"]) == ("always", "2000ms")
    assert (settings["KillSignal"], settings["SendSIGKILL"]) == ("SIGTERM", "no")
    assert settings["ExecStop"] == "/bin/sleep 5"
    unit = dict(service["Unit"])
    daemon = "colocate-mps-00000000.service"
    assert (unit["Requires"], unit["After"]) == (daemon, daemon)
    # five restarts after the first start
    assert (unit["StartLimitBurst"], unit["StartLimitIntervalSec"]) == ("6", "600000ms")


def test_systemd_tasks():
    service = parsers.unit_file(files("systemd")[f"n1/colocate-{TRAIN}.service"].text)
    settings = dict(service["Service"])
    assert parsers.systemd_argv(settings["ExecStart"]) == ["python3", "train.py", "train-1", "0"]
    assert settings["ExecStop"][0] == "-"
    assert parsers.systemd_argv(settings["ExecStop"][1:]) == ["/opt/train/save", "0"]
    assert (settings["KillSignal"], settings["SendSIGKILL"]) == ("SIGUSR1", "yes")
    assert settings["TimeoutStopSec"] == "90000ms"
    assert settings["Restart"] == "on-failure"
    env = parsers.systemd_environment(service["Service"])
    assert env["BATCH"] == "64"
    assert env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == f"{made.UUIDS[0]}=6000M"


def test_systemd_daemons_and_targets():
    found = files("systemd")
    for node, gpus in (("n1", (0, 1)), ("n2", (2,))):
        target = parsers.unit_file(found[f"{node}/colocate.target"].text)
        wanted = {value for name, value in target["Unit"] if name == "Wants"}
        services = {n.partition("/")[2] for n in found if n.startswith(f"{node}/")}
        daemons = {f"colocate-mps-0000000{i}.service" for i in gpus}
        assert wanted == services - daemons - {"colocate.target"}
        for i in gpus:
            daemon = parsers.unit_file(found[f"{node}/colocate-mps-0000000{i}.service"].text)
            env = parsers.systemd_environment(daemon["Service"])
            assert env["CUDA_VISIBLE_DEVICES"] == made.UUIDS[i]
            assert env["CUDA_MPS_PIPE_DIRECTORY"] == f"/run/colocate/mps/0000000{i}/pipe"


def test_compose():
    services = parsers.compose(files("compose")["n1/compose.yaml"].text)["services"]
    assert set(services) == {k for k, u in UNITS.items() if u.gpu in made.UUIDS[:2]}
    bert, train = services[BERT], services[TRAIN]
    assert bert["entrypoint"] + bert["command"] == ["/opt/serve/run", *SAID]
    passed = dict.fromkeys(("HOME", "LANG", "LC_ALL", "PATH", "TZ"))
    assert bert["environment"] == {**passed, **OWN, **MPS}
    assert bert["image"] == "registry.example/serve:1.2"
    assert (bert["restart"], train["restart"]) == ("always", "on-failure:5")
    assert (train["stop_signal"], train["stop_grace_period"]) == ("SIGUSR1", "60000ms")
    assert train["healthcheck"]["test"] == ["CMD", "/opt/train/is-up", TRAIN]
    devices = bert["deploy"]["resources"]["reservations"]["devices"]
    assert [d["device_ids"] for d in devices] == [[made.UUIDS[0]]]
    assert bert["volumes"][0]["source"] == "/run/colocate/mps/00000000"


def test_compose_needs_an_image():
    with pytest.raises(InputError, match="program 'bert' names no container image"):
        exported("compose", serve={"image": None})


def exported(target: str, *, serve=None, train=None, question=None, **more) -> ExportResult:
    question = question or made.instance()
    return launchers.export(
        target,
        question,
        made.plan(question),
        made.launch_file(serve, train),
        Path("/run/colocate"),
        **more,
    )


def test_slurm():
    text = files("slurm")[f"{BERT}.sbatch"].text
    options = parsers.sbatch_options(text)
    assert options["gres"] == "mps:60"
    assert options["job-name"] == BERT
    assert options["nodelist"] == "n1"
    assert options["export"] == "HOME,LANG,LC_ALL,PATH,TZ"
    assert "CUDA" not in text
    never = {"restart": {"when": "never"}}
    one = next(f for f in exported("slurm", serve=never).files if f.name == f"{BERT}.sbatch")
    assert "no-requeue" in parsers.sbatch_options(one.text)


def test_mps_v3():
    found = files("mps-v3")
    for node, i, keys in (("n1", 0, (BERT, TRAIN)), ("n2", 2, (key_of("bert", 2),))):
        config = tomllib.loads(found[f"{node}/mps-0000000{i}.toml"].text)
        assert config["schema_version"] == "1.0"
        assert list(config["servers"]) == ["gpu"]
        server = config["servers"]["gpu"]
        assert server["allowed_devices"] == made.UUIDS[i]
        assert set(server["namespaces"]) == {encode.space_name(key) for key in keys}
        for key in keys:
            space = server["namespaces"][encode.space_name(key)]
            unit = UNITS[key]
            assert space["active_thread_percentage"] == str(unit.share_pct)
            assert space["pinned_memory_limit"] == f"{unit.memory_limit_mib}M"
            env = dict(
                line.split("=", 1)
                for line in found[f"{node}/{key}.env"].text.splitlines()
                if not line.startswith("#")
            )
            pipe = f"/run/colocate/mps/0000000{i}/pipe/gpu/{encode.space_name(key)}"
            assert env["CUDA_MPS_PIPE_DIRECTORY"] == pipe
            # the namespace has the limits; a variable could only hide a mistake there
            assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in env
    assert '-a "$here"/mps-00000000.toml' in found["n1/mps-start.sh"].text


def test_users():
    question = made.instance(
        services=[{**made.INSTANCE["services"][0], "user_id": 1234}],
        tasks=[{**made.INSTANCE["tasks"][0], "user_id": 1234}],
    )
    v3 = {f.name: f.text for f in exported("mps-v3", question=question).files}
    assert tomllib.loads(v3["n1/mps-00000000.toml"])["servers"]["gpu"]["uid"] == 1234
    units = {f.name: f.text for f in exported("systemd", question=question).files}
    for name, text in units.items():
        if name.endswith(".service"):
            assert dict(parsers.unit_file(text)["Service"])["User"] == "1234", name
    compose = {f.name: f.text for f in exported("compose", question=question).files}
    services = parsers.compose(compose["n1/compose.yaml"])["services"]
    assert {s["user"] for s in services.values()} == {"1234"}
    what = {loss.what for loss in exported("slurm", question=question).losses}
    assert "user_id" in what


@pytest.mark.parametrize("target", ["env", "slurm", "mps-v3"])
def test_scripts_do_what_they_say(target: str, tmp_path: Path):
    program = list(parsers.PROGRAM)
    serve = {"argv": [*program, *made.SERVE["argv"][1:]], "directory": str(tmp_path)}
    names = {f.name: f for f in exported(target, serve=serve).files}
    name, file = next((n, f) for n, f in names.items() if "bert.0." in n and f.runs)
    del name
    argv, env = parsers.run_script(file.text, tmp_path, OUTER)
    assert argv == SAID
    for variable in ("MODEL", "SHARE"):
        assert env[variable] == OWN[variable]
    if target != "slurm":
        assert "SECRET" not in env
        assert env["HOME"] == "/home/x y"
        assert env["CUDA_VISIBLE_DEVICES"] == made.UUIDS[0]
        assert "TZ" not in env


@pytest.mark.parametrize("target", TARGETS)
def test_scripts_are_shell(target: str, tmp_path: Path):
    for file in files(target).values():
        if file.runs:
            assert file.text.startswith("#!/bin/sh\n")
            path = tmp_path / "script"
            path.write_text(file.text)
            subprocess.run(["/bin/sh", "-n", str(path)], check=True, timeout=60)


def test_daemon_scripts_start_one_daemon_for_each_gpu(tmp_path: Path):
    control = tmp_path / "nvidia-cuda-mps-control"
    control.write_text(
        '#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES $CUDA_MPS_PIPE_DIRECTORY $*" >> '
        f"{tmp_path}/started\n"
    )
    control.chmod(0o700)
    question = made.instance()
    result = launchers.export(
        "env", question, made.plan(question), made.launch_file(), tmp_path / "root"
    )
    launchers.write(result, tmp_path / "out")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([str(tmp_path / "out/n1/mps-start.sh")], env=env, check=True, timeout=60)
    assert (tmp_path / "started").read_text().splitlines() == [
        f"{made.UUIDS[i]} {tmp_path}/root/mps/0000000{i}/pipe -d" for i in (0, 1)
    ]
    assert (tmp_path / "root/mps/00000000/pipe").stat().st_mode & 0o777 == 0o700


@pytest.mark.deep
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_itself_takes_the_files(tmp_path: Path):
    true = {"argv": ["/bin/true", *made.SERVE["argv"][1:]]}
    train = {
        "argv": ["/bin/true", 'it\'s % \\ $5 "x" ; y'],
        "checkpoint": {"argv": ["/bin/true", ";"]},
    }
    for file in exported("systemd", serve=true, train=train).files:
        if file.name.startswith("n1/"):
            # what it would start must be there
            text = file.text.replace("ExecStart=nvidia-cuda-mps-control", "ExecStart=/bin/true")
            (tmp_path / file.name.partition("/")[2]).write_text(text, encoding="utf-8")
    ended = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


# -- losses ----------------------------------------------------------------------------------------


LOST = {
    "compose": {"batch", "checkpoint", "pausable", "ready", "restart", "stop", "switch", "user_id"},
    "env": {"batch", "checkpoint", "pausable", "ready", "restart", "stop", "switch"},
    "mps-v3": {
        *("batch", "checkpoint", "memory_limit", "pausable"),
        *("ready", "restart", "stop", "switch"),
    },
    "slurm": {
        *("batch", "checkpoint", "gpu", "memory_limit", "pausable"),
        *("ready", "restart", "stop", "switch"),
    },
    "systemd": {"batch", "pausable", "ready", "restart", "stop", "switch"},
}


@pytest.mark.parametrize("target", TARGETS)
def test_losses(target: str):
    losses = made.exported(target).losses
    assert {loss.what for loss in losses} == LOST[target]
    assert list(losses) == sorted(set(losses))
    assert all(loss.program in ("bert", "training", "") and loss.detail for loss in losses)
    with pytest.raises(LossError, match=f"{target} cannot express") as failed:
        made.exported(target, strict=True)
    assert failed.value.exit_code == 1


def plain_programs() -> dict[str, dict[str, object]]:
    """Return settings that leave everything at its default."""
    serve = {k: made.SERVE[k] for k in ("id", "argv", "env", "ports", "image")}
    train = {k: made.TRAIN[k] for k in ("id", "workloads", "argv", "image")}
    serve["batch"] = {"kind": "argv"}
    train["batch"] = {"kind": "fixed", "batch": 64}
    return {"serve": serve, "train": train}


def test_what_is_not_stated_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    programs = plain_programs()
    monkeypatch.setattr(made, "SERVE", programs["serve"])
    monkeypatch.setattr(made, "TRAIN", programs["train"])
    for target in ("env", "systemd", "mps-v3"):
        assert made.exported(target, strict=True).losses == ()
    # these two have habits of their own that matter
    assert {loss.what for loss in made.exported("compose").losses} == {"stop", "user_id"}
    assert {loss.what for loss in made.exported("slurm").losses} == {"gpu", "stop"}


# -- what cannot be exported -----------------------------------------------------------------------


def test_gpus_without_uuids():
    pools = [{**p, "count": len(p["uuids"])} for p in made.INSTANCE["gpu_pools"]]
    for pool in pools:
        del pool["uuids"]
    with pytest.raises(InputError, match="GPU a/0 has no UUID"):
        exported("env", question=made.instance(gpu_pools=pools))


def test_ports_that_run_out():
    with pytest.raises(InputError, match="ports 8000 to 8000 are all given away"):
        exported("env", serve={"ports": {"first": 8000, "last": 8000}})


def test_a_workload_without_an_entry():
    with pytest.raises(InputError, match="task 'train-1' has no entry in the launch file"):
        exported("env", train={"workloads": ["other"]})


def test_a_batch_that_is_not_the_plans():
    with pytest.raises(InputError, match="at batch 16, program 'bert' is fixed at 8"):
        exported("env", serve={"batch": {"kind": "fixed", "batch": 8}})


def test_unknown_targets():
    with pytest.raises(InputError, match=r"no export target 'helm' \(known: compose, env"):
        made.exported("helm")


def test_long_paths():
    question = made.instance()
    root = Path("/run/" + "x" * 100)
    with pytest.raises(Exception, match="a socket can have 107"):
        launchers.export("env", question, made.plan(question), made.launch_file(), root)


def test_targets_of_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launchers, "_ADDED", {})

    def target(order) -> ExportResult:
        names = [job.unit.key for job in order.jobs]
        return ExportResult((ExportFile("all", "\n".join(names)),), (Loss("x", "", "y"),))

    launchers.register("kubernetes", target)
    assert made.exported("kubernetes").files[0].text.split("\n") == list(UNITS)
    with pytest.raises(LossError):
        made.exported("kubernetes", strict=True)
    with pytest.raises(InputError, match="is built in"):
        launchers.register("env", target)


# -- writing ---------------------------------------------------------------------------------------


def test_nothing_is_replaced_unless_asked_for(tmp_path: Path):
    result = made.exported("env")
    paths = launchers.write(result, tmp_path / "out")
    assert all(p.is_file() for p in paths)
    assert {p for p in paths if p.stat().st_mode & 0o100} == {
        tmp_path / "out" / f.name for f in result.files if f.runs
    }
    paths[0].unlink()
    with pytest.raises(InputError, match="exists"):
        launchers.write(result, tmp_path / "out")
    assert not paths[0].exists()
    launchers.write(result, tmp_path / "out", force=True)
    assert paths[0].exists()


def test_links_are_not_followed(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/n1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a symbolic link"):
        launchers.write(made.exported("env"), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []
