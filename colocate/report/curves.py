"""The rate curves that the plan uses, with the points that it runs at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.profile import BatchPoints, Profile
from colocate.report import svg
from colocate.report.markup import Markup, element
from colocate.report.words import number, plural

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.plan import Plan

__all__ = ["curves_section"]

MOST_PANELS = 24
MOST_POINTS = 40
MOST_CURVES = 6
_WIDTH, _HEIGHT = 250.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 236.0, 8.0, 126.0


@dataclass(slots=True)
class _Use:
    """Where on one profile's curves the plan runs."""

    profile: Profile
    names: set[str] = field(default_factory=set)
    points: dict[tuple[int, float, float], int] = field(default_factory=dict)
    """GPUs by (batch, sure share in percent, rate in company; negative when not predicted)."""


def _uses(instance: Instance, plan: Plan) -> list[_Use]:
    found: dict[tuple[str, str], _Use] = {}
    for group in plan.placements:
        try:
            pool = instance.pool(group.pool)
            held = [
                (
                    s.service,
                    instance.service(s.service).profile,
                    s.batch,
                    s.sms,
                    s.predicted.rate_rps if s.predicted else -1.0,
                )
                for s in group.services
            ] + [
                (
                    t.task,
                    instance.task(t.task).profile,
                    t.batch,
                    t.sms,
                    t.predicted.rate if t.predicted else -1.0,
                )
                for t in group.tasks
            ]
        except KeyError:
            continue  # a plan of another instance: the page says so at its top
        for name, workload, batch, sms, rate in held:
            profile = instance.profile(workload, pool.gpu_type)
            if profile is None:
                continue
            use = found.setdefault((workload, pool.gpu_type), _Use(profile))
            use.names.add(name)
            key = (batch, 100.0 * sms / pool.sm_count, rate)
            use.points[key] = use.points.get(key, 0) + group.count
    return sorted(
        found.values(),
        key=lambda u: (u.profile.role, -sum(u.points.values()), u.profile.workload),
    )


def _panel(use: _Use, confidence: float, *, say_type: bool) -> Markup:
    profile = use.profile
    by_batch: dict[int, int] = {}
    for (batch, _, _), count in use.points.items():
        by_batch[batch] = by_batch.get(batch, 0) + count
    batches = sorted(sorted(by_batch, key=lambda b: -by_batch[b])[:MOST_CURVES])
    shares = [float(p) for p in range(1, 101)]
    curves = {
        b: [(p, r) for p in shares if (r := rate_alone(profile, b, p)) is not None and r > 0]
        for b in batches
    }
    top = max((r for points in curves.values() for _, r in points), default=1.0)

    def at(share: float, rate: float) -> tuple[float, float]:
        x = _LEFT + (_RIGHT - _LEFT) * share / 100
        return x, _BOTTOM - (_BOTTOM - _TOP) * rate / (1.08 * top)

    shapes: list[Markup] = []
    for value in svg.ticks(0, top, 4):
        _, y = at(0, value)
        shapes.append(svg.line(_LEFT, y, _RIGHT, y, "grid"))
        shapes.append(svg.text(_LEFT - 5, y + 3.5, svg.short(value), "small", "end"))
    for mark in (0, 25, 50, 75, 100):
        x, _ = at(mark, 0)
        shapes.append(svg.text(x, _BOTTOM + 14, f"{mark}", "small", "middle"))
    shapes.append(svg.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"))
    error = relative_error(profile.rate_error, confidence)
    for b in batches:
        shapes.append(svg.polyline([at(p, r) for p, r in curves[b]], f"curve-{profile.role}"))
        if 0 < error < 1:
            low = [at(p, r * (1 - error)) for p, r in curves[b]]
            shapes.append(svg.polyline(low, "curve-low"))
        shapes += [svg.circle(*at(p, r), 1.6, "sample") for p, r in _samples(profile, b)]
    for (batch, share, rate), count in sorted(use.points.items(), key=lambda kv: -kv[1])[
        :MOST_POINTS
    ]:
        if batch in curves:
            shapes.append(_operating_point(profile, batch, share, rate, count, at))
    title = f"{profile.workload} on {profile.gpu_type}"
    names = ", ".join(sorted(use.names)[:4]) + (" ..." if len(use.names) > 4 else "")
    listed = ", ".join(str(b) for b in batches)
    more = "" if len(by_batch) <= len(batches) else f" and {len(by_batch) - len(batches)} more"
    note = f"batch {listed}{more}; {profile.evidence.value}"
    if say_type:
        note = f"{profile.gpu_type}; {note}"
    if names != profile.workload:
        note = f"{names}; {note}"
    return element(
        "figure",
        element("h3", profile.workload, title=title),
        svg.drawing(_WIDTH, _HEIGHT, f"Rate of {title} over its share, batch {listed}", *shapes),
        element("figcaption", note, class_="note"),
    )


def _samples(profile: Profile, batch: int) -> list[tuple[float, float]]:
    """Return the points that the curve at a batch was given by; other families have none."""
    for at_batch in profile.curve.batches:
        if isinstance(at_batch, BatchPoints) and at_batch.batch == batch:
            return [(p.share_pct, p.rate) for p in at_batch.points[:100]]
    return []


def _operating_point(
    profile: Profile, batch: int, share: float, rate: float, count: int, at: svg.Scale
) -> Markup:
    alone = rate_alone(profile, batch, share) or 0.0
    title = (
        f"{plural(count, 'GPU')}: batch {batch}, {share:.4g} % sure, "
        f"{number(alone)} samples/s alone"
    )
    x, y = at(share, alone)
    if rate < 0:
        return svg.group(title, svg.circle(x, y, 3.2, "alone"))
    _, low = at(share, rate)
    return svg.group(
        f"{title}, {number(rate)} in company",
        svg.line(x, y, x, low, "drop"),
        svg.circle(x, y, 3.2, "alone"),
        svg.circle(x, low, 3.2, "company"),
    )


def curves_section(instance: Instance, plan: Plan) -> Markup | None:
    """Return small multiples of the curves in use."""
    uses = _uses(instance, plan)
    if not uses:
        return None
    shown = uses
    if len(uses) > MOST_PANELS:
        shown = sorted(uses, key=lambda u: -sum(u.points.values()))[:MOST_PANELS]
    several = len({p.gpu_type for p in instance.gpu_pools}) > 1
    panels = [_panel(use, instance.confidence, say_type=several) for use in shown]
    dashed = (
        f" Dashed is the lower bound at confidence {instance.confidence:g}."
        if instance.confidence > 0.5
        else ""
    )
    return element(
        "section",
        element("h2", "The curves in use"),
        element(
            "p",
            "Samples per second alone on the GPU, over the share in percent, one line for each "
            "batch in use. Small dots are the points given; an open circle is where the plan "
            "runs, the full one below it the rate that is left beside its neighbours." + dashed,
            class_="note",
        ),
        element("div", panels, class_="panels"),
        element(
            "p",
            f"{plural(len(uses) - len(shown), 'curve set')} in less use left out.",
            class_="note",
        )
        if len(shown) < len(uses)
        else None,
        id="curves",
    )
