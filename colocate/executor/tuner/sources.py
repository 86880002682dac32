"""How a service does: its arrival rate and its p99, from whatever it exports.

A source is asked at each look and tells what happened since the look before. What it does not know
is None, which is not the same as nothing: a service without requests has a rate of 0 and no
latency.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from colocate.errors import InputError, clean_text
from colocate.executor.tuner.counters import Counters, Key, quantile
from colocate.executor.tuner.fetch import SourceError, get, read_text
from colocate.executor.tuner.prom_text import Sample, samples
from colocate.io.json_read import read_json

__all__ = [
    "TRITON",
    "VLLM",
    "CallbackSource",
    "FileSource",
    "Names",
    "PrometheusSource",
    "Signal",
    "Source",
    "text_from",
]

FAR_MORE = 8.0
"""So many standard deviations of a Poisson number are no chance, even if arrivals are bursty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """How a service did lately."""

    seconds: float
    """When this was asked."""
    rate_rps: float | None = None
    """Samples per second that arrived. Where far more arrive since the last look than over the
    whole window, it is the rate since then."""
    p99_ms: float | None = None
    """99th percentile of the latency; infinite where it is beyond every bound of the histogram."""
    samples: float | None = None
    """How many requests the percentile rests on."""
    queue: float | None = None
    """Requests that wait."""


class Source(Protocol):
    """Tells how a service does."""

    def read(self, now: float) -> Signal:
        """Return what happened since the last call, or raise `SourceError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the metrics of a kind of server are called."""

    requests: str
    """Counter of requests, or of samples."""
    failures: str | None = None
    """Counter of requests that failed: they arrived too."""
    buckets: str | None = None
    """Histogram of the latency, without `_bucket`."""
    summary: str | None = None
    """Summary of the latency with a quantile 0.99."""
    unit_ms: float = 1000.0
    """Milliseconds in the unit of the latency."""
    queue: str | None = None
    """Gauge of requests that wait."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every name that is looked for in the text."""
        bucket = None if self.buckets is None else f"{self.buckets}_bucket"
        found = (self.requests, self.failures, bucket, self.summary, self.queue)
        return tuple(name for name in found if name is not None)


TRITON = Names(
    requests="nv_inference_count",
    failures="nv_inference_request_failure",
    summary="nv_inference_request_summary_us",
    unit_ms=0.001,
    queue="nv_inference_pending_request_count",
)
"""Triton (user guide, Metrics). The summary is off unless the server is started with
`--metrics-config summary_latencies=true`; without it there is no percentile."""
VLLM = Names(
    requests="vllm:request_success_total",
    buckets="vllm:e2e_request_latency_seconds",
    queue="vllm:num_requests_waiting",
)
"""vLLM (production metrics): one sample is one request."""


class PrometheusSource:
    """A metrics page, or a file in the same format."""

    def __init__(
        self,
        text: Callable[[], str],
        names: Names,
        *,
        labels: Mapping[str, str] | None = None,
        window_s: float = 5.0,
        samples_per_request: float = 1.0,
    ) -> None:
        """Read a page.

        Parameters
        ----------
        text
            Gets it.
        names
            What to look for.
        labels
            Only series that have all of these; sums over all others.
        window_s
            Rates and percentiles are over so long: shorter ones are noisy, longer ones are late.
        samples_per_request
            What one count of the counter stands for, in samples of the profile.
        """
        self.text = text
        self.names = names
        self.labels = dict(labels or {})
        self.window_s = window_s
        self.samples_per_request = samples_per_request
        self._requests = Counters()
        self._buckets = Counters()
        self._past: deque[tuple[float, float, dict[float, float]]] = deque()
        self._last: float | None = None

    def read(self, now: float) -> Signal:
        """Ask for the page, and tell what has changed over the window."""
        found = samples(self.text(), self.names.all)
        found = [s for s in found if self.labels.items() <= dict(s.labels).items()]
        if not any(s.name == self.names.requests for s in found):
            raise SourceError(
                f"there is no {self.names.requests!r} with labels {self.labels}",
                advice="check the name of the metric and the labels.",
            )
        arrived = sum(
            self._requests.grown(
                {
                    (("", s.name), *s.labels): s.value
                    for s in found
                    if s.name in (self.names.requests, self.names.failures)
                }
            ).values()
        )
        buckets = self._bucket_growth(found)
        first = self._last is None
        begin, self._last = self._last, now
        if not first and begin is not None:
            self._past.append((begin, arrived, buckets))
        while len(self._past) > 1 and self._past[1][0] <= now - self.window_s:
            self._past.popleft()
        return self._signal(now, found)

    def _bucket_growth(self, found: Sequence[Sample]) -> dict[float, float]:
        """Return by how much each bucket has grown, over all series, by its bound."""
        if self.names.buckets is None:
            return {}
        values: dict[Key, float] = {}
        for s in found:
            if s.name == f"{self.names.buckets}_bucket" and s.label("le") is not None:
                values[s.labels] = s.value
        grown: dict[float, float] = {}
        for labels, value in self._buckets.grown(values).items():
            bound = _bound(dict(labels)["le"])
            if bound is not None:
                grown[bound] = grown.get(bound, 0.0) + value
        return grown

    def _signal(self, now: float, found: Sequence[Sample]) -> Signal:
        queue = [s.value for s in found if s.name == self.names.queue and math.isfinite(s.value)]
        rate = p99 = count = None
        if self._past and now > self._past[0][0]:
            rate = self.samples_per_request * self._rate(now)
        if self.names.buckets is not None:
            total: dict[float, float] = {}
            for _, _, buckets in self._past:
                for bound, value in buckets.items():
                    total[bound] = total.get(bound, 0.0) + value
            tail = quantile(total.items(), 0.99)
            if tail is not None:
                p99 = (math.inf if math.isinf(tail.upper) else tail.value) * self.names.unit_ms
                count = tail.count
        elif self.names.summary is not None:
            tails = [
                s.value
                for s in found
                if s.name == self.names.summary and _bound(s.label("quantile") or "") == 0.99
            ]
            p99 = max(tails) * self.names.unit_ms if tails else None
        return Signal(
            seconds=now,
            rate_rps=rate,
            p99_ms=p99,
            samples=count,
            queue=sum(queue) if queue else None,
        )

    def _rate(self, now: float) -> float:
        """Return requests per second over the window, or since the last look if far more."""
        begin, late, _ = self._past[-1]
        mean = sum(a for _, a, _ in self._past) / (now - self._past[0][0])
        if now <= begin:
            return mean
        expected = mean * (now - begin)
        if late > expected + FAR_MORE * math.sqrt(max(expected, 1.0)):
            return late / (now - begin)
        return mean


def _bound(text: str) -> float | None:
    if len(text) > 64 or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


class FileSource:
    """A JSON file that something else keeps up to date: `{"rate_rps": 120, "p99_ms": 40}`."""

    KEYS = ("rate_rps", "p99_ms", "samples", "queue")
    MAX_BYTES = 65536

    def __init__(
        self, path: Path, *, stale_s: float = 10.0, wall: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.stale_s = stale_s
        self.wall = wall

    def read(self, now: float) -> Signal:
        """Read the file; one that nobody has written to for long is no answer."""
        shown = clean_text(str(self.path), 100)
        text = read_text(self.path, max_bytes=self.MAX_BYTES)
        try:
            age = self.wall() - self.path.stat().st_mtime
            value = read_json(text.encode(), shown, InputError, self.MAX_BYTES * 8).value
        except OSError as failed:
            raise SourceError(f"{shown}: {failed.strerror}") from None
        except InputError as failed:
            raise SourceError(f"{shown}: {failed.message}", advice=failed.advice) from None
        if age > self.stale_s:
            raise SourceError(
                f"{shown} is {age:.0f} s old (limit {self.stale_s:g})",
                advice="check what writes it, and write by renaming.",
            )
        if not isinstance(value, dict) or not value.keys() <= set(self.KEYS):
            raise SourceError(
                f"{shown} holds something else than {', '.join(self.KEYS)}",
                advice='write {"rate_rps": 120.0, "p99_ms": 40.0}.',
            )
        return Signal(seconds=now, **{k: _positive(k, v, shown) for k, v in value.items()})


def _positive(key: str, value: object, shown: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e15:
        raise SourceError(
            f"{shown}: {key} is {clean_text(json.dumps(value, default=str), 60)}",
            advice="write a number from 0, or null.",
        )
    return float(value)


class CallbackSource:
    """A function of the clock, for programs that know already."""

    def __init__(self, ask: Callable[[float], Signal]) -> None:
        self.ask = ask

    def read(self, now: float) -> Signal:
        """Call it, and check what it says."""
        found = self.ask(now)
        for name in ("rate_rps", "p99_ms", "samples", "queue"):
            value = getattr(found, name)
            if value is not None and (math.isnan(value) or value < 0):
                raise SourceError(f"the callback says {name} {value}", advice="say None instead.")
        return found


def text_from(place: str | Path, *, timeout_s: float = 2.0) -> Callable[[], str]:
    """Return what gets a metrics page from a URL or a file."""
    if isinstance(place, Path):
        return lambda: read_text(place)
    return lambda: get(place, timeout_s=timeout_s)
