"""Statements taken out of an instance, and changes made to it, as plain edits of its document.

Written apart from `colocate.explain`: the tests hold the one against the other.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from colocate.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colocate.explain.changes import Change
    from colocate.explain.parts import Part

Document = dict[str, Any]


def document_of(instance: Instance) -> Document:
    """Return an instance as its file would hold it."""
    found: Document = instance.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def relaxed(instance: Instance, parts: Iterable[Part]) -> Instance:
    """Return an instance that these parts say nothing about, without what need not be placed."""
    document = document_of(instance)
    for part in sorted(parts, key=lambda p: p.kind not in ("required", "floor")):
        _take_out(document, part)
    return Instance.model_validate(only_what_is_due(document))


def only_what_is_due(document: Document) -> Document:
    """Leave out services and tasks that any plan may leave out: the oracle is then quick."""
    found = copy.deepcopy(document)
    rules = found["rules"]
    floors = {q["tenant"] for q in rules.get("quotas", ()) if q.get("minimum")}
    found["services"] = [s for s in found.get("services", ()) if s.get("required", True)]
    found["tasks"] = [t for t in found.get("tasks", ()) if t.get("tenant", "default") in floors]
    owners = {t.get("tenant", "default") for t in found["tasks"]}
    rules["quotas"] = [q for q in rules.get("quotas", ()) if q["tenant"] in owners]
    names = {w["id"] for w in (*found["services"], *found["tasks"])}
    apart = [
        {
            "left": [n for n in a["left"] if n in names],
            "right": [n for n in a["right"] if n in names],
        }
        for a in rules.get("anti_affinity", ())
        if a is not None
    ]
    rules["anti_affinity"] = [a for a in apart if a["left"] and a["right"]]
    found["objective"] = {"name": "throughput"}
    return found


def _named(rows: list[Document], name: str) -> Document:
    return next(r for r in rows if r["id"] == name)


def _workers_due(document: Document) -> int:
    """Return how many workers meet all floors of tenants."""
    floors = [q for q in document["rules"].get("quotas", ()) if q.get("minimum")]
    largest = max((t.get("gang_size", 1) for t in document.get("tasks", ())), default=1)
    return int(sum(math.ceil(q["minimum"]) for q in floors) * largest)


def _due(document: Document) -> int:
    """Return a number of GPUs that is enough for all that is due, each alone."""
    services = document.get("services", ())
    replicas = sum(s.get("replicas", 1) for s in services if s.get("required", True))
    return int(replicas) + _workers_due(document)


def _take_out(document: Document, part: Part) -> None:
    rules, name = document["rules"], part.name
    services, tasks = document.get("services", []), document.get("tasks", [])
    if part.kind == "required":
        _named(services, name).update(required=False, missing_price=0.0)
    elif part.kind == "slo":
        _named(services, name).update(slo_ms=1e15, rate_rps=1e-6)
    elif part.kind in ("batches", "pin"):
        _named(services, name).pop("batches" if part.kind == "batches" else "pinned")
    elif part.kind == "least_share":
        _named(services, name)["min_share_pct"] = 1
    elif part.kind == "gpus":
        pool = _named(document["gpu_pools"], name)
        size = len(pool.pop("uuids", ())) or pool.get("count", 0)
        pool["count"] = size + _due(document)
    elif part.kind == "memory":
        _named(document["gpu_pools"], name)["memory_gib"] = 1e9
    elif part.kind == "clients":
        _named(document["gpu_pools"], name)["max_clients"] = 1000
    elif part.kind == "unschedulable":
        _named(document["gpu_pools"], name)["schedulable"] = True
    elif part.kind == "gang":
        task = _named(tasks, name)
        task.update(count=task.get("count", 1) * task["gang_size"], gang_size=1)
    elif part.kind == "task_count":
        quotas = rules.get("quotas", ())
        floors = [q.get("minimum", 0.0) for q in quotas if q["tenant"] == name]
        more = math.ceil(max(floors, default=0.0))
        for task in tasks:
            if task.get("tenant", "default") == name:
                task["count"] = task.get("count", 1) + more
    elif part.kind == "services_per_gpu":
        rules[part.kind] = max(rules[part.kind], min(16, _due(document)))
    elif part.kind == "tasks_per_gpu":
        rules[part.kind] = max(rules[part.kind], min(16, _workers_due(document)))
    elif part.kind in ("workloads_per_gpu", "tenants_per_gpu"):
        del rules[part.kind]
    elif part.kind == "users":
        for row in (*services, *tasks):
            row.pop("user_id", None)
    elif part.kind == "anti_affinity":
        rules["anti_affinity"][part.index] = None
    elif part.kind in ("floor", "quota"):
        quota = _quota(document, part.name, part.unit)
        quota.pop("minimum" if part.kind == "floor" else "maximum")
        if not {"minimum", "maximum"} & set(quota):
            rules["quotas"].remove(quota)
    elif part.kind == "confidence":
        document["confidence"] = 0.5
    else:
        msg = f"these tests know no {part.kind}"
        raise AssertionError(msg)


def _quota(document: Document, tenant: str, unit: str) -> Document:
    return next(
        q for q in document["rules"]["quotas"] if (q["tenant"], q["unit"]) == (tenant, unit)
    )


def changed(instance: Instance, changes: Iterable[Change]) -> Document:
    """Return the document of an instance with these changes made."""
    document = document_of(instance)
    dropped = []
    for change in changes:
        kind = type(change).__name__
        values = dataclasses.asdict(change)  # type: ignore[call-overload]
        if kind == "DropAntiAffinity":
            dropped.append(values["index"])
        else:
            _make(document, kind, values)
    for index in sorted(dropped, reverse=True):
        del document["rules"]["anti_affinity"][index]
    return document


_SETTINGS = {
    "SetMemory": ("gpu_pools", "pool", "memory_gib"),
    "SetClients": ("gpu_pools", "pool", "max_clients"),
    "SetSlo": ("services", "service", "slo_ms"),
    "SetRate": ("services", "service", "rate_rps"),
    "SetReplicas": ("services", "service", "replicas"),
    "SetLeastShare": ("services", "service", "min_share_pct"),
    "SetGangSize": ("tasks", "task", "gang_size"),
    "SetWeight": ("tasks", "task", "weight"),
}


def _make(document: Document, kind: str, values: dict[str, Any]) -> None:
    rules = document["rules"]
    if kind in _SETTINGS:
        where, which, field = _SETTINGS[kind]
        row = _named(document[where], values[which])
        row[field] = values["share_pct"] if kind == "SetLeastShare" else values[field]
    elif kind == "AddGpus":
        pool = _named(document["gpu_pools"], values["pool"])
        if "uuids" in pool:
            more = {k: v for k, v in pool.items() if k not in ("uuids", "first")}
            more.update(id=f"{pool['id']}.more", count=values["count"])
            document["gpu_pools"].append(more)
        else:
            pool["count"] += values["count"]
    elif kind == "Release":
        _named(document["gpu_pools"], values["pool"])["schedulable"] = True
    elif kind == "MakeOptional":
        _named(document["services"], values["service"]).update(required=False, missing_price=0.0)
    elif kind in ("Unpin", "AnyBatch"):
        field = "pinned" if kind == "Unpin" else "batches"
        _named(document["services"], values["service"]).pop(field)
    elif kind == "SetQuota":
        quota = _quota(document, values["tenant"], values["unit"])
        quota.pop(values["side"])
        if values["value"] is not None:
            quota[values["side"]] = values["value"]
        if not {"minimum", "maximum"} & set(quota):
            rules["quotas"].remove(quota)
    elif kind == "SetRule":
        rules[values["name"]] = values["value"]
    elif kind == "SetConfidence":
        document["confidence"] = values["confidence"]
    elif kind == "OneUser":
        for row in (*document.get("services", ()), *document.get("tasks", ())):
            row.pop("user_id", None)
    else:
        msg = f"these tests know no {kind}"
        raise AssertionError(msg)
