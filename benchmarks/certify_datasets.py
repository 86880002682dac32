"""Find the optimum of every bundled instance by independent methods, and keep it as its facts.

    python benchmarks/certify_datasets.py [--check] [name ...]

Methods, each used where it can be:

- `oracle`       enumerates GPUs, tasks and knobs from the instance, without the compiled problem;
- `assignment`   for one service and one task on each GPU and no rule over the plan: the best knobs
                 of every pair from the models' plain functions, then an assignment problem;
- `brute_force`  the solver, through the front door and its judge;
- `milp`         the compiled master problem, solved by SciPy's HiGHS.

The first two read the instance, the last two the compiled problem. A fact needs one method of each
kind at least, and all that ran must agree to 1e-9; otherwise nothing is written and the exit code
is 1. With --check the files are compared, not written.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import colocate as co
from colocate import datasets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colocate.instance import Instance

RELATIVE = 1e-9
MAX_GPUS = 6
"""How many GPUs enumeration is tried on."""


class Answer(NamedTuple):
    """What one method says."""

    status: str
    objective: float | None = None


def by_oracle(instance: Instance) -> Answer | None:
    from colocate.testing.oracle import solve_by_enumeration

    if instance.gpu_count > MAX_GPUS:
        return None
    found = solve_by_enumeration(instance)
    return Answer(found.status, found.objective)


def by_assignment(instance: Instance) -> Answer | None:
    from bundled.pairs import assignment_optimum, is_assignment

    if not is_assignment(instance):
        return None
    best = assignment_optimum(instance)
    return Answer("infeasible") if best is None else Answer("optimal", best)


def by_brute_force(instance: Instance) -> Answer | None:
    if instance.gpu_count > MAX_GPUS:
        return None
    result = co.solve(instance, "brute_force")
    return Answer(result.termination.reason.value, result.objective)


def by_milp(instance: Instance) -> Answer | None:
    from bundled.milp import is_tame, milp_optimum

    from colocate.problem import compile_problem

    problem = compile_problem(instance)
    if not is_tame(problem):
        return None
    best = milp_optimum(problem)
    return Answer("infeasible") if best is None else Answer("optimal", best)


FROM_INSTANCE: dict[str, Callable[[Instance], Answer | None]] = {
    "oracle": by_oracle,
    "assignment": by_assignment,
}
FROM_PROBLEM: dict[str, Callable[[Instance], Answer | None]] = {
    "brute_force": by_brute_force,
    "milp": by_milp,
}


def certify(name: str) -> tuple[dict[str, object] | None, str]:
    """Return the facts, or None, and a line for the log."""
    instance = datasets.get(name)
    try:
        answers = {
            side: {m: a for m, run in methods.items() if (a := run(instance)) is not None}
            for side, methods in (("instance", FROM_INSTANCE), ("problem", FROM_PROBLEM))
        }
    except Exception as error:  # noqa: BLE001 - one that fails must not hide the others
        return None, f"{name}: {type(error).__name__}: {error}"
    both = {m: a for found in answers.values() for m, a in found.items()}
    said = ", ".join(f"{m} {a.status} {a.objective!r}" for m, a in both.items())
    if not all(answers.values()):
        return None, f"{name}: too few methods ({said})"
    first = next(iter(both.values()))
    if not all(agree(first, other) for other in both.values()):
        return None, f"{name}: the methods DISAGREE ({said})"
    facts = {
        "instance_sha256": instance.sha256,
        "status": first.status,
        "objective": None if first.objective is None else float(f"{first.objective:.12g}"),
        "certified_by": list(both),
    }
    return facts, f"{name}: {said}"


def agree(a: Answer, b: Answer) -> bool:
    if a.status != b.status or a.status not in ("optimal", "infeasible"):
        return False
    if a.objective is None or b.objective is None:
        return a.objective is b.objective
    return abs(a.objective - b.objective) <= RELATIVE * max(1.0, abs(a.objective))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the files")
    parser.add_argument("names", nargs="*", help="all bundled instances when left out")
    arguments = parser.parse_args()
    failures = 0
    for name in arguments.names or datasets.names():
        facts, line = certify(name)
        file = datasets.path(name).with_name(f"{name}.facts.json")
        if facts is None:
            failures += 1
        elif arguments.check:
            if not same(file, facts):
                failures += 1
                line += "  DIFFERS from the file"
        else:
            file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        print(line, flush=True)
    print(f"{failures} failures")
    return 1 if failures else 0


def same(file: Path, facts: dict[str, object]) -> bool:
    """Return whether the file says this, whichever methods found it at the time."""
    if not file.is_file():
        return False
    known = json.loads(file.read_text(encoding="utf-8"))
    return all(known[key] == facts[key] for key in ("instance_sha256", "status", "objective"))


if __name__ == "__main__":
    sys.exit(main())
