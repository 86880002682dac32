"""Each model has an array face and a scalar face, written separately: they say the same.

Both are also held against the plain formulas that the oracle uses, which know nothing of either.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone, rates_alone
from colocate.models.interference import EVIDENCE_ORDER, pair_table, slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.profile import Curve, ErrorBound, Interference, Profile
from colocate.schema import TOLERANCE, Component, Evidence
from colocate.testing import _plain_model as plain
from colocate.testing import any_instance
from tests.helpers import instance

SHARES = st.floats(0.01, 100.0)
RATES = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Curves of any shape: rising, falling, flat, zero, one point, many lines."""
    batches = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=3)))
    if draw(st.booleans()):
        rows: list[dict[str, Any]] = []
        for b in batches:
            shares = sorted(draw(st.sets(SHARES, min_size=1, max_size=6)))
            points = [{"share_pct": s, "rate": draw(RATES)} for s in shares]
            points[-1]["rate"] = max(1.0, points[-1]["rate"])
            rows.append({"batch": b, "points": points})
        curve = {"family": "tabulated", "batches": rows}
    else:
        line = st.fixed_dictionaries({"intercept": st.floats(-50, 50), "slope": st.floats(0, 10)})
        rows = [
            {
                "batch": b,
                "min_share_pct": draw(SHARES),
                "lines": [
                    {"intercept": 1.0, "slope": 0.5},
                    *(
                        x
                        for x in draw(st.lists(line, max_size=3))
                        if x["intercept"] + 100 * x["slope"] > 1
                    ),
                ],
            }
            for b in batches
        ]
        curve = {"family": "piecewise_linear", "batches": rows}
    return Profile(
        workload="w",
        gpu_type="A",
        role="inference",
        curve=TypeAdapter(Curve).validate_python(curve),
    )


def interesting_shares(profile: Profile) -> list[float]:
    """Breakpoints, their neighbours in floating point, and what the tolerance reaches."""
    at = []
    for b in profile.curve.batches:
        at += [p.share_pct for p in getattr(b, "points", ())]
        at += [getattr(b, "min_share_pct", 50.0)]
    found = []
    for s in at:
        found += [s, math.nextafter(s, 0), math.nextafter(s, 200)]
        found += [s * (1 - TOLERANCE / 2), s * (1 - 3 * TOLERANCE)]
    return [s for s in found if 0 < s <= 100]


@given(profiles(), st.lists(SHARES, max_size=8))
def test_rate_curves(profile: Profile, shares: list[float]) -> None:
    """Arrays and numbers, at breakpoints, beside them, and anywhere."""
    at = np.array([*interesting_shares(profile), *shares, 100.0])
    for batch in batches_of(profile):
        many = rates_alone(profile, batch, at)
        assert many is not None
        for share, found in zip(at.tolist(), many.tolist(), strict=True):
            assert found == pytest.approx(rate_alone(profile, batch, share), rel=1e-9, abs=1e-9)
            assert found == pytest.approx(
                plain.rate_alone(profile, batch, share), rel=1e-9, abs=1e-9
            )
            assert found >= 0


@given(profiles())
def test_a_batch_that_was_not_profiled_has_no_rate(profile: Profile) -> None:
    assert rates_alone(profile, 65, np.array([50.0])) is None
    assert rate_alone(profile, 65, 50.0) is None
    assert plain.rate_alone(profile, 65, 50.0) is None


def bounds(confidences: list[float], relative: list[float]) -> list[ErrorBound]:
    pairs = zip(sorted(set(confidences)), sorted(relative), strict=False)
    return [ErrorBound(confidence=c, relative=r) for c, r in pairs]


BOUNDS = st.builds(
    bounds,
    st.lists(st.sampled_from([0.5, 0.6, 0.8, 0.9, 0.95, 0.99]), max_size=4),
    st.lists(st.floats(0, 2), min_size=6, max_size=6),
)
CONFIDENCE = st.sampled_from([0.5, 0.55, 0.8, 0.9, 0.9 + 1e-10, 0.9 + 1e-8, 0.95, 0.999])


@given(BOUNDS, CONFIDENCE)
def test_error_bounds(listed: list[ErrorBound], confidence: float) -> None:
    """Zero at 0.5, else the smallest level that reaches the confidence, else unknown."""
    found = relative_error(listed, confidence)
    assert found == plain._error(listed, confidence)
    if confidence == 0.5:
        assert found == 0
    reaching = [b.relative for b in listed if b.confidence >= confidence - 1e-9]
    if confidence > 0.5:
        # Bounds do not shrink as the confidence grows, so the smallest level has the least error.
        assert found == (min(reaching) if reaching else math.inf)


NAMES = ("a", "b", "c")


@st.composite
def interferences(draw: st.DrawFn) -> Interference:
    """Some pairs, and sometimes a constant."""
    pairs = [
        {
            "gpu_type": gpu_type,
            "victim": v,
            "neighbour": n,
            "slowdown": draw(st.floats(0.5, 10)),
            "error": [b.model_dump() for b in draw(BOUNDS)],
            "evidence": draw(st.sampled_from(list(Evidence))),
        }
        for gpu_type in ("A", "B")
        for v in NAMES
        for n in NAMES
        if draw(st.booleans())
    ]
    return Interference.model_validate(
        {
            "default_slowdown": draw(st.none() | st.floats(0.5, 10)),
            "default_error": [b.model_dump() for b in draw(BOUNDS)],
            "pairs": pairs,
        }
    )


@given(
    interferences(),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(NAMES), max_size=3),
    CONFIDENCE,
)
def test_slowdowns(
    model: Interference, victim: str, neighbours: list[str], confidence: float
) -> None:
    """Several neighbours multiply; one that is unknown makes the whole unknown."""
    table = pair_table(model, "A", NAMES, confidence)
    v, at = NAMES.index(victim), [NAMES.index(n) for n in neighbours]
    mean, high = table.mean[v, at].prod(), table.high[v, at].prod()
    one = slowdown(model, "A", victim, neighbours, confidence)
    asked = instance(interference=model, confidence=confidence)
    other = plain.slowdown_of(asked, "A", victim, neighbours)
    if one is None or other is None:
        assert one is None
        assert other is None
        assert math.isnan(mean)
        return
    assert mean == pytest.approx(one.mean)
    assert high == pytest.approx(one.high)
    assert other == pytest.approx((one.mean, one.high))
    weakest = max((int(table.evidence[v, i]) for i in at), default=0)
    assert one.evidence is EVIDENCE_ORDER[weakest]


MODELS = [
    Component(name="fill"),
    Component(name="fill", params={"rho_max": 0.6}),
    Component(name="mudi"),
    Component(name="queue"),
    Component(name="queue", params={"burstiness": 2.3, "timeout_ms": 40.0, "rho_max": 0.7}),
]


@pytest.mark.parametrize("spec", MODELS)
@given(
    st.integers(1, 256),
    st.floats(1e-5, 1e3),
    st.floats(1.0, 4.0),
    st.floats(1e-3, 1e6),
    st.floats(1e-2, 1e7),
    st.sampled_from([None, 0.0, 1e-12, -1e-12, 1e-6, -1e-6]),
)
def test_slo_models(
    spec: Component,
    batch: int,
    tau_s: float,
    wider: float,
    rate_rps: float,
    slo_ms: float,
    off: float | None,
) -> None:
    """Latency and verdict, also for an SLO that is met exactly, or all but exactly."""
    model = slo_model(spec)
    tau_hi_s = tau_s * wider
    b, lam = np.array([float(batch)]), np.array([rate_rps])
    if off is not None:
        # The latency of a load that no server bears is infinite; no SLO is.
        slo_ms = min(1e12, float(model.latency_ms(b, np.array([tau_hi_s]), lam, 99.0)[0]))
        slo_ms *= 1 + off
    check = model.judge(batch, tau_s, tau_hi_s, rate_rps, slo_ms, 99.0)
    mean, high = (model.latency_ms(b, np.array([tau]), lam, 99.0)[0] for tau in (tau_s, tau_hi_s))
    assert check.latency_ms == pytest.approx(mean)
    assert check.latency_hi_ms == pytest.approx(high)
    allowed = model.allowed(b, np.array([tau_hi_s]), lam, np.array([slo_ms]), 99.0)
    assert check.allowed == bool(allowed[0])
    service = {"id": "web", "profile": "net", "rate_rps": rate_rps, "slo_ms": slo_ms}
    asked = instance(slo_model=spec, services=[service])
    assert check.allowed == plain.stands(asked, asked.services[0], batch, batch / tau_hi_s)


@given(any_instance())
def test_memory(drawn: Any) -> None:
    """Of the smallest listed batch that is large enough, times processes; never zero."""
    for w in plain.workloads_of(drawn):
        for p in drawn.profiles:
            if p.workload != w.entry.profile:
                continue
            for batch in range(1, 40):
                found = memory_per_process(p, batch)
                own = getattr(w.entry, "memory_gib", None)
                expected = plain.memory_of(w.entry, p, batch)
                if own is not None:
                    assert expected == own * w.entry.processes
                elif found is None:
                    assert expected is None
                else:
                    assert expected == found * w.entry.processes > 0
