"""How the services and tasks of a plan are started: the launch file, as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.launch.parts import (
    AliveProbe,
    BatchArgument,
    BatchCommand,
    BatchFixed,
    BatchRequest,
    BatchSetting,
    BatchTriton,
    BatchVariable,
    Checkpoint,
    CommandProbe,
    FileProbe,
    FixedLimit,
    HeadroomLimit,
    HttpProbe,
    MemoryLimit,
    Ports,
    Probe,
    Restart,
    Stop,
    Switch,
    SwitchCommand,
    SwitchRequest,
    TcpProbe,
)
from colocate.launch.template import PLACES, SWITCH_PLACES, places_in
from colocate.launch.texts import Directory, EnvName, Text
from colocate.schema import Frozen, Id, ListOf

__all__ = [
    "AliveProbe",
    "BatchArgument",
    "BatchCommand",
    "BatchFixed",
    "BatchRequest",
    "BatchTriton",
    "BatchVariable",
    "Checkpoint",
    "CommandProbe",
    "FileProbe",
    "FixedLimit",
    "HeadroomLimit",
    "HttpProbe",
    "LaunchFile",
    "Ports",
    "Program",
    "Restart",
    "Stop",
    "SwitchCommand",
    "SwitchRequest",
    "TcpProbe",
]

_IMAGE = r"^[a-z0-9][A-Za-z0-9._:/@-]{0,499}$"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,254}")
Workload = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\*?$")]


class Program(Frozen):
    """How the processes of some services or tasks are started, asked, told and ended."""

    id: Id
    """Name of the entry."""
    workloads: Annotated[tuple[Workload, ...], ListOf, Field(min_length=1, max_length=10_000)] = ()
    """Services and tasks that it starts; a `*` at the end stands for any end. Its own name when
    left out."""
    argv: Annotated[tuple[Text, ...], ListOf, Field(min_length=1, max_length=1000)]
    """Program and arguments. The program is an absolute path, or a name that is looked for in PATH
    once; [places](#places) in the arguments are filled."""
    env: Annotated[dict[EnvName, Text], Field(max_length=1000)] = Field(default_factory=dict)
    """Its environment; [places](#places) are filled."""
    pass_env: Annotated[tuple[EnvName, ...], ListOf, Field(max_length=1000)] = (
        "HOME",
        "LANG",
        "LC_ALL",
        "PATH",
        "TZ",
    )
    """Variables that are passed on from where `colocate` runs. No others are."""
    directory: Directory = "/"
    """Working directory."""
    ports: Ports | None = None
    """Where `{port}` comes from."""
    ready: Probe = AliveProbe(kind="alive")
    """How to tell that it is ready: `alive` when left out."""
    batch: BatchSetting
    """How it learns its batch size."""
    switch: Switch | None = None
    """How requests are sent to a new process instead of an old one. Without it nobody is told."""
    checkpoint: Checkpoint | None = None
    """How it saves its work before it is stopped."""
    stop: Stop = Stop()
    """How it is ended: by SIGTERM when left out."""
    restart: Restart = Restart()
    """What happens when it ends by itself: it is started again when left out."""
    pausable: bool = False
    """Whether it may be halted (SIGSTOP) and go on later. Its kernels must be short then: what it
    has given to the GPU runs on."""
    memory_limit: MemoryLimit | None = None
    """Limit of device memory of each of its processes."""
    image: Annotated[str, Field(pattern=_IMAGE)] | None = None
    """Container image, for launchers that use containers. `colocate apply` does not."""
    log_mib: Annotated[int, Field(ge=1, le=1024)] = 10
    """What it writes is kept up to this size, twice."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_program(self.argv[0])
        for what, texts in self._texts():
            _check_places(what, texts, PLACES)
            if "port" in places_in(texts) and self.ports is None:
                msg = f"{what} holds {{port}}, but there are no ports"
                raise ValueError(msg)
        if self.switch is not None:
            _check_places("switch", _call_texts(self.switch), SWITCH_PLACES)
            if isinstance(self.switch, SwitchCommand):
                _check_program(self.switch.argv[0])
        if isinstance(self.ready, TcpProbe) and self.ready.port is None and self.ports is None:
            msg = "ready names no port, and there are no ports"
            raise ValueError(msg)
        if set(self.env) & set(self.pass_env):
            both = sorted(set(self.env) & set(self.pass_env))[0]
            msg = f"{both} is both in env and in pass_env"
            raise ValueError(msg)
        self._check_batch()
        return self

    def _check_batch(self) -> None:
        batch = self.batch
        if isinstance(batch, BatchArgument) and "batch" not in places_in(self.argv):
            msg = "batch is set in argv, but no argument holds {batch}"
            raise ValueError(msg)
        if isinstance(batch, BatchVariable) and batch.variable in (*self.env, *self.pass_env):
            msg = f"{batch.variable} is set by batch, and again in env or pass_env"
            raise ValueError(msg)
        if isinstance(batch, BatchRequest | BatchCommand):
            if "batch" not in places_in(_call_texts(batch)):
                msg = "batch has no place {batch} to say which"
                raise ValueError(msg)
            if isinstance(batch, BatchCommand):
                _check_program(batch.argv[0])

    def _texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield every text with places, with the name of its field."""
        yield "argv", self.argv
        yield "env", tuple(self.env.values())
        if isinstance(self.ready, HttpProbe):
            yield "ready", (self.ready.url,)
        elif isinstance(self.ready, FileProbe):
            yield "ready", (self.ready.path,)
        elif isinstance(self.ready, CommandProbe):
            _check_program(self.ready.argv[0])
            yield "ready", self.ready.argv
        if isinstance(self.batch, BatchTriton):
            yield "batch", (self.batch.url, self.batch.config)
        elif isinstance(self.batch, BatchRequest | BatchCommand):
            yield "batch", _call_texts(self.batch)
        if self.checkpoint is not None:
            _check_program(self.checkpoint.argv[0])
            yield "checkpoint", self.checkpoint.argv

    @property
    def sets_batch_live(self) -> bool:
        """Whether it can change the batch size of a running process."""
        return isinstance(self.batch, BatchRequest | BatchCommand | BatchTriton)


class LaunchFile(Frozen):
    """How the services and tasks of a plan are started."""

    schema_: Literal["colocate/launch/v1"] = Field(
        default="colocate/launch/v1", alias="schema", validate_default=False
    )
    """Format and version."""
    programs: Annotated[tuple[Program, ...], ListOf, Field(min_length=1, max_length=10_000)]
    """One entry for each kind of process."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen: set[str] = set()
        for program in self.programs:
            if program.id in seen:
                msg = f"program {program.id!r} is listed twice"
                raise ValueError(msg)
            seen.add(program.id)
        named: dict[str, str] = {}
        for program in self.programs:
            for name in program.workloads or (program.id,):
                other = named.setdefault(name, program.id)
                if other != program.id:
                    msg = f"{name!r} is started by {other!r} and by {program.id!r}"
                    raise ValueError(msg)
        return self

    def program(self, program_id: str) -> Program:
        """Return the entry of this name, or raise `KeyError`."""
        for program in self.programs:
            if program.id == program_id:
                return program
        raise KeyError(program_id)

    def starting(self, workload: str) -> Program | None:
        """Return how a service or task is started: by its whole name, else by the longest start."""
        best: tuple[int, Program] | None = None
        for program in self.programs:
            for name in program.workloads or (program.id,):
                if name == workload:
                    return program
                if (
                    name.endswith("*")
                    and workload.startswith(name[:-1])
                    and (best is None or len(name) > best[0])
                ):
                    best = (len(name), program)
        return None if best is None else best[1]


def _call_texts(
    call: SwitchCommand | SwitchRequest | BatchCommand | BatchRequest,
) -> tuple[str, ...]:
    if isinstance(call, SwitchCommand | BatchCommand):
        return call.argv
    return (call.url, call.body or "")


def _check_places(what: str, texts: tuple[str, ...], known: dict[str, str]) -> None:
    unknown = sorted(places_in(texts) - set(known))
    if unknown:
        msg = f"{what} holds {{{unknown[0]}}}; the places are {', '.join(sorted(known))}"
        raise ValueError(msg)


def _check_program(name: str) -> None:
    if "{" in name or not (name.startswith("/") or _NAME.fullmatch(name)):
        msg = (
            f"program {name!r} must be an absolute path, or a name without slashes that is looked "
            "for in PATH"
        )
        raise ValueError(msg)
