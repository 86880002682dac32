"""The page about fitted models: whole, harmless, complete, and not too large."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colocate.cli.console import console
from colocate.cli.models.view import print_chosen, print_overview
from colocate.errors import InputError
from colocate.profile import (
    BatchPoints,
    Interference,
    PairSlowdown,
    Profile,
    RatePoint,
    SlowdownTable,
    TabulatedCurve,
)
from colocate.profile.fitted import CurveReport, FitReport, FittedModels, SharePoint
from colocate.report import model_facts, models_html
from colocate.report.models_slowdowns import shade
from tests.fitted import BOUNDS, MODELS, SHARES, TABLE, profile, rate

SVG = "{http://www.w3.org/2000/svg}"
LEFT, RIGHT, TOP, BOTTOM = 44.0, 284.0, 10.0, 146.0
"""Where the curves of a panel lie."""


def parsed(page: str) -> ET.Element:
    assert page.startswith("<!DOCTYPE html>\n")
    return ET.fromstring(page)


def words_of(part: ET.Element) -> str:
    return " ".join(" ".join(part.itertext()).split())


def section(page: ET.Element, name: str) -> ET.Element:
    (found,) = [s for s in page.iter("section") if s.attrib["id"] == name]
    return found


def numbers(text: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in re.findall(r"([\d.]+)[ ,]([\d.]+)", text)]


def panel(page: ET.Element, of: str) -> ET.Element:
    (found,) = [f for f in section(page, "curves").iter("figure") if f[0].attrib["title"] == of]
    return found


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = models_html(MODELS)
    page = parsed(text)
    tags = {e.tag.removeprefix(SVG) for e in page.iter()}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "image", "use", "a"})
    for e in page.iter():
        for name, value in e.attrib.items():
            assert not name.startswith("on")
            assert name not in {"href", "src", "style"}
            assert "url(" not in value
    style = "".join(e.text or "" for e in page.iter("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text.replace("&#x27;", "'")


def test_every_class_has_a_style_and_every_drawing_a_title() -> None:
    page = parsed(models_html(MODELS))
    style = "".join(e.text or "" for e in page.iter("style"))
    known = set(re.findall(r"\.([a-z][a-z0-9-]*)", style))
    used = {c for e in page.iter() for c in e.attrib.get("class", "").split()}
    assert used - known <= {"id", "bar", "name", "n"}
    assert {shade(1 + i / 8, 2.0) for i in range(9)} <= known
    drawings = list(page.iter(f"{SVG}svg"))
    assert len(drawings) >= 7
    for drawing in drawings:
        title = drawing.find(f"{SVG}title")
        assert title is not None
        assert title.text


def test_measured_points_lie_where_they_were_measured() -> None:
    figure = panel(parsed(models_html(MODELS)), "resnet on V100")
    report = next(c for c in MODELS.report.curves if c.workload == "resnet")
    top = 1.06 * max(p.rate for p in report.points)
    dots = [c.attrib for c in figure.iter(f"{SVG}circle") if float(c.attrib["cy"]) <= BOTTOM]
    assert len(dots) == len(report.points) == 12
    found = sorted((float(d["cx"]), float(d["cy"])) for d in dots)
    expected = sorted(
        (LEFT + (RIGHT - LEFT) * p.share_pct / 100, BOTTOM - (BOTTOM - TOP) * p.rate / top)
        for p in report.points
    )
    assert found == [pytest.approx(e, abs=0.06) for e in expected]
    for p in report.points:
        said = f"batch {p.batch}, {p.share_pct:g} %: measured {p.rate:.4g}, fitted {p.fitted:.4g}"
        assert said in words_of(figure)


def test_every_family_is_told_with_its_error() -> None:
    said = words_of(panel(parsed(models_html(MODELS)), "resnet on V100"))
    assert "power 2.75 % (counts 30 %), hyperbola 3.25 % (counts 70 %)" in said
    assert "joined points 41.5 % (counts 0 %)" in said


def test_a_curve_goes_through_its_rates() -> None:
    figure = panel(parsed(models_html(MODELS)), "train on V100")
    (line,) = [p.attrib for p in figure.iter(f"{SVG}polyline")]
    assert line["class"] == "curve-training"
    found = dict(numbers(line["points"]))
    top = 1.06 * max(p.rate for p in MODELS.report.curves[2].points)
    for share in SHARES:
        x = round(LEFT + (RIGHT - LEFT) * share / 100, 1)
        assert found[x] == pytest.approx(BOTTOM - (BOTTOM - TOP) * rate(32, share) / top, abs=0.06)


def test_residuals_hang_on_the_right_side() -> None:
    """The curve lies above the first measurement, by 1 / 0.96, and below the second."""
    figure = panel(parsed(models_html(MODELS)), "train on V100")
    strip = [c.attrib for c in figure.iter(f"{SVG}circle") if float(c.attrib["cy"]) > BOTTOM]
    strip.sort(key=lambda d: float(d["cx"]))
    middle, half, reach = 184.0, 22.0, 0.05
    expected = [1 / 0.96 - 1, 1 / 1.02 - 1, 1 / 0.96 - 1, 1 / 1.02 - 1]
    assert [float(d["cy"]) for d in strip] == [
        pytest.approx(middle - half * e / reach, abs=0.06) for e in expected
    ]
    assert "(+4.2 %)" in words_of(figure)
    assert "(-2 %)" in words_of(figure)


def heights(figure: ET.Element, share: float) -> list[float]:
    """Return how far the band reaches at a share, in parts of the rate there."""
    (band,) = [p.attrib["d"] for p in figure.iter(f"{SVG}path")]
    (line,) = [p.attrib["points"] for p in figure.iter(f"{SVG}polyline")]
    x = round(LEFT + (RIGHT - LEFT) * share / 100, 1)
    rate_there = BOTTOM - dict(numbers(line))[x]
    return sorted((BOTTOM - y) / rate_there for at, y in numbers(band) if at == x)


def test_the_band_is_as_wide_as_the_bounds() -> None:
    at_90 = panel(parsed(models_html(MODELS, confidence=0.9)), "resnet on A100")
    assert heights(at_90, 60.0) == [pytest.approx(0.95, abs=2e-3), pytest.approx(1.04, abs=2e-3)]
    # above, nothing is known at 0.95, so nothing is drawn
    at_95 = panel(parsed(models_html(MODELS, confidence=0.95)), "resnet on A100")
    assert heights(at_95, 60.0) == [pytest.approx(0.92, abs=2e-3), pytest.approx(1.0, abs=2e-3)]
    assert "at most 8 % lower at confidence 0.95" in words_of(at_95)
    at_99 = panel(parsed(models_html(MODELS, confidence=0.99)), "resnet on A100")
    assert "no lower bound is known at confidence 0.99" in words_of(at_99)
    with_mean = panel(parsed(models_html(MODELS, confidence=0.5)), "resnet on A100")
    assert not list(with_mean.iter(f"{SVG}path"))


def test_slowdowns_of_pairs() -> None:
    part = section(parsed(models_html(MODELS)), "slowdowns")
    text = words_of(part)
    assert "constant 1.2" in text
    assert "resnet beside train: 1.3, 1 to 1.9 by batch and share; measured" in text
    assert "bert beside train: 1.07; regressed" in text
    figure = next(f for f in part.iter("figure") if f.attrib.get("class") == "map")
    classes = {
        words_of(g).split(":")[0]: next(r.attrib["class"] for r in g.iter(f"{SVG}rect"))
        for g in figure.iter(f"{SVG}g")
    }
    assert classes["resnet beside train"] == "heat-8"
    assert classes["train beside resnet"] == "heat-1"


def test_a_table_is_read_in_its_own_order() -> None:
    """Every node is drawn once, with the value that the table has there."""
    text = words_of(section(parsed(models_html(MODELS)), "slowdowns"))
    values = iter(TABLE.slowdown)
    for vb in TABLE.victim_batch:
        for nb in TABLE.neighbour_batch:
            for vs in TABLE.victim_share_pct:
                for ns in TABLE.neighbour_share_pct:
                    said = f"batch {vb} at {vs:g} % beside batch {nb} at {ns:g} %: {next(values):g}"
                    assert text.count(said) == 1


def test_calibration_and_what_was_left_out() -> None:
    page = parsed(models_html(MODELS))
    rows = [words_of(r) for r in section(page, "calibration").iter("tr")]
    assert any("rate alone measured 24 3 2.3 % 5 % / 4 % 8 % / –" in r for r in rows)
    assert any("rate in company constant 0 0 – – / – – / –" in r for r in rows)
    left_out = words_of(section(page, "left-out"))
    assert "3 rate must be above 0 row 7: rate (got 0)" in left_out
    assert "1 workload was never measured in company" in words_of(section(page, "remarks"))
    assert MODELS.sha256 in words_of(section(page, "about"))


def test_one_workload_or_one_type() -> None:
    page = parsed(models_html(MODELS, workload="resnet"))
    titles = [f[0].attrib["title"] for f in section(page, "curves").iter("figure")]
    assert titles == ["resnet on A100", "resnet on V100"]
    assert "bert" not in words_of(section(page, "slowdowns"))
    page = parsed(models_html(MODELS, gpu="V100"))
    assert len(list(section(page, "curves").iter("figure"))) == 3
    with pytest.raises(InputError, match="write 'resnet'"):
        models_html(MODELS, workload="resnett")
    with pytest.raises(InputError, match="'bert' on 'A100'"):
        models_html(MODELS, workload="bert", gpu="A100")
    with pytest.raises(InputError, match="use one of A100, V100"):
        models_html(MODELS, gpu="quantum")


def test_models_without_anything() -> None:
    page = parsed(models_html(FittedModels()))
    assert {s.attrib["id"] for s in page.iter("section")} == {"about"}


@given(st.text(max_size=60))
@example("</style><script>alert(1)</script>")
@example("\x1b[31m\x00\ufffe' onmouseover='alert(1)")
@settings(max_examples=15)
def test_no_foreign_text_becomes_markup(text: str) -> None:
    """Objects can also be made in Python, past the checks of a file."""
    spoilt = MODELS.model_copy(
        update={
            "description": text,
            "profiles": tuple(p.model_copy(update={"workload": text}) for p in MODELS.profiles[:1]),
            "report": MODELS.report.model_copy(
                update={
                    "notes": (text,),
                    "company": text,
                    "left_out": (
                        MODELS.report.left_out[0].model_copy(
                            update={"reason": text, "example": text}
                        ),
                    ),
                    "curves": (
                        MODELS.report.curves[0].model_copy(
                            update={"workload": text, "method": text, "notes": (text,)}
                        ),
                    ),
                }
            ),
        }
    )
    page = models_html(spoilt)
    assert {e.tag for e in parsed(page).iter()} <= {
        e.tag for e in parsed(models_html(MODELS)).iter()
    }
    assert all(c == "\n" or c.isprintable() for c in page)


EXTREME = st.sampled_from([0.0, 5e-324, 1e-300, 1e-9, 1.0, 1e15])


@given(st.lists(st.tuples(EXTREME, EXTREME), min_size=1, max_size=5), st.floats(0.5, 0.99))
@settings(max_examples=30)
def test_extreme_rates_are_drawn_too(rates: list[tuple[float, float]], confidence: float) -> None:
    points = tuple(
        SharePoint(batch=1, share_pct=1e-6 + 10 * i, rate=a, fitted=b)
        for i, (a, b) in enumerate(rates)
    )
    curve = TabulatedCurve(
        batches=(
            BatchPoints(
                batch=1,
                points=tuple(RatePoint(share_pct=p.share_pct, rate=p.fitted) for p in points),
            ),
        )
    )
    models = FittedModels(
        profiles=(Profile(workload="w", gpu_type="g", role="inference", curve=curve),),
        report=FitReport(
            curves=(CurveReport(workload="w", gpu_type="g", method="m", points=points),)
        ),
    )
    page = models_html(models, confidence=confidence)
    assert "nan" not in page
    assert "inf," not in page
    parsed(page)
    out = io.StringIO()
    print_overview(console(out), models)
    curves = model_facts.curve_facts(models)
    print_chosen(console(out), curves, ())
    json.dumps(model_facts.summary(models, curves, ()), allow_nan=False)


def test_hundreds_of_curves_and_millions_of_cells_stay_a_page() -> None:
    curves: list[Profile] = []
    reports: list[CurveReport] = []
    for i in range(200):
        curves.append(profile(f"w{i}", "inference", (1, 2, 3, 4, 5, 6, 7, 8)))
        points = tuple(
            SharePoint(batch=1 + j % 8, share_pct=1 + j / 10, rate=100.0, fitted=100.0 + j % 7)
            for j in range(600 if i < 3 else 8)
        )
        error = 50.0 if i < 3 else 1.0
        reports.append(
            CurveReport(
                workload=f"w{i}",
                gpu_type="V100",
                method="m" * 900,
                error_pct=error,
                points=points,
                notes=("n" * 900,) * 40,
            )
        )
    big = SlowdownTable(
        victim_batch=(1, 2, 4, 8, 16),
        neighbour_batch=(1, 2, 4, 8, 16),
        victim_share_pct=tuple(float(p) for p in range(10, 101, 10)),
        neighbour_share_pct=tuple(float(p) for p in range(10, 101, 10)),
        slowdown=tuple(1 + (i % 97) / 100 for i in range(2500)),
    )
    pairs = tuple(
        PairSlowdown(gpu_type="V100", victim=f"w{i}", neighbour=f"w{j}", table=big, error=BOUNDS)
        for i in range(40)
        for j in range(40)
    )
    models = FittedModels(
        profiles=tuple(curves),
        interference=Interference(pairs=pairs),
        report=FitReport(curves=tuple(reports), notes=("x" * 900,) * 500),
    )
    text = models_html(models)
    assert len(text.encode()) < 8_000_000
    page = parsed(text)
    drawn = {f[0].attrib["title"] for f in section(page, "curves").iter("figure")}
    assert len(drawn) == 60
    assert {"w0 on V100", "w1 on V100", "w2 on V100"} <= drawn
    assert "140 curves with smaller errors left out" in words_of(section(page, "curves"))
    slowdowns = words_of(section(page, "slowdowns"))
    assert "4 workloads less affected and 4 neighbours" in slowdowns
    assert "1,576 pairs that vary less left out" in slowdowns


def test_facts_agree_with_the_models() -> None:
    o = model_facts.overview(MODELS)
    assert (o.rows, o.rows_left_out, o.curves, o.workloads, o.gpu_types) == (90, 4, 4, 3, 2)
    assert (o.pairs, o.pair_evidence) == (3, {"measured": 2, "regressed": 1})
    assert o.median_error_pct == 2.5
    nothing = SharePoint(batch=1, share_pct=5, rate=0, fitted=1)
    assert model_facts.residual(nothing) is None


@given(st.integers(1, 300), st.integers(2, 20))
def test_spread_keeps_the_ends(n: int, most: int) -> None:
    chosen = model_facts.spread(range(n), most)
    assert len(chosen) == len(set(chosen)) == min(n, most)
    assert (chosen[0], chosen[-1]) == (0, n - 1)
    assert list(chosen) == sorted(chosen)
