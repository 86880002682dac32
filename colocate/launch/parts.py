"""The parts of a launch file: how a process is run, asked, told and ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from colocate.launch.texts import BaseUrl, EnvName, Path, Seconds, Text, Url, Wait
from colocate.profile.batch import Batch
from colocate.schema import Frozen, Id, ListOf

__all__ = [
    "AliveProbe",
    "BatchArgument",
    "BatchCommand",
    "BatchFixed",
    "BatchRequest",
    "BatchSetting",
    "BatchTriton",
    "BatchVariable",
    "Checkpoint",
    "CommandProbe",
    "FileProbe",
    "FixedLimit",
    "HeadroomLimit",
    "HttpProbe",
    "MemoryLimit",
    "Ports",
    "Probe",
    "Restart",
    "Stop",
    "Switch",
    "SwitchCommand",
    "SwitchRequest",
    "TcpProbe",
]

Port = Annotated[int, Field(ge=1, le=65_535)]
Argv = Annotated[tuple[Text, ...], ListOf, Field(min_length=1, max_length=1000)]


class Ports(Frozen):
    """Ports of this machine, one for each unit."""

    first: Port
    """The first of them."""
    last: Port
    """The last of them. Twice as many as replicas on a node let old and new run side by side."""

    @model_validator(mode="after")
    def _check(self) -> Ports:
        if self.last < self.first:
            msg = f"ports {self.first} to {self.last} are none"
            raise ValueError(msg)
        return self


class _Asked(Frozen):
    deadline_s: Seconds = 120.0
    """It must be ready so long after its start, else the start has failed."""
    interval_s: Seconds = 0.5
    """Wait between two looks."""
    timeout_s: Seconds = 5.0
    """How long one look may take."""


class AliveProbe(_Asked):
    """Ready when it has run for a while."""

    kind: Literal["alive"]
    """Tells it from others."""
    settle_s: Wait = 1.0
    """For how long."""


class TcpProbe(_Asked):
    """Ready when it takes a connection."""

    kind: Literal["tcp"]
    """Tells it from others."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$")] = "127.0.0.1"
    """Host or address."""
    port: Port | None = None
    """Port; the one from `ports` when left out."""


class HttpProbe(_Asked):
    """Ready when it answers a GET with a status from 200 to 299."""

    kind: Literal["http"]
    """Tells it from others."""
    url: Url
    """URL; [places](#places) such as `{port}` are filled."""


class FileProbe(_Asked):
    """Ready when a file is there that is no older than the process."""

    kind: Literal["file"]
    """Tells it from others."""
    path: Path
    """Absolute path; [places](#places) are filled."""


class CommandProbe(_Asked):
    """Ready when a command ends with 0."""

    kind: Literal["command"]
    """Tells it from others."""
    argv: Argv
    """Program and arguments; [places](#places) are filled."""


Probe = Annotated[
    AliveProbe | TcpProbe | HttpProbe | FileProbe | CommandProbe, Field(discriminator="kind")
]


class BatchFixed(Frozen):
    """It runs at one batch size, whatever it is told; another one in the plan is refused."""

    kind: Literal["fixed"]
    """Tells it from others."""
    batch: Batch
    """That batch size."""


class BatchArgument(Frozen):
    """Its arguments hold `{batch}`; another batch size takes a new process."""

    kind: Literal["argv"]
    """Tells it from others."""


class BatchVariable(Frozen):
    """A variable of its environment holds it; another batch size takes a new process."""

    kind: Literal["environment"]
    """Tells it from others."""
    variable: EnvName
    """Name of the variable."""


class BatchRequest(Frozen):
    """An HTTP request sets it, while it runs; 200 to 299 means that it is set."""

    kind: Literal["http"]
    """Tells it from others."""
    url: Url
    """URL; [places](#places) are filled."""
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    """Method."""
    body: Text | None = None
    """Body, sent as JSON; [places](#places) are filled."""
    timeout_s: Seconds = 10.0
    """Deadline."""


class BatchCommand(Frozen):
    """A command sets it, while it runs; exit code 0 means that it is set."""

    kind: Literal["command"]
    """Tells it from others."""
    argv: Argv
    """Program and arguments; [places](#places) are filled."""
    timeout_s: Seconds = 30.0
    """Deadline."""


class BatchTriton(Frozen):
    """Triton: `max_batch_size` of a model is written, loaded and read back, while it runs.

    The server must have been started with `--model-control-mode=explicit`.
    """

    kind: Literal["triton"]
    """Tells it from others."""
    url: BaseUrl
    """Address of its HTTP service, without a path; `{port}` is filled."""
    model: Id
    """Name of the model."""
    config: Path
    """Its `config.pbtxt`; [places](#places) are filled. Nothing else in the file changes."""
    timeout_s: Seconds = 60.0
    """Deadline of each request."""


BatchSetting = Annotated[
    BatchFixed | BatchArgument | BatchVariable | BatchRequest | BatchCommand | BatchTriton,
    Field(discriminator="kind"),
]


class Checkpoint(Frozen):
    """A command that makes it save its work before it is stopped."""

    argv: Argv
    """Program and arguments; [places](#places) are filled. It ends when the work is saved."""
    deadline_s: Seconds = 300.0
    """How long that may take. After that it is stopped all the same, and the loss is told."""


class Stop(Frozen):
    """How it is ended."""

    signal: Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] = "SIGTERM"
    """What it is sent: the main process first, and what it started once that is gone."""
    grace_s: Seconds = 30.0
    """How long it may take to end."""
    drain_s: Wait = 0.0
    """Wait before the signal, for requests that are under way."""
    hard_kill: bool = False
    """Whether SIGKILL follows. A client of MPS that is killed can take its co-tenants along."""


class Restart(Frozen):
    """What happens when it ends by itself, once it has been ready."""

    when: Literal["always", "failure", "never"] | None = None
    """`failure` is any exit code but 0. Left out: `always` for services, `failure` for tasks."""
    first_wait_s: Seconds = 1.0
    """Wait before the first restart; each further one waits twice as long."""
    longest_wait_s: Seconds = 60.0
    """Longest wait."""
    most: Annotated[int, Field(ge=0, le=1000)] = 5
    """So many restarts within the window are tried; then it has failed."""
    window_s: Seconds = 600.0
    """Length of the window. Ready for so long, and the waits begin anew."""


class SwitchCommand(Frozen):
    """A command sends requests to the new unit instead of the old one."""

    kind: Literal["command"]
    """Tells it from others."""
    argv: Argv
    """Program and arguments; [places of a switch](#places-of-a-switch) are filled."""
    timeout_s: Seconds = 30.0
    """Deadline."""


class SwitchRequest(Frozen):
    """An HTTP request sends requests to the new unit instead of the old one."""

    kind: Literal["http"]
    """Tells it from others."""
    url: Url
    """URL; [places of a switch](#places-of-a-switch) are filled."""
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    """Method."""
    body: Text | None = None
    """Body, sent as JSON; [places of a switch](#places-of-a-switch) are filled."""
    timeout_s: Seconds = 10.0
    """Deadline."""


Switch = Annotated[SwitchCommand | SwitchRequest, Field(discriminator="kind")]


class HeadroomLimit(Frozen):
    """Each process may take what the plan expects, and a little more."""

    kind: Literal["headroom"]
    """Tells it from others."""
    headroom_pct: Annotated[float, Field(ge=0, le=400)] = 10.0
    """How much more."""


class FixedLimit(Frozen):
    """Each process may take a stated amount."""

    kind: Literal["fixed"]
    """Tells it from others."""
    mib: Annotated[int, Field(ge=1, le=16_777_216)]
    """MiB of device memory."""


MemoryLimit = Annotated[HeadroomLimit | FixedLimit, Field(discriminator="kind")]
