"""Instances under other names, in another order, with other weights: nothing that should matter."""

from __future__ import annotations

import json
import random
from typing import Any

from colocate.instance import Instance

Spec = dict[str, Any]


def spec_of(instance: Instance) -> Spec:
    """The instance as plain JSON data."""
    found: Spec = json.loads(instance.model_dump_json(by_alias=True, exclude_none=True))
    return found


def renamed(spec: Spec, prefix: str) -> Spec:
    """Give everything another name; the prefix `~` makes names sort the other way round."""
    names: dict[str, str] = {}
    known = sorted(
        {x["id"] for part in ("gpu_pools", "services", "tasks") for x in spec.get(part, ())}
        | {p["gpu_type"] for p in spec["gpu_pools"]}
        | {x for p in spec["profiles"] for x in (p["workload"], p["gpu_type"])}
        | {x["tenant"] for part in ("services", "tasks") for x in spec.get(part, ())}
    )
    for i, name in enumerate(known):
        names[name] = f"n{len(known) - i:04d}" if prefix == "~" else f"{prefix}{name}"
    keys = {"id", "gpu_type", "workload", "profile", "tenant", "pool", "victim", "neighbour"}

    def walk(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, key) for v in value]
        if key in keys | {"left", "right"} and isinstance(value, str):
            return names.get(value, value)
        return value

    parts = ("gpu_pools", "services", "tasks", "profiles", "interference", "rules")
    return {k: walk(v, k) if k in parts else v for k, v in spec.items()}


def shuffled(spec: Spec, seed: int) -> Spec:
    """Put every list of things in another order."""
    rng = random.Random(seed)
    copy: Spec = json.loads(json.dumps(spec))
    lists = [copy.get(k) for k in ("gpu_pools", "services", "tasks", "profiles", "constraints")]
    lists += [copy["interference"].get("pairs")]
    lists += [copy["rules"].get(k) for k in ("quotas", "anti_affinity")]
    lists += [s.get("batches") for s in copy.get("services", ())]
    lists += [
        side for a in copy["rules"].get("anti_affinity", ()) for side in (a["left"], a["right"])
    ]
    for items in lists:
        if items:
            rng.shuffle(items)
    return dict(sorted(copy.items(), key=lambda _: rng.random()))


def scaled(spec: Spec, factor: float) -> Spec:
    """Multiply every weight and every price."""
    copy: Spec = json.loads(json.dumps(spec))
    for t in copy.get("tasks", ()):
        t["weight"] *= factor
    for s in copy.get("services", ()):
        if "missing_price" in s:
            s["missing_price"] *= factor
    return copy


def merged(a: Spec, b: Spec) -> Spec:
    """Put two instances that share no name side by side, under the settings of the first."""
    both: Spec = {**a, "name": "both"}
    for part in ("gpu_pools", "services", "tasks", "profiles"):
        both[part] = [*a.get(part, ()), *b.get(part, ())]
    pairs = [*a["interference"].get("pairs", ()), *b["interference"].get("pairs", ())]
    both["interference"] = {**a["interference"], "pairs": pairs}
    both["rules"] = dict(a["rules"])
    for part in ("quotas", "anti_affinity"):
        both["rules"][part] = [*a["rules"].get(part, ()), *b["rules"].get(part, ())]
    return both


def with_settings_of(b: Spec, a: Spec) -> Spec:
    """Ask b's question under a's general settings."""
    kept = ("slo_model", "confidence", "objective")
    rules = {**a["rules"], **{k: b["rules"].get(k, []) for k in ("quotas", "anti_affinity")}}
    rules.pop("locked", None)
    interference = {**a["interference"], "pairs": b["interference"].get("pairs", [])}
    return {**b, **{k: a[k] for k in kept}, "rules": rules, "interference": interference}
