"""`systemd`: a service for each unit and each MPS daemon, and a target that starts them all."""

from __future__ import annotations

from colocate.executor.mps import encode
from colocate.executor.mps.directories import GpuFolders
from colocate.export.launchers.job import Job, Order
from colocate.export.launchers.losses import losses_of
from colocate.export.launchers.result import ExportFile, ExportResult, Loss
from colocate.export.launchers.scripts import CONTROL, WARNING, about
from colocate.export.launchers.words import (
    file_name,
    systemd_argument,
    systemd_assignment,
    systemd_path,
    variable,
)

__all__ = ["export"]

TARGET = "colocate.target"
_RESTART = {"always": "always", "failure": "on-failure", "never": "no"}


def export(order: Order) -> ExportResult:
    """Return unit files; `systemctl link` or a copy puts them into place."""
    files: list[ExportFile] = []
    more: list[Loss] = []
    for folders, jobs in order.by_gpu():
        files.append(_daemon(folders, jobs))
    for job in order.jobs:
        files.append(_service(job))
        more += _lost(job)
    files += [_target(prefix, order) for prefix in sorted({job.prefix for job in order.jobs})]
    kept = ("checkpoint", "stop", "restart")
    return ExportResult(tuple(files), tuple(losses_of(order, kept=kept, more=more)))


def _daemon_name(folders: GpuFolders) -> str:
    return f"colocate-mps-{folders.base.name}.service"


def _service_name(job: Job) -> str:
    return f"colocate-{encode.unit_key(job.unit.key)}.service"


def _daemon(folders: GpuFolders, jobs: tuple[Job, ...]) -> ExportFile:
    pipe, log = systemd_path(str(folders.pipe)), systemd_path(str(folders.log))
    gpu = encode.gpu_uuid(jobs[0].unit.gpu)
    values = {
        "CUDA_MPS_LOG_DIRECTORY": encode.path_text(folders.log),
        "CUDA_MPS_PIPE_DIRECTORY": encode.path_text(folders.pipe),
        "CUDA_VISIBLE_DEVICES": gpu,
    }
    users = {job.user_id for job in jobs}
    user = users.pop() if len(users) == 1 else None
    lines = [
        "[Unit]",
        f"Description=MPS control daemon of {gpu}",
        f"PartOf={TARGET}",
        "",
        "[Service]",
        "Type=exec",
        *([] if user is None else [f"User={encode.user_id(user)}"]),
        *_environment(values),
        f"ExecStartPre=+/bin/mkdir -p -m 0700 {pipe} {log}",
        f"ExecStart={CONTROL} -f",
        "",
        "[Install]",
        f"WantedBy={TARGET}",
    ]
    if user is not None:
        at = lines.index(f"ExecStart={CONTROL} -f")
        lines.insert(at, f"ExecStartPre=+/bin/chown {encode.user_id(user)} {pipe} {log}")
    name = file_name(f"{jobs[0].prefix}{_daemon_name(folders)}")
    return ExportFile(name, WARNING + "\n".join(lines) + "\n")


def _service(job: Job) -> ExportFile:
    program, daemon = job.program, _daemon_name(job.folders)
    stop, restart = program.stop, program.restart
    when = restart.when or ("always" if job.unit.role == "service" else "failure")
    lines = [
        "[Unit]",
        f"Description=colocate {encode.unit_key(job.unit.key)}",
        f"PartOf={TARGET}",
        f"Requires={daemon}",
        f"After={daemon}",
        f"StartLimitIntervalSec={_seconds(restart.window_s)}",
        f"StartLimitBurst={restart.most + 1}",
        "",
        "[Service]",
        "Type=exec",
        *([] if job.user_id is None else [f"User={encode.user_id(job.user_id)}"]),
        f"WorkingDirectory={systemd_path(program.directory)}",
        *([f"PassEnvironment={' '.join(map(variable, job.pass_env))}"] if job.pass_env else []),
        *_environment({**job.env, **job.mps()}),
        f"ExecStart={_command(job, program.argv)}",
    ]
    if program.checkpoint is not None:
        # `-`: work that cannot be saved does not keep it from being stopped
        lines.append(f"ExecStop=-{_command(job, program.checkpoint.argv)}")
    if stop.drain_s > 0:
        lines.append(f"ExecStop=/bin/sleep {stop.drain_s:g}")
    lines += [
        f"KillSignal={stop.signal}",
        # `mixed` signals the main process alone, and kills what it leaves behind
        f"KillMode={'mixed' if stop.hard_kill else 'control-group'}",
        f"SendSIGKILL={'yes' if stop.hard_kill else 'no'}",
        f"TimeoutStopSec={_seconds(_stop_seconds(job))}",
        f"Restart={_RESTART[when]}",
        f"RestartSec={_seconds(restart.first_wait_s)}",
        "",
        "[Install]",
        f"WantedBy={TARGET}",
    ]
    text = WARNING + about(job) + "\n".join(lines) + "\n"
    return ExportFile(file_name(f"{job.prefix}{_service_name(job)}"), text)


def _target(prefix: str, order: Order) -> ExportFile:
    wanted = [_service_name(job) for job in order.jobs if job.prefix == prefix]
    lines = ["[Unit]", "Description=Everything that colocate placed on this machine"]
    lines += [f"Wants={name}" for name in wanted]
    lines += ["", "[Install]", "WantedBy=multi-user.target"]
    return ExportFile(file_name(f"{prefix}{TARGET}"), WARNING + "\n".join(lines) + "\n")


def _environment(values: dict[str, str]) -> list[str]:
    return [f"Environment={systemd_assignment(f'{variable(n)}={v}')}" for n, v in values.items()]


def _command(job: Job, argv: tuple[str, ...]) -> str:
    """Return a command line. Its first word is a path or a plain name, so no prefix has effect."""
    return " ".join(systemd_argument(job.text(word)) for word in argv)


def _stop_seconds(job: Job) -> float:
    """Return the one deadline that systemd has: it holds for each command and for the signal."""
    saving = 0.0 if job.program.checkpoint is None else job.program.checkpoint.deadline_s
    return max(job.program.stop.grace_s, job.program.stop.drain_s + 1, saving)


def _seconds(value: float) -> str:
    return f"{round(value * 1000)}ms"


def _lost(job: Job) -> list[Loss]:
    program, lost = job.program, []
    if program.checkpoint is not None and _stop_seconds(job) != program.stop.grace_s:
        lost.append(
            Loss(
                "stop",
                program.id,
                f"one deadline for all: {_stop_seconds(job):g} s to save and again to end",
            )
        )
    if program.restart.longest_wait_s != program.restart.first_wait_s and (
        "restart" in program.model_fields_set
    ):
        lost.append(Loss("restart", program.id, "the wait before a restart does not grow"))
    return lost
