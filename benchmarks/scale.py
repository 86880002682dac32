"""Greedy from arrays to a verified result, up to a million GPUs; the same instance from JSON.

The family is `typed` of `colocate.datasets`: 50 kinds of service and 200 kinds of task on one GPU
type. It is measured in two forms. `kinds` has a row of the tables for each kind, with a count.
`rows` has a row for each replica and each task, in random order, so that the classes must be found
and every GPU holds something with a name of its own.

Every case is a process of its own. Importing is measured apart; `cold` is the first call after it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _measure import Row, best_of, fresh, peak_mib, show, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    import colocate as co
    from colocate.instance import ServiceTable, TaskTable

__all__ = ["measure"]

FAMILY, SEED = "typed", 0
CASES = (
    ("kinds", 10_000, 3),
    ("kinds", 100_000, 3),
    ("kinds", 1_000_000, 1),
    ("rows", 10_000, 1),
    ("rows", 100_000, 0),
)
"""Form, GPUs, and how often the solve is repeated warm."""
TARGET = {("kinds", 100_000): (2.0, 500.0)}
"""Seconds from arrays to a verified result, and MiB."""
JSON_CASES = (("kinds", 100_000), ("rows", 10_000), ("rows", 100_000))
VERIFY_CASES = (
    ("typed", "kinds", 100_000),
    ("typed", "kinds", 1_000_000),
    ("typed", "rows", 2_000),
    ("typed", "rows", 10_000),
    ("heterogeneous", "kinds", 2_000),
    ("two_tasks", "kinds", 300),
    ("all_distinct", "rows", 200),
)


def measure() -> dict[str, list[Row]]:
    """Return the tables `scale`, `json` and `verify`."""
    scale = [
        fresh(__file__, {"what": "solve", "form": f, "gpus": n, "warm": w}) for f, n, w in CASES
    ]
    files = [fresh(__file__, {"what": "json", "form": f, "gpus": n}) for f, n in JSON_CASES]
    judged = [
        fresh(__file__, {"what": "verify", "family": family, "form": form, "gpus": n})
        for family, form, n in VERIFY_CASES
    ]
    return {"scale": scale, "json": files, "verify": judged}


def _arrays(family: str, form: str, gpus: int) -> dict[str, Any]:
    """Return the arguments of `Instance.from_arrays`: arrays and plain data."""
    import numpy as np

    from colocate.datasets import generate

    instance = generate(family, gpus=gpus, seed=SEED)
    assert instance.service_table is not None
    assert instance.task_table is not None
    return {
        "name": f"{instance.name}-{form}",
        "gpus": instance.gpu_pools[0].model_dump(exclude_none=True),
        "services": _columns(instance.service_table, "replicas", form, np.random.default_rng(SEED)),
        "tasks": _columns(instance.task_table, "count", form, np.random.default_rng(SEED + 1)),
        "slo_model": instance.slo_model.model_dump(),
        "confidence": instance.confidence,
        "objective": instance.objective.model_dump(),
        "profiles": tuple(p.model_dump() for p in instance.profiles),
        "interference": instance.interference.model_dump(),
    }


def _columns(
    table: ServiceTable | TaskTable, multiplicity: str, form: str, dice: np.random.Generator
) -> dict[str, Any]:
    import numpy as np

    number = np.array(getattr(table, multiplicity))
    kind = np.arange(table.rows)
    if form == "rows":
        kind = dice.permutation(np.repeat(kind, number))
    found: dict[str, Any] = {}
    for name in type(table).model_fields:
        value = getattr(table, name)
        if name == "rows" or value is None or (name == multiplicity and form == "rows"):
            continue
        found[name] = np.array(value)[kind] if isinstance(value, tuple) else value
    return found


def _instance(family: str, form: str, gpus: int) -> co.Instance:
    import colocate as co
    from colocate.datasets import generate

    if family == FAMILY:
        return co.Instance.from_arrays(**_arrays(family, form, gpus))
    return generate(family, gpus=gpus, seed=SEED)


def _solve(form: str, gpus: int, warm: int) -> Row:
    package_s = timed(lambda: __import__("colocate.solve"))[0]
    scipy_s = timed(lambda: [__import__(f"scipy.{part}") for part in ("optimize", "sparse")])[0]
    import colocate as co

    arrays = _arrays(FAMILY, form, gpus)
    before = peak_mib()

    def once() -> tuple[float, co.Result]:
        build_s, instance = timed(lambda: co.Instance.from_arrays(**arrays))
        return build_s, co.solve(instance, "greedy")

    total_s, (build_s, result) = timed(once)
    assert result.plan is not None
    peak = peak_mib()
    again_s = best_of(warm, once) if warm else None
    seconds, mib = TARGET.get((form, gpus), (None, None))
    met = None
    if seconds is not None and mib is not None:
        met = "yes" if total_s < seconds and peak < mib else "NO"
    return {
        "form": form,
        "gpus": gpus,
        "table_rows": _rows(arrays),
        "import_s": round(package_s, 3),
        "import_scipy_s": round(scipy_s, 3),
        "build_s": round(build_s, 3),
        "compile_s": round(result.timings.compile_s, 3),
        "solve_s": round(result.timings.solve_s, 3),
        "verify_s": round(result.timings.verify_s, 3),
        "cold_total_s": round(total_s, 3),
        "warm_total_s": None if again_s is None else round(again_s, 3),
        "peak_mib": round(peak),
        "peak_before_mib": round(before),
        "target_s": seconds,
        "target_mib": mib,
        "met": met,
        "objective": result.objective,
        "bound": result.bound,
        "placements": len(result.plan.placements),
        "seed": SEED,
    }


def _rows(arrays: dict[str, Any]) -> int:
    return len(arrays["services"]["profile"]) + len(arrays["tasks"]["profile"])


def _json(form: str, gpus: int) -> Row:
    """Write the instance in this process, read it in a new one."""
    from colocate.io import dumps_instance

    instance = _instance(FAMILY, form, gpus)
    write_s, text = timed(lambda: dumps_instance(instance))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "instance.json"
        file.write_text(text, encoding="utf-8")
        read = fresh(__file__, {"what": "read", "file": str(file)})
    return {
        "form": form,
        "gpus": gpus,
        "seed": SEED,
        "file_mb": round(len(text) / 1e6, 3),
        "write_s": round(write_s, 3),
        **read,
    }


def _read(file: str) -> Row:
    from colocate.io import load_instance

    import_s = timed(lambda: __import__("colocate.instance"))[0]
    before = peak_mib()
    read_s, instance = timed(lambda: load_instance(file, max_bytes=2**30))
    hash_s = timed(lambda: instance.sha256)[0]
    return {
        "import_s": round(import_s, 3),
        "read_and_validate_s": round(read_s, 3),
        "hash_s": round(hash_s, 3),
        "peak_mib": round(peak_mib()),
        "peak_before_mib": round(before),
    }


def _verify(family: str, form: str, gpus: int) -> Row:
    import colocate as co

    instance = _instance(family, form, gpus)
    plan = co.solve(instance, "greedy").plan
    assert plan is not None
    bare = plan.model_copy(update={"certificate": None})
    repeats = 1 if form == "rows" else 3
    check_s = best_of(repeats, lambda: _judged(instance, bare))
    whole_s = best_of(repeats, lambda: _judged(instance, plan))
    n = len(plan.placements)
    return {
        "family": family,
        "form": form,
        "gpus": gpus,
        "seed": SEED,
        "placements": n,
        "check_s": round(check_s, 4),
        "us_per_placement": round(1e6 * check_s / n, 1),
        "with_bound_s": round(whole_s, 4),
        "bound_s": round(whole_s - check_s, 4) if plan.certificate is not None else None,
    }


def _judged(instance: co.Instance, plan: co.Plan) -> None:
    import colocate as co

    found = co.verify(instance, plan).violations
    assert not found, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    case = parser.parse_args().case
    if case is None:
        for name, table in measure().items():
            show(name, table)
        return
    asked = json.loads(case)
    actions: dict[str, Callable[..., Row]] = {
        "solve": _solve,
        "json": _json,
        "read": _read,
        "verify": _verify,
    }
    print(json.dumps(actions[asked.pop("what")](**asked)))


if __name__ == "__main__":
    main()
