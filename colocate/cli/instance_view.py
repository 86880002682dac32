"""An instance on the terminal: what there is, what is asked, what the rules are."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from colocate.cli.console import cell, plain_table
from colocate.cli.plan_view import MOST_ROWS
from colocate.report import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from colocate.instance import Instance, Rules, Service
    from colocate.schema import Component

__all__ = ["instance_summary", "print_instance", "print_instance_coverage"]

_USUAL = {"tenant": "default", "user": "-", "processes": "1"}
"""A column that holds nothing else is left out."""


def component_text(component: Component) -> str:
    """Return `name` or `name (key value, ...)`."""
    if not component.params:
        return component.name
    inside = ", ".join(f"{k} {v}" for k, v in sorted(component.params.items()))
    return f"{component.name} ({inside})"


def instance_summary(instance: Instance) -> dict[str, Any]:
    """Return the counts of an instance, for machines and for the headline."""
    services = task_entries = replicas = tasks = workers = 0
    for s in instance.iter_services():
        services += 1
        replicas += s.replicas
    for t in instance.iter_tasks():
        task_entries += 1
        tasks += t.count
        workers += t.count * t.gang_size
    return {
        "name": instance.name,
        "instance_sha256": instance.sha256,
        "objective": instance.objective.model_dump(mode="json"),
        "slo_model": instance.slo_model.model_dump(mode="json"),
        "confidence": instance.confidence,
        "gpus": instance.gpu_count,
        "gpu_pools": len(instance.gpu_pools),
        "services": services,
        "replicas": replicas,
        "task_entries": task_entries,
        "tasks": tasks,
        "workers": workers,
        "profiles": len(instance.profiles),
        "profile_evidence": dict(Counter(p.evidence.value for p in instance.profiles)),
        "pair_evidence": dict(Counter(p.evidence.value for p in instance.interference.pairs)),
    }


def print_instance(console: Console, instance: Instance, *, every_row: bool = False) -> None:
    """Print the instance's tables."""
    most = None if every_row else MOST_ROWS
    s = instance_summary(instance)
    console.print(cell(instance.name, "bold"))
    for line in instance.description.splitlines():
        console.print(cell(line, limit=2000))
    console.print()
    console.print(f"Objective  {component_text(instance.objective)}")
    console.print(
        f"SLO        model {component_text(instance.slo_model)}, confidence {instance.confidence:g}"
    )
    console.print(
        f"GPUs       {words.plural(s['gpus'], 'GPU')} in {words.plural(s['gpu_pools'], 'pool')}"
    )
    console.print(
        f"Inference  {words.plural(s['services'], 'service')}, "
        f"{words.plural(s['replicas'], 'replica')}"
    )
    console.print(
        f"Training   {words.plural(s['task_entries'], 'entry', 'entries')}, "
        f"{words.plural(s['tasks'], 'task')}, {words.plural(s['workers'], 'worker')}"
    )
    console.print(f"Hash       {s['instance_sha256']}")
    _pools(console, instance, most)
    _services(console, instance, s["services"], most)
    _tasks(console, instance, s["task_entries"], most)
    lines = list(_rules(instance.rules))
    lines += [f"further constraint {component_text(c)}" for c in instance.constraints]
    console.print()
    console.print("Rules", style="bold")
    for text in lines:
        console.print(cell(f"  {text}", limit=400))


def _more(console: Console, total: int, most: int | None) -> None:
    if most is not None and total > most:
        console.print(f"... and {total - most:,} more (--all shows every one)", style="dim")


def _table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str],
    usual: Mapping[str, str],
) -> Table:
    """Return a table without the columns that hold the usual value in every row."""
    kept = [i for i, name in enumerate(columns) if any(row[i] != usual.get(name) for row in rows)]
    table = plain_table(title, [columns[i] for i in kept], right=right)
    for row in rows:
        table.add_row(*(cell(row[i], limit=80) for i in kept))
    return table


def _pools(console: Console, instance: Instance, most: int | None) -> None:
    right = ("GPUs", "memory GiB", "reserve GiB", "SMs", "MPS clients")
    rows = [
        (
            p.id,
            p.gpu_type,
            f"{p.size:,}",
            f"{p.memory_gib:g}",
            f"{p.reserve_gib:g}",
            str(p.sm_count),
            str(p.max_clients),
            p.node or "-",
            "" if p.schedulable else "not schedulable",
        )
        for p in instance.gpu_pools[:most]
    ]
    table = _table(
        "GPU pools",
        ("pool", "type", *right, "node", ""),
        rows,
        right=right,
        usual={"node": "-", "": "", "reserve GiB": "0"},
    )
    console.print()
    console.print(table)
    _more(console, len(instance.gpu_pools), most)


def _services(console: Console, instance: Instance, total: int, most: int | None) -> None:
    if not total:
        return
    right = ("replicas", "rate rps", "SLO ms", "percentile")
    rows = [
        (
            s.id,
            s.profile,
            f"{s.replicas:,}",
            f"{s.rate_rps:g}",
            f"{s.slo_ms:g}",
            f"{s.slo_percentile:g}",
            "all" if s.batches is None else ", ".join(map(str, s.batches)),
            _where(s),
            s.tenant,
            "-" if s.user_id is None else str(s.user_id),
            str(s.processes),
        )
        for s in islice(instance.iter_services(), most)
    ]
    table = _table(
        "Inference services",
        ("service", "profile", *right, "batches", "where", "tenant", "user", "processes"),
        rows,
        right=right,
        usual={**_USUAL, "where": "anywhere", "batches": "all", "percentile": "99"},
    )
    console.print()
    console.print(table)
    _more(console, total, most)


def _where(service: Service) -> str:
    where = "anywhere"
    if service.pinned is not None:
        where = words.shorten(", ".join(f"{r.pool}/{r.gpus}" for r in service.pinned), 40)
    if not service.required:
        where += f", or not at all (price {service.missing_price or 0:g})"
    return where


def _tasks(console: Console, instance: Instance, total: int, most: int | None) -> None:
    if not total:
        return
    right = ("tasks", "workers each", "batch", "weight")
    rows = [
        (
            t.id,
            t.profile,
            f"{t.count:,}",
            str(t.gang_size),
            "/".join(map(str, t.batches or (t.batch,))),
            f"{t.weight:g}",
            t.tenant,
            "-" if t.user_id is None else str(t.user_id),
            str(t.processes),
        )
        for t in islice(instance.iter_tasks(), most)
    ]
    table = _table(
        "Training tasks",
        ("task", "profile", *right, "tenant", "user", "processes"),
        rows,
        right=right,
        usual={**_USUAL, "weight": "1", "workers each": "1"},
    )
    console.print()
    console.print(table)
    _more(console, total, most)


def _rules(rules: Rules) -> list[str]:
    lines = [
        (
            f"at most {words.plural(rules.services_per_gpu, 'replica')} and "
            f"{words.plural(rules.tasks_per_gpu, 'training worker')} on one GPU"
        )
    ]
    if rules.workloads_per_gpu is not None:
        lines.append(f"at most {words.plural(rules.workloads_per_gpu, 'workload')} on one GPU")
    if rules.tenants_per_gpu is not None:
        lines.append(f"at most {words.plural(rules.tenants_per_gpu, 'tenant')} on one GPU")
    for q in rules.quotas:
        unit = "tasks" if q.unit == "tasks" else "GPUs' worth of share"
        low = "" if q.minimum is None else f"at least {q.minimum:g}"
        high = "" if q.maximum is None else f"at most {q.maximum:g}"
        lines.append(f"tenant {q.tenant}: {' and '.join(filter(None, (low, high)))} {unit}")
    for a in rules.anti_affinity:
        left, right = (words.shorten(", ".join(side), 60) for side in (a.left, a.right))
        lines.append(f"apart: {left} | {right}")
    return lines


def print_instance_coverage(console: Console, instance: Instance) -> None:
    """Print what the instance's profiles and slowdowns rest on."""
    s = instance_summary(instance)
    right = ["profiles", "slowdown pairs"]
    table = plain_table("What the profiles rest on", ["evidence", *right], right=right)
    for grade in ("measured", "regressed", "constant"):
        table.add_row(
            cell(grade),
            cell(f"{s['profile_evidence'].get(grade, 0):,}"),
            cell(f"{s['pair_evidence'].get(grade, 0):,}"),
        )
    console.print(table)
    default = instance.interference.default_slowdown
    console.print(
        "Workloads without a pair entry are not put together."
        if default is None
        else f"Pairs without an entry: constant slowdown {default:g}."
    )
    tables = sum(p.table is not None for p in instance.interference.pairs)
    if tables:
        console.print(f"{words.plural(tables, 'pair')} with slowdowns by batch and share.")
