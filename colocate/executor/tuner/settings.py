"""Everything that can be set about the tuner, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.errors import ColocateError, InputError
from colocate.executor.tuner.fetch import check_url
from colocate.executor.tuner.sources import (
    TRITON,
    VLLM,
    FileSource,
    Names,
    PrometheusSource,
    Source,
    text_from,
)
from colocate.executor.tuner.trigger import TriggerSettings
from colocate.schema import Frozen, Id, ListOf

__all__ = ["SourceSpec", "TunerSettings", "sources_of"]

Metric = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class SourceSpec(Frozen):
    """Where a service tells how it does."""

    service: Id
    """Id of the service."""
    replica: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Which of its replicas."""
    kind: Literal["prometheus", "triton", "vllm", "file"]
    """`file` is a JSON file; the others are metrics pages."""
    url: Text | None = None
    """Address of the metrics page."""
    path: Text | None = None
    """A file in place of a page."""
    labels: dict[Metric, Text] = Field(default_factory=dict)
    """Only series that have all of these, such as `{"model": "bert"}`."""
    requests: Metric | None = None
    """`prometheus`: counter of requests."""
    failures: Metric | None = None
    """`prometheus`: counter of requests that failed."""
    latency: Metric | None = None
    """`prometheus`: histogram of the latency, without `_bucket`."""
    latency_unit: Literal["s", "ms", "us"] = "s"
    """`prometheus`: unit of the latency."""
    samples_per_request: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """How many samples of the profile one request counts for."""
    window_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    """Rates and percentiles are over so long."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long an answer may take."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) == (self.path is None):
            msg = f"service {self.service!r}: give either url or path"
            raise ValueError(msg)
        if self.kind == "file" and self.path is None:
            msg = f"service {self.service!r}: a JSON file needs path"
            raise ValueError(msg)
        if self.kind == "prometheus" and self.requests is None:
            msg = f"service {self.service!r}: name the counter of its requests (`requests`)"
            raise ValueError(msg)
        if self.url is not None:
            try:
                check_url(self.url)
            except InputError as failed:
                raise ValueError(failed.message) from None
        return self

    def source(self) -> Source:
        """Return the source."""
        if self.kind == "file":
            assert self.path is not None
            return FileSource(Path(self.path))
        place = self.url if self.url is not None else Path(self.path or "")
        return PrometheusSource(
            text_from(place, timeout_s=self.timeout_s),
            self._names(),
            labels=self.labels,
            window_s=self.window_s,
            samples_per_request=self.samples_per_request,
        )

    def _names(self) -> Names:
        if self.kind == "triton":
            return TRITON
        if self.kind == "vllm":
            return VLLM
        assert self.requests is not None
        return Names(
            requests=self.requests,
            failures=self.failures,
            buckets=self.latency,
            unit_ms={"s": 1000.0, "ms": 1.0, "us": 0.001}[self.latency_unit],
        )


class TunerSettings(Frozen):
    """Everything that can be set about the tuner."""

    schema_: Literal["colocate/tuner/v1"] = Field(
        default="colocate/tuner/v1", alias="schema", validate_default=False
    )
    """Format and version."""
    sources: Annotated[tuple[SourceSpec, ...], ListOf, Field(max_length=10_000)] = ()
    """How each service tells."""
    trigger: TriggerSettings = TriggerSettings()
    """When to look for another configuration."""
    headroom: Annotated[float, Field(ge=0, le=2)] = 0.3
    """Configurations are made for this much more than the rate that is seen."""
    rising: Annotated[float, Field(ge=0, le=4)] = 0.5
    """While the load rises, they are made for this much more again: it is not over yet."""
    least_gain: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Where the present one is good enough, shares change only for this much more training."""
    drift_from: Annotated[float, Field(gt=0, le=1)] = 0.1
    """A service counts as slower or faster than modelled from this much on."""
    drift_window_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Over so long its latency is looked at for that."""
    resume_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """Paused training goes on when there has been room for it for so long."""
    search: bool = False
    """Whether batches are tried out where the models are unsure."""
    search_dwell_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """How long each batch is tried."""
    observe_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """One row of the profile table for so long without a change."""
    interval_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """Time from one look to the next."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen = set()
        for spec in self.sources:
            if (spec.service, spec.replica) in seen:
                msg = f"service {spec.service!r} replica {spec.replica} has two sources"
                raise ValueError(msg)
            seen.add((spec.service, spec.replica))
        return self


def sources_of(settings: TunerSettings) -> Mapping[tuple[str, int], Source]:
    """Return the sources, by service and replica.

    Raises
    ------
    ColocateError
        When one of them cannot be used.
    """
    found: dict[tuple[str, int], Source] = {}
    for spec in settings.sources:
        try:
            found[spec.service, spec.replica] = spec.source()
        except ColocateError as failed:
            raise InputError(
                f"service {spec.service!r}: {failed.message}", advice=failed.advice
            ) from None
    return found
