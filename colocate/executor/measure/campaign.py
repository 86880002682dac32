"""What is to be measured, as a file: workloads, settings, companies, and how well."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from colocate.errors import InputError
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.tenants import Workload as Program
from colocate.executor.measure.workloads import BUILTIN
from colocate.io import MAX_BYTES, MEMORY_PER_BYTE
from colocate.io.files import Source, read_source
from colocate.io.json_path import show_path
from colocate.io.json_read import read_json
from colocate.profile.batch import Batch
from colocate.schema import Frozen, Id, ListOf, NonNegative, Positive, Share

__all__ = [
    "SCHEMA",
    "Campaign",
    "CampaignEffort",
    "CampaignWorkload",
    "Companies",
    "load_campaign",
]

SCHEMA: Final = "colocate/campaign/v1"
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Batches = Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=100)]
Shares = Annotated[tuple[Share, ...], ListOf, Field(min_length=1, max_length=100)]


class CampaignWorkload(Frozen):
    """A program, and the settings at which it is measured alone."""

    name: Id
    """Name under which its rows are written."""
    role: Literal["inference", "training"]
    """Whether it answers requests or trains."""
    builtin: Id | None = None
    """One of the built-in workloads; or give a `command`."""
    command: Annotated[tuple[Text, ...], ListOf, Field(min_length=1, max_length=1000)] | None = None
    """Program and arguments; it speaks the worker's protocol. The program by its absolute path."""
    environment: Annotated[dict[Variable, Annotated[str, Field(max_length=32_768)]], Field()] = (
        Field(default_factory=dict)
    )
    """Variables that it needs besides the few that are passed on."""
    directory: Text | None = None
    """Working directory, absolute."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that the command makes, each of which reports."""
    memory_limit_gib: Positive | None = None
    """Limit for each of its processes, kept by MPS."""
    batches: Batches
    """Batch sizes."""
    shares_pct: Shares = (100,)
    """Shares at which it is measured alone, at every batch size."""
    loads: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], ListOf, Field(max_length=20)
    ] = ()
    """Arrival rates at which latencies are measured, alone: parts of the rate without arrivals at
    the same batch and share. For inference."""
    arrivals_rps: Annotated[tuple[Positive, ...], ListOf, Field(max_length=20)] = ()
    """The same as rates. For inference."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.builtin is None) == (self.command is None):
            msg = f"workload {self.name!r} needs either 'builtin' or 'command'"
            raise ValueError(msg)
        if self.builtin is not None:
            known = BUILTIN.get(self.builtin)
            if known is None:
                msg = f"there is no built-in workload {self.builtin!r}; {', '.join(BUILTIN)} are"
                raise ValueError(msg)
            if known.role not in (None, self.role):
                msg = f"the built-in workload {self.builtin!r} is for {known.role}"
                raise ValueError(msg)
        if self.command is not None and not PurePath(self.command[0]).is_absolute():
            msg = f"workload {self.name!r}: {self.command[0]!r} is no absolute path"
            raise ValueError(msg)
        if self.directory is not None and not PurePath(self.directory).is_absolute():
            msg = f"workload {self.name!r}: directory {self.directory!r} is no absolute path"
            raise ValueError(msg)
        if self.role == "training" and (self.loads or self.arrivals_rps):
            msg = f"workload {self.name!r} trains: nothing arrives there"
            raise ValueError(msg)
        return self

    def program(self, python: str | None = None) -> Program:
        """Return what is started; the built-in ones run in this Python unless told otherwise."""
        command = self.command
        if command is None:
            module = "colocate.executor.measure.workloads"
            command = (python or sys.executable, "-m", module, str(self.builtin))
        limit = self.memory_limit_gib
        return Program(
            name=self.name,
            role=self.role,
            command=command,
            environment=dict(self.environment),
            directory=self.directory,
            processes=self.processes,
            memory_limit_mib=None if limit is None else max(1, int(1024 * limit)),
        )


class Companies(Frozen):
    """Workloads that are measured beside each other: every one of `of` with every one of `beside`.

    They run without arrivals. Who is in both lists is measured beside itself, too.
    """

    of: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=1000)]
    """Names of workloads."""
    beside: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=1000)]
    """Names of workloads."""
    shares_pct: Annotated[
        tuple[Annotated[tuple[Share, ...], ListOf, Field(min_length=2, max_length=2)], ...],
        ListOf,
        Field(min_length=1, max_length=100),
    ] = ((30, 70), (50, 50), (70, 30))
    """Pairs of shares, of the first and of the second."""
    batches: Literal["largest", "smallest", "all"] = "largest"
    """At which of their batch sizes."""


class CampaignEffort(Frozen):
    """When something counts as measured."""

    warm_up_s: NonNegative = Effort.warm_up_s
    """Time that nobody looks at, at the start of each point."""
    window_s: Positive = Effort.window_s
    """Length of one window; longer where a batch takes long."""
    steady_windows: Annotated[int, Field(ge=1, le=100)] = Effort.steady_windows
    """A rate is steady when the mean of so many windows is that of as many before them."""
    steady_within: Annotated[float, Field(gt=0, lt=1)] = Effort.steady_within
    """So far apart may the two be, as a part."""
    steady_most_s: Positive = Effort.steady_most_s
    """After so much time it is measured all the same, and said that it was not steady."""
    least_windows: Annotated[int, Field(ge=2, le=10_000)] = Effort.least_windows
    """Windows that are measured at least. Fewer than 6 give no interval at 95 %."""
    most_windows: Annotated[int, Field(ge=2, le=10_000)] = Effort.most_windows
    """Windows after which it is given up to know it better."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Effort.confidence
    """Of the intervals."""
    rate_within: Annotated[float, Field(gt=0, lt=1)] = Effort.rate_within
    """Half the interval of the rate, as a part of it, at which it is known well enough."""
    latency_within: Annotated[float, Field(gt=0, lt=1)] = Effort.latency_within
    """The same for the 99th percentile of the latency, with arrivals."""
    starts: Annotated[int, Field(ge=1, le=100)] = Effort.starts
    """How often everything is measured, with new processes each time."""
    parked: Annotated[int, Field(ge=0, le=40)] = Effort.parked
    """Processes that may wait idle for their next point; they keep their memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.most_windows < self.least_windows:
            msg = f"most_windows {self.most_windows} is below least_windows {self.least_windows}"
            raise ValueError(msg)
        return self

    def plain(self) -> Effort:
        """Return it without the checks of a file."""
        return Effort(**{name: getattr(self, name) for name in type(self).model_fields})


class Campaign(Frozen):
    """Everything that is to be measured on one type of GPU."""

    schema_: Annotated[Literal["colocate/campaign/v1"], Field(alias="schema")] = SCHEMA
    """Version of the format."""
    name: Id
    """What it is called."""
    gpu_type: Id | None = None
    """GPU type that the rows name; from the name of the GPU when left out."""
    workloads: Annotated[tuple[CampaignWorkload, ...], ListOf, Field(min_length=1, max_length=1000)]
    """The programs."""
    companies: Annotated[tuple[Companies, ...], ListOf, Field(max_length=1000)] = ()
    """Who is measured beside whom."""
    effort: CampaignEffort = CampaignEffort()
    """How well."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [w.name for w in self.workloads]
        twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
        if twice is not None:
            msg = f"workload {twice!r} is there twice"
            raise ValueError(msg)
        for company in self.companies:
            unknown = sorted({*company.of, *company.beside} - set(names))
            if unknown:
                msg = f"companies name {unknown[0]!r}, which is no workload of the campaign"
                raise ValueError(msg)
        return self

    def programs(self, python: str | None = None) -> dict[str, Program]:
        """Return what is started, by name."""
        return {w.name: w.program(python) for w in self.workloads}


def load_campaign(source: Source, *, max_bytes: int = MAX_BYTES) -> Campaign:
    """Read a campaign from a file.

    Raises
    ------
    InputError
        When it cannot be read or is none.
    """
    data, label, _ = read_source(source, max_bytes, InputError)
    document = read_json(data, label, InputError, max(8 << 20, MEMORY_PER_BYTE * max_bytes))
    value = document.value
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise InputError(
            f"the file does not say that it is a campaign ({SCHEMA})",
            path="$.schema",
            advice=f'start it with {{"schema": "{SCHEMA}", ...',
            source=document.source,
        )
    try:
        return Campaign.model_validate(value)
    except ValidationError as failed:
        problems = []
        for error in failed.errors(include_url=False)[:20]:
            steps = tuple(error["loc"])
            text = error["msg"].removeprefix("Value error, ")
            problems.append(InputError(text, path=show_path(steps), source=document.place(steps)))
    first, *more = problems
    raise InputError(
        first.message,
        path=first.path,
        source=first.source,
        advice="correct it; the page on measuring has an example.",
        more=more,
    )
