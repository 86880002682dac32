"""What the plan rests on and where it comes from: evidence, instance, solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report import svg
from colocate.report.facts import GRADES, GpuRow, coverage
from colocate.report.gpus import legend
from colocate.report.markup import Markup, element
from colocate.report.words import percent, plural, shorten
from colocate.report.workloads import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.instance import Instance
    from colocate.plan import Plan
    from colocate.result import Result
    from colocate.schema import Component

__all__ = ["about_section", "coverage_section"]

MOST_ROWS = 40
_MEANING = {
    "measured": "measured",
    "regressed": "regressed from other measurements",
    "constant": "a constant guess",
    "unknown": "no prediction",
}


def coverage_section(rows: Sequence[GpuRow]) -> Markup | None:
    """Return what the predictions rest on; a GPU counts by its weakest."""
    if not rows:
        return None
    counts = coverage(rows)
    used = counts.gpus_used
    shapes: list[Markup] = []
    x = 0.0
    for grade in GRADES:
        part = counts.gpus[grade] / used
        if not part:
            continue
        title = f"{grade}: {plural(counts.gpus[grade], 'GPU')}, {percent(part)}"
        shapes.append(svg.group(title, svg.rect(x, 0, max(1, 960 * part - 1), 18, grade)))
        x += 960 * part
    grades = [g for g in GRADES if counts.gpus[g] or counts.replicas[g] or counts.workers[g]]
    body = [
        element(
            "tr",
            element("td", _MEANING[g], class_="name"),
            element("td", f"{counts.gpus[g]:,}", class_="n"),
            element("td", percent(counts.gpus[g] / used), class_="n"),
            element("td", f"{counts.replicas[g]:,}", class_="n"),
            element("td", f"{counts.workers[g]:,}", class_="n"),
        )
        for g in grades
    ]
    columns = [
        ("", "evidence"),
        ("n", "GPUs"),
        ("n", "of those in use"),
        ("n", "replicas"),
        ("n", "workers"),
    ]
    return element(
        "section",
        element("h2", "What the predictions rest on"),
        element("p", "A GPU counts by the weakest evidence on it.", class_="note"),
        legend([(g, _MEANING[g]) for g in grades]),
        svg.drawing(960, 18, "GPUs by weakest evidence", *shapes),
        table(columns, body),
        _weak(rows),
        id="evidence",
    )


def _weak(rows: Sequence[GpuRow]) -> Markup | None:
    weak = sorted(
        (r for r in rows if r.grade in ("constant", "unknown")),
        key=lambda r: (-GRADES.index(r.grade), -r.count),
    )
    if not weak:
        return None
    if len(weak) == len(rows):
        return element("p", "No placement rests on measurement alone.", class_="note")
    body = [
        element(
            "tr",
            element("td", f"{r.pool}/{shorten(r.gpus, 30)}", class_="id"),
            element("td", f"{r.count:,}", class_="n"),
            element(
                "td",
                ", ".join(
                    c.name if c.grade == "measured" else f"{c.name} ({c.grade})"
                    for c in r.cotenants
                ),
            ),
        )
        for r in weak[:MOST_ROWS]
    ]
    rest = len(weak) - len(body)
    return element(
        "div",
        element("p", "These placements rest on a guess:", class_="note"),
        table([("", "GPU"), ("n", "count"), ("", "holds")], body),
        element("p", f"{plural(rest, 'more combination')} not shown.", class_="note")
        if rest > 0
        else None,
    )


def _component(component: Component) -> str:
    inside = ", ".join(f"{k} = {v}" for k, v in sorted(component.params.items()))
    return f"{component.name} ({inside})" if inside else component.name


def about_section(instance: Instance, plan: Plan, result: Result | None) -> Markup:
    """Return where the plan comes from, so that it can be made again."""
    pools = "; ".join(
        f"{p.id}: {plural(p.size, p.gpu_type + ' GPU')}, {p.memory_gib:g} GiB, {p.sm_count} SMs"
        for p in instance.gpu_pools[:12]
    )
    if len(instance.gpu_pools) > 12:
        pools += f"; and {len(instance.gpu_pools) - 12} more pools"
    items: list[tuple[str, object]] = [
        ("instance", instance.name),
        ("instance hash", element("code", plan.instance_sha256)),
        ("GPU pools", pools),
        ("objective", _component(instance.objective)),
        ("SLO model", _component(instance.slo_model)),
        ("confidence", f"{instance.confidence:g}"),
        ("solver", plan.solver),
    ]
    if result is not None:
        t = result.timings
        items += [
            ("chosen because", result.solver_detail or None),
            ("seed", result.seed),
            (
                "time",
                (
                    f"{t.total_s:.3g} s (compile {t.compile_s:.3g}, solve {t.solve_s:.3g}, "
                    f"verify {t.verify_s:.3g})"
                ),
            ),
            ("remark", result.termination.detail or None),
            ("notes", "; ".join(result.notes) or None),
            ("versions", ", ".join(f"{k} {v}" for k, v in sorted(result.versions.items())) or None),
        ]
    return element(
        "section",
        element("h2", "Where it comes from"),
        element(
            "dl",
            [
                (element("dt", label), element("dd", value))
                for label, value in items
                if value is not None
            ],
            class_="facts",
        ),
        id="about",
    )
