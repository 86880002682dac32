"""One self-contained HTML page about a plan: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report.about import about_section, coverage_section
from colocate.report.curves import curves_section
from colocate.report.document import document
from colocate.report.facts import gpu_rows, service_rows, task_rows
from colocate.report.gpus import gpus_section
from colocate.report.markup import Markup, element
from colocate.report.quality import (
    figures,
    gap_picture,
    history_section,
    prices_section,
    verdict,
)
from colocate.report.words import shorten
from colocate.report.workloads import reasons_section, services_section, tasks_section

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.plan import Plan
    from colocate.result import Result

__all__ = ["report_html"]


def report_html(instance: Instance, plan: Plan, result: Result | None = None) -> str:
    """Return the page about a plan as text.

    Parameters
    ----------
    instance
        The instance that the plan is for.
    plan
        The plan.
    result
        How the plan was found. Adds the recomputed bound, the history and the timings.
    """
    return document(f"Plan for {instance.name}", _body(instance, plan, result), "page.css")


def _body(instance: Instance, plan: Plan, result: Result | None) -> Markup:
    rows = gpu_rows(plan)
    services, tasks = service_rows(plan, instance), task_rows(plan, instance)
    return element(
        "body",
        element(
            "header",
            element("p", "Plan for", class_="eyebrow"),
            element("h1", instance.name),
            _description(instance),
            _warning(instance, plan),
            verdict(plan, result),
            gap_picture(plan, result),
            figures(plan, result, instance.gpu_count),
        ),
        element(
            "main",
            gpus_section(rows, instance.gpu_count),
            services_section(services, instance.confidence),
            tasks_section(tasks),
            reasons_section([*services, *tasks]),
            curves_section(instance, plan),
            coverage_section(rows),
            history_section(result),
            prices_section(plan),
            about_section(instance, plan, result),
        ),
    )


def _description(instance: Instance) -> Markup | None:
    if not instance.description:
        return None
    return element("p", shorten(instance.description, 600), class_="note")


def _warning(instance: Instance, plan: Plan) -> Markup | None:
    if plan.instance_sha256 == instance.sha256:
        return None
    return element(
        "p",
        "This plan was made for another instance: the hashes differ. Read the page with care.",
        class_="warning",
    )
