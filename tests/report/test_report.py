"""The HTML page: whole, harmless, complete, and not too large."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colocate import datasets, solve
from colocate.instance import Instance
from colocate.placement import (
    PlacedService,
    PlacedTask,
    PlacementGroup,
    ServicePrediction,
    TaskPrediction,
)
from colocate.plan import Plan, UnplacedTasks
from colocate.report import report_html
from colocate.result import Progress, Result
from colocate.schema import Evidence

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def instance() -> Instance:
    return datasets.get("quickstart")


@pytest.fixture(scope="module")
def result(instance: Instance) -> Result:
    return solve(instance, "greedy")


@pytest.fixture(scope="module")
def plan(result: Result) -> Plan:
    assert result.plan is not None
    return result.plan


def parsed(page: str) -> ET.Element:
    assert page.startswith("<!DOCTYPE html>\n")
    return ET.fromstring(page)


def words_of(part: ET.Element) -> str:
    return " ".join(" ".join(part.itertext()).split())


def section(page: ET.Element, name: str) -> ET.Element:
    (found,) = [s for s in page.iter("section") if s.attrib["id"] == name]
    return found


def test_every_bundled_plan_makes_a_whole_page() -> None:
    made = 0
    for name in datasets.names():
        question = datasets.get(name)
        found = solve(question)
        if found.plan is None:
            continue
        page = parsed(report_html(question, found.plan, found))
        assert name in words_of(page)
        parsed(report_html(question, found.plan))
        made += 1
    assert made >= 10


def test_it_loads_nothing_and_runs_nothing(instance: Instance, result: Result) -> None:
    assert result.plan is not None
    text = report_html(instance, result.plan, result)
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


def test_every_drawing_has_a_title(instance: Instance, plan: Plan) -> None:
    drawings = list(parsed(report_html(instance, plan)).iter(f"{SVG}svg"))
    assert len(drawings) > 20
    for drawing in drawings:
        assert drawing.attrib["role"] == "img"
        title = drawing.find(f"{SVG}title")
        assert title is not None
        assert title.text


def test_every_class_has_a_style(instance: Instance, result: Result) -> None:
    """A class without a rule would be drawn black on black in the dark."""
    assert result.plan is not None
    page = parsed(report_html(instance, result.plan, result))
    style = "".join(e.text or "" for e in page.iter("style"))
    known = set(re.findall(r"\.([a-z][a-z0-9-]*)", style))
    used = {c for e in page.iter() for c in e.attrib.get("class", "").split()}
    assert used - known <= {"id", "bar", "name", "n"}


def test_who_shares_with_whom(instance: Instance, plan: Plan) -> None:
    gpus = section(parsed(report_html(instance, plan)), "gpus")
    counts = [int(td.text or "0") for td in gpus.iter("td") if td.attrib.get("class") == "n"]
    assert sum(counts) == plan.totals.gpus_used == 12
    text = words_of(gpus)
    for group in plan.placements:
        knobs = [(s.batch, s.share_pct) for s in group.services]
        knobs += [(t.batch, t.share_pct) for t in group.tasks]
        for batch, share in knobs:
            assert f"batch {batch}, share {share} %" in text
    assert "No GPU is empty" in text


def test_the_headline(instance: Instance, result: Result, plan: Plan) -> None:
    page = words_of(parsed(report_html(instance, plan, result)))
    assert result.bound is not None
    assert f"the bound is {result.bound:.4g}" in page
    assert "was recomputed from the certificate" in page
    without = words_of(parsed(report_html(instance, plan)))
    assert "the plan's own statement" in without
    unknown = words_of(parsed(report_html(instance, plan, replace(result, bound=None, gap=None))))
    assert "No bound is known" in unknown
    assert "the bound is" not in unknown


def test_services_against_their_slo(instance: Instance, plan: Plan) -> None:
    text = words_of(section(parsed(report_html(instance, plan)), "services"))
    for service in instance.services:
        assert service.id in text
        assert f"SLO {service.slo_ms:.4g} ms" in text


def test_what_is_left_out_and_why(instance: Instance, plan: Plan) -> None:
    page = parsed(report_html(instance, plan))
    text = words_of(section(page, "left-out"))
    assert plan.unplaced
    for out in plan.unplaced:
        assert out.task in text
        assert out.detail in text


def test_history_is_drawn_when_there_is_one(instance: Instance, result: Result, plan: Plan) -> None:
    history = tuple(Progress(i / 10, 5.0 + i, 20.0 - i) for i in range(2000))
    page = report_html(instance, plan, replace(result, history=history))
    drawn = section(parsed(page), "history")
    lines = [p.attrib for p in drawn.iter(f"{SVG}polyline")]
    assert {line["class"] for line in lines} == {"incumbent", "bound"}
    assert all(len(line["points"].split()) < 1000 for line in lines)
    assert 'id="history"' not in report_html(instance, plan, replace(result, history=()))


def test_operating_points_lie_in_their_panels(instance: Instance, plan: Plan) -> None:
    curves = section(parsed(report_html(instance, plan)), "curves")
    figures = list(curves.iter("figure"))
    placed = {s.service for g in plan.placements for s in g.services}
    placed |= {t.task for g in plan.placements for t in g.tasks}
    assert len(figures) == len(placed)  # here every one has a profile of its own
    for figure in figures:
        circles = [c for c in figure.iter(f"{SVG}circle") if c.attrib["class"] != "sample"]
        assert circles
        for c in circles:
            assert 40 <= float(c.attrib["cx"]) <= 236
            assert 8 <= float(c.attrib["cy"]) <= 126
    found = {round(float(c.attrib["cx"])) for c in curves.iter(f"{SVG}circle")}
    (sm_count,) = {p.sm_count for p in instance.gpu_pools}
    sms = {s.sms for g in plan.placements for s in g.services}
    sms |= {t.sms for g in plan.placements for t in g.tasks}
    assert {round(40 + 196 * n / sm_count) for n in sms} <= found


def test_an_empty_plan(instance: Instance, plan: Plan) -> None:
    totals = plan.totals.model_copy(
        update={
            "gpus_used": 0,
            "gpus_shared": 0,
            "replicas_placed": 0,
            "replicas_missing": 12,
            "tasks_placed": 0,
            "tasks_unplaced": 17,
            "normalised_throughput": 0.0,
        }
    )
    objective = plan.objective.model_copy(update={"value": 0.0})
    empty = plan.model_copy(
        update={
            "placements": (),
            "unplaced": (),
            "totals": totals,
            "certificate": None,
            "objective": objective,
        }
    )
    text = words_of(parsed(report_html(instance, empty)))
    assert "The plan places nothing." in text
    assert "12 GPUs hold nothing." in text


def test_a_plan_of_another_instance_is_flagged(instance: Instance, plan: Plan) -> None:
    warning = "made for another instance"
    assert warning not in report_html(instance, plan)
    assert warning in report_html(datasets.get("single-pair"), plan)


@given(st.text(max_size=60))
@example("</style><script>alert(1)</script>")
@example("\x1b[31m\x00\ufffe' onmouseover='alert(1)")
@settings(max_examples=15)
def test_no_foreign_text_becomes_markup(text: str) -> None:
    """Objects can also be made in Python, past the checks of a file."""
    question = datasets.get("single-pair")
    found = solve(question, "greedy")
    assert found.plan is not None
    group = found.plan.placements[0]
    service = group.services[0].model_copy(update={"service": text})
    spoilt = found.plan.model_copy(
        update={
            "placements": (group.model_copy(update={"services": (service,), "pool": text}),),
            "unplaced": (UnplacedTasks(task="x", ids="0", reason="memory", detail=text),),
            "solver": text,
        }
    )
    clean = report_html(question, found.plan, found)
    page = report_html(
        question.model_copy(update={"description": text, "name": text}),
        spoilt,
        replace(found, solver_detail=text, versions={text: text}),
    )
    tags = {e.tag for e in parsed(page).iter()}
    assert tags <= {e.tag for e in parsed(clean).iter()} | {"section", "div", "li", "tr"}
    assert all(c == "\n" or c.isprintable() for c in page)


def ten_thousand(plan: Plan) -> Plan:
    """Return a plan in which 10,000 GPUs all differ."""
    expected = ServicePrediction(
        rate_rps=700.0,
        rate_lo_rps=600.0,
        latency_ms=200.0,
        latency_hi_ms=220.0,
        memory_gib=3.0,
        evidence=Evidence.MEASURED,
    )
    progress = TaskPrediction(
        rate=50.0, rate_lo=40.0, normalised_rate=0.5, memory_gib=3.0, evidence=Evidence.CONSTANT
    )
    groups = tuple(
        PlacementGroup(
            pool="node-0",
            gpus=str(2 * i),
            services=(
                PlacedService(
                    service=f"service-{i}",
                    replicas="0",
                    batch=64,
                    share_pct=1 + i % 60,
                    sms=1 + i % 60,
                    predicted=expected,
                ),
            ),
            tasks=(
                PlacedTask(
                    task=f"task-{i}",
                    workers="0",
                    batch=32,
                    share_pct=20,
                    sms=20,
                    predicted=progress,
                ),
            ),
        )
        for i in range(10_000)
    )
    left = tuple(
        UnplacedTasks(task=f"out-{i}", ids="0-9", reason="memory", detail=f"needs {i} GiB")
        for i in range(10_000)
    )
    totals = plan.totals.model_copy(update={"gpus_used": 10_000, "gpus_shared": 10_000})
    return plan.model_copy(update={"placements": groups, "unplaced": left, "totals": totals})


def test_ten_thousand_different_gpus(instance: Instance, plan: Plan) -> None:
    page = report_html(instance, ten_thousand(plan))
    assert len(page.encode()) < 2_000_000
    gpus = words_of(section(parsed(page), "gpus"))
    assert "on 80 of 10,000 GPUs" in gpus
    assert "9,920 rarer ones on 9,920 GPUs are left out" in gpus
    assert "more are left out here" in words_of(section(parsed(page), "services"))
