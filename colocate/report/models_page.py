"""One self-contained HTML page about fitted models: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report import model_facts
from colocate.report.document import document
from colocate.report.markup import Markup, element
from colocate.report.models_calibration import calibration_section
from colocate.report.models_curves import fitted_curves_section
from colocate.report.models_slowdowns import slowdowns_section
from colocate.report.words import plural, shorten
from colocate.report.workloads import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.profile.fitted import FittedModels

__all__ = ["models_html"]

MOST_REASONS = 60
MOST_NOTES = 60


def models_html(
    models: FittedModels,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    confidence: float = 0.95,
) -> str:
    """Return the page about fitted models as text.

    Parameters
    ----------
    models
        What was fitted.
    workload, gpu
        Show only the curves and pairs of this workload or GPU type.
    confidence
        With which the bounds that are drawn hold, on each side; 0.5 draws none.

    Raises
    ------
    InputError
        When there is no such workload or GPU type.
    """
    chosen = " on ".join(filter(None, (workload, gpu)))
    title = f"Fitted models: {chosen}" if chosen else "Fitted models"
    curves = model_facts.curve_facts(models, workload, gpu)
    pairs = model_facts.pair_facts(models, workload, gpu)
    body = element(
        "body",
        element(
            "header",
            element("p", "What measurements say", class_="eyebrow"),
            element("h1", title),
            element("p", shorten(models.description, 600), class_="note")
            if models.description
            else None,
            _figures(models),
        ),
        element(
            "main",
            fitted_curves_section(models, curves, confidence),
            slowdowns_section(
                models.interference,
                models.report.company,
                pairs,
                [s.words for s in model_facts.structure_facts(models, gpu)],
            ),
            calibration_section(models.calibration),
            _left_out(models),
            _remarks(models.report.notes),
            _about(models),
        ),
    )
    return document(title, body, "page.css", "models.css")


def _figures(models: FittedModels) -> Markup:
    o = model_facts.overview(models)
    left_out = f"{o.rows_left_out:,} left out" if o.rows_left_out else "none left out"
    items = [
        ("rows of measurements", f"{o.rows:,}", left_out),
        ("rate curves", f"{o.curves:,}", _evidence(o.evidence) or "none"),
        ("pairs", f"{o.pairs:,}", _evidence(o.pair_evidence) or "none"),
    ]
    if o.median_error_pct is not None:
        items.append(
            (
                "error of a curve",
                f"{o.median_error_pct:.2g} %",
                "median over the curves, at points left out",
            )
        )
    return element(
        "dl",
        [
            element("div", element("dt", label), element("dd", value, element("small", more)))
            for label, value, more in items
        ],
        class_="figures",
    )


def _evidence(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {grade}" for grade, n in sorted(counts.items(), key=lambda kv: -kv[1]))


def _left_out(models: FittedModels) -> Markup | None:
    rows = sorted(models.report.left_out, key=lambda r: -r.rows)
    if not rows:
        return None
    rest = len(rows) - MOST_REASONS
    body = [
        element(
            "tr",
            element("td", f"{r.rows:,}", class_="n"),
            element("td", shorten(r.reason, 300)),
            element("td", shorten(r.example, 300)),
        )
        for r in rows[:MOST_REASONS]
    ]
    return element(
        "section",
        element("h2", "Measurements left out, and why"),
        table([("n", "rows"), ("", "reason"), ("", "one of them")], body),
        element("p", f"{plural(rest, 'more reason')} not shown.", class_="note")
        if rest > 0
        else None,
        id="left-out",
    )


def _remarks(notes: Sequence[str]) -> Markup | None:
    if not notes:
        return None
    rest = len(notes) - MOST_NOTES
    listed = [element("li", shorten(note, 600)) for note in notes[:MOST_NOTES]]
    if rest > 0:
        listed.append(element("li", f"and {plural(rest, 'more remark')}"))
    return element(
        "section",
        element("h2", "Remarks"),
        element("ul", listed, class_="remarks"),
        id="remarks",
    )


def _about(models: FittedModels) -> Markup:
    facts: list[tuple[str, object]] = [("models hash", element("code", models.sha256))]
    return element(
        "section",
        element("h2", "Where it comes from"),
        element(
            "dl",
            [(element("dt", label), element("dd", value)) for label, value in facts[:200]],
            class_="facts",
        ),
        id="about",
    )
