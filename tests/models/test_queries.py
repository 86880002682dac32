"""`predict` over many rows says what the plain-number faces say row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.models.interference import Knobs, slowdown
from colocate.models.queries import predict
from colocate.profile import ErrorBound, Interference, PairSlowdown, SlowdownTable
from colocate.profile.company import CompanyModel, RoleConstant
from colocate.profile.fitted import Calibration, FittedModels
from colocate.schema import Evidence
from colocate.tables import ProfileTable
from tests.fitted import profile

ERROR = (ErrorBound(confidence=0.9, relative=0.1), ErrorBound(confidence=0.95, relative=0.2))
TABLE = SlowdownTable(
    victim_batch=(1, 8),
    neighbour_batch=(4,),
    victim_share_pct=(20.0, 80.0),
    neighbour_share_pct=(20.0, 80.0),
    slowdown=(1.1, 1.4, 1.0, 1.2, 1.3, 1.9, 1.05, 1.25),
)
MODELS = FittedModels(
    profiles=(
        profile("serve", "inference", (1, 8)),
        profile("train", "training", (4,)),
        profile("train", "training", (4,), "A100"),
    ),
    interference=Interference(
        default_slowdown=1.5,
        default_error=ERROR,
        pairs=(
            PairSlowdown(
                gpu_type="V100", victim="serve", neighbour="train", table=TABLE, error=ERROR
            ),
            PairSlowdown(
                gpu_type="V100",
                victim="train",
                neighbour="serve",
                slowdown=1.3,
                error=ERROR[:1],
                evidence=Evidence.REGRESSED,
            ),
        ),
    ),
    calibration=(
        Calibration(what="alone", evidence=Evidence.MEASURED, high=ERROR),
        Calibration(what="company", gpu_type="V100", evidence=Evidence.MEASURED, high=ERROR[:1]),
    ),
)

shares = st.integers(10, 100)
neighbours = st.lists(
    st.tuples(st.sampled_from(["serve", "train", "other"]), st.sampled_from([1, 4, 8]), shares),
    max_size=3,
)
rows = st.lists(
    st.tuples(
        st.sampled_from(["serve", "train"]),
        st.sampled_from(["V100", "A100"]),
        st.sampled_from([1, 4, 8]),
        shares,
        neighbours,
    ),
    min_size=1,
    max_size=12,
)
Row = tuple[str, str, int, int, list[tuple[str, int, int]]]


def table(asked: list[Row]) -> ProfileTable:
    return ProfileTable.of(
        workload=[r[0] for r in asked],
        role="inference",
        gpu=[r[1] for r in asked],
        batch=[r[2] for r in asked],
        share_pct=[r[3] for r in asked],
        neighbour=["+".join(n[0] for n in r[4]) for r in asked],
        neighbour_batch=["+".join(str(n[1]) for n in r[4]) for r in asked],
        neighbour_share_pct=["+".join(str(n[2]) for n in r[4]) for r in asked],
    )


def plainly(row: Row, confidence: float) -> tuple[float, float, str]:
    """Return rate, lower bound and evidence of one row; nan where unknown."""
    workload, gpu, batch, share, beside = row
    found = [p for p in MODELS.profiles if (p.workload, p.gpu_type) == (workload, gpu)]
    alone = rate_alone(found[0], batch, share) if found else None
    if not alone:
        return math.nan, math.nan, ""
    assert MODELS.interference is not None
    company = slowdown(
        MODELS.interference,
        gpu,
        workload,
        [n[0] for n in beside],
        confidence,
        at=Knobs(batch, share, share),
        beside=[Knobs(n[1], n[2], n[2]) for n in beside],
    )
    assert company is not None
    kept = max(0.0, 1 - relative_error(found[0].rate_error, confidence))
    return alone / company.mean, alone * kept / company.high, str(company.evidence)


@given(rows, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_all_rows_at_once_are_the_rows_one_by_one(asked: list[Row], confidence: float) -> None:
    found = predict(MODELS, table(asked), confidence=confidence)
    for i, row in enumerate(asked):
        rate, low, evidence = plainly(row, confidence)
        assert found.rate[i] == pytest.approx(rate, rel=1e-12, nan_ok=True)
        assert found.low[i] == pytest.approx(low, rel=1e-12, nan_ok=True)
        assert found.evidence[i] == evidence
        assert (found.note[i] == "") == (not math.isnan(rate))


@given(rows)
def test_the_order_of_rows_does_not_matter(asked: list[Row]) -> None:
    there = predict(MODELS, table(asked))
    back = predict(MODELS, table(asked[::-1]))
    np.testing.assert_array_equal(there.rate, back.rate[::-1])
    np.testing.assert_array_equal(there.low, back.low[::-1])


def test_the_upper_side_has_bounds_of_its_own() -> None:
    asked = table([("serve", "V100", 8, 60, []), ("serve", "V100", 8, 60, [("train", 4, 40)])])
    found = predict(MODELS, asked, confidence=0.9)
    np.testing.assert_allclose(found.high, 1.1 * found.rate)
    found = predict(MODELS, asked, confidence=0.95)
    assert found.high[0] == pytest.approx(1.2 * found.rate[0])
    assert found.high[1] == math.inf, "in company 0.95 was never reached"
    found = predict(MODELS, asked, confidence=0.5)
    np.testing.assert_array_equal(found.high, found.rate)


def test_roles_that_met_nowhere_have_no_bounds() -> None:
    company = CompanyModel(
        gpu_type="V100",
        inference=("serve",),
        training=("train",),
        constants=(
            RoleConstant(victim_role="inference", neighbour_role="training", slowdown=1.25, rows=9),
        ),
    )
    constant = {"what": "company", "gpu_type": "V100", "evidence": Evidence.CONSTANT}
    models = MODELS.model_copy(
        update={
            "interference": None,
            "company": (company,),
            "calibration": (
                *MODELS.calibration,
                Calibration(**constant, low=ERROR, high=ERROR),  # type: ignore[arg-type]
            ),
        }
    )
    beside = ("train", "serve")
    asked = table([("serve", "V100", 1, 30, [(name, 4, 60)]) for name in beside])
    known, new = range(2)
    found = predict(models, asked, confidence=0.9)
    assert found.evidence.tolist() == ["constant", "constant"]
    assert found.rate[known] == pytest.approx(found.rate[new])
    assert 0 < found.low[known] < found.rate[known] < found.high[known] < math.inf
    assert (found.low[new], found.high[new]) == (0, math.inf)
    mean = predict(models, asked, confidence=0.5)
    assert mean.low.tolist() == mean.rate.tolist() == mean.high.tolist()


def test_every_neighbour_adds_its_error_on_both_sides() -> None:
    beside = [("train", 4, 40), ("train", 4, 30)]
    asked = table([("serve", "V100", 8, 30, beside[:n]) for n in (1, 2)])
    found = predict(MODELS, asked, confidence=0.9)
    np.testing.assert_allclose(found.high / found.rate, [1.1, 1.1**2])
    assert found.low[1] / found.rate[1] < found.low[0] / found.rate[0]


def test_what_is_unknown_says_why() -> None:
    asked = ProfileTable.of(
        workload=["who", "serve", "serve", "serve", "train"],
        role="inference",
        gpu="V100",
        batch=[1, 3, np.nan, 8, 4],
        share_pct=[50, 50, 50, 5, 50],
    )
    found = predict(MODELS, asked)
    assert np.isnan(found.rate).tolist() == [True, True, True, True, False]
    for note, words in zip(
        found.note,
        ("no profile", "known: 1, 8", "not stated", "below the smallest", ""),
        strict=True,
    ):
        assert words in note


def test_the_only_batch_need_not_be_stated() -> None:
    asked = ProfileTable.of(workload="train", role="training", gpu="V100", share_pct=50)
    assert np.isfinite(predict(MODELS, asked).rate).all()


def test_no_rows_are_no_predictions() -> None:
    assert predict(MODELS, ProfileTable.of()).rate.size == 0
