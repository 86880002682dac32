"""The page docs/benchmarks.md, from the tables that the benchmark scripts return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from _measure import Row

__all__ = ["page"]

_INTRO = """# Benchmarks

`make bench` measures everything on this page anew and writes it. The figures are of the machine and
the versions in the first table. Each case is a process of its own; peak memory is the largest
resident set of that process. The tables are also in `benchmarks/results/` as CSV.
"""

_STARTUP = """## Start

Wall-clock time of whole processes, the interpreter's own start included, with warm file caches. The
imports of the libraries that colocate uses stand below for comparison: what asks for no solve does
not pay for them.
"""

_MODULES = """Which of the larger dependencies are loaded afterwards (looked for: NumPy, SciPy,
OR-Tools, PuLP, networkx, pydantic, typer, rich, HiGHS):
"""

_SCALE = """## Scale

`greedy` on family `typed`, seed {seed}: one GPU type, 50 kinds of service and 200 kinds of task,
required replicas on nine tenths of the GPUs, 1.2 tasks for each GPU. Measured is the way from
arrays and plain data to a verified `Result`. *build* is `Instance.from_arrays`, with profiles and
interference made from plain data; *compile*, *solve* (with the prices of the linear relaxation) and
*verify* (with the expansion to names and the recomputed bound) are the timings that the result
states. *cold* is the first call in a fresh process, after the imports, which stand apart; *warm* is
the best of further calls.

In the form `kinds` the tables have a row for each kind, with a count. In the form `rows` they have
a row for each replica and each task, in random order: the classes must be found first, and as every
replica and task has a name of its own, every GPU is a placement of its own in the plan.
"""

_JSON = """### The same instance from JSON

Reading and validating a file, in a fresh process; *import* is that of the data objects. Beside it
the size of the file and the time to write it.
"""

_VERIFY = """### verify alone

Time of `verify` on the plans of `greedy`, for each distinct placement, without the bound of the
certificate; and with it. Best of three, `rows` of one.
"""

_PEERS = """## Beside plain methods

Family `typed`, {gpus} GPUs, seed {seed}. With one GPU type and at most one service and one task on
a GPU, the problem on single GPUs is an assignment problem, which SciPy solves exactly: that is the
optimum. The plain methods work on a table of what each kind of task is worth beside each kind of
service, which is enumerated with the models' plain functions; its time is listed apart and counted
in the total. *times greedy* is the total over that of greedy, warm, compile and solve.
"""

_MATCHING = """## Matching

Family `typed`, seed {seed}: 50 kinds of service and 200 kinds of task on one GPU type. *from class
arrays* begins with the compiled problem and ends with pool, ordinal, replica and task of every GPU
as arrays, and the certificate; *solve*, *certificate*, *runs* and *ids* are its parts. *verified
plan* is the whole of `solve()`, from arrays and plain data.
"""

_EXPANDED = """### Beside SciPy on single GPUs

The same optimum from `linear_sum_assignment` on the matrix with a row for each GPU and a column for
each task. It is given five minutes; where it does not come back, *SciPy* is what it took at least.
"""

_DISTINCT = """### All distinct

Family `all_distinct`: no two services or tasks alike, one linear assignment on the dense matrix.
"""

_VALUE_MATRIX = """### What every task is worth beside every service

All distinct, 20 shares and 6 batches, 120 configurations for each pair, float32. *runs* inverts the
SLO model once and fills a row in at most 20 pieces; *enumeration* is a NumPy pass over a block of
the matrix for each configuration, measured on 400 services and scaled. Both write into memory that
is there already; *in new memory* is the first time. Where memory binds, these pairs are enumerated.
"""


def page(machine: Row, tables: Mapping[str, Sequence[Row]]) -> str:
    """Return the page."""
    seed, first = tables["scale"][0]["seed"], tables["peers"][0]
    parts = [
        _INTRO,
        _machine(machine),
        _STARTUP,
        _table(
            tables["startup"],
            {
                "what": "",
                "best_ms": "best, ms",
                "median_ms": "median, ms",
                "runs": "runs",
                "target_ms": "target, ms",
                "met": "met",
            },
        ),
        _MODULES,
        _table(
            tables["startup_modules"],
            {"after": "after", "loaded": "loaded", "allowed": "as required"},
        ),
        _SCALE.format(seed=seed),
        _table(
            tables["scale"],
            {
                "form": "form",
                "gpus": "GPUs",
                "table_rows": "rows",
                "build_s": "build, s",
                "compile_s": "compile, s",
                "solve_s": "solve, s",
                "verify_s": "verify, s",
                "cold_total_s": "cold, s",
                "warm_total_s": "warm, s",
                "peak_mib": "peak, MiB",
                "target_s": "target, s",
                "target_mib": "target, MiB",
                "met": "met",
            },
        ),
        _table(
            tables["scale"],
            {
                "form": "form",
                "gpus": "GPUs",
                "import_s": "import colocate, s",
                "import_scipy_s": "import SciPy, s",
                "peak_before_mib": "memory before, MiB",
                "objective": "objective",
                "bound": "bound",
                "placements": "distinct placements",
            },
        ),
        _JSON,
        _table(
            tables["json"],
            {
                "form": "form",
                "gpus": "GPUs",
                "file_mb": "file, MB",
                "write_s": "write, s",
                "import_s": "import, s",
                "read_and_validate_s": "read and validate, s",
                "hash_s": "hash, s",
                "peak_mib": "peak, MiB",
            },
        ),
        _VERIFY,
        _table(
            tables["verify"],
            {
                "family": "family",
                "form": "form",
                "gpus": "GPUs",
                "placements": "distinct placements",
                "check_s": "verify, s",
                "us_per_placement": "for each, us",
                "with_bound_s": "with the bound, s",
            },
        ),
        _PEERS.format(gpus=_number(first["gpus"]), seed=first["seed"]),
        _table(
            tables["peers"],
            {
                "method": "method",
                "objective": "objective",
                "of_optimum": "of the optimum",
                "table_s": "table, s",
                "method_s": "method, s",
                "total_s": "total, s",
                "times_greedy": "times greedy",
            },
        ),
        _MATCHING.format(seed=seed),
        _table(
            tables["matching"],
            {
                "gpus": "GPUs",
                "columns": "columns",
                "solve_s": "solve, s",
                "certificate_s": "certificate, s",
                "deal_s": "runs, s",
                "ids_s": "ids, s",
                "class_arrays_to_ids_s": "from class arrays, s",
                "target_s": "target, s",
                "met": "met",
                "compile_s": "compile, s",
                "arrays_to_verified_plan_s": "verified plan, s",
                "recomputed_gap": "recomputed gap",
            },
        ),
        _EXPANDED,
        _table(
            tables["matching_expanded"],
            {
                "gpus": "GPUs",
                "tasks": "tasks",
                "objective": "objective",
                "scipy_objective": "SciPy's",
                "solve_s": "solve, s",
                "scipy_s": "SciPy, s",
                "scipy_came_back": "came back",
                "times": "times",
                "target_times": "target",
                "met": "met",
            },
        ),
        _DISTINCT,
        _table(
            tables["matching_distinct"],
            {
                "gpus": "GPUs",
                "method": "method",
                "compile_s": "compile, s",
                "solve_s": "solve, s",
                "verify_s": "verify, s",
                "objective": "objective",
                "recomputed_gap": "recomputed gap",
            },
        ),
        _VALUE_MATRIX,
        _table(
            tables["value_matrix"],
            {
                "services": "services",
                "tasks": "tasks",
                "kinds": "kinds of service",
                "room_gib": "room, GiB",
                "memory_binds": "pairs where memory binds",
                "invert_s": "invert, s",
                "runs_in_new_memory_s": "runs, in new memory, s",
                "runs_s": "runs, s",
                "enumeration_s": "enumeration, s",
                "times": "times",
                "target_times": "target",
                "met": "met",
            },
        ),
    ]
    return "\n".join(parts)


def _machine(machine: Row) -> str:
    rows = [{"": name.replace("_gib", ", GiB"), "value": v} for name, v in machine.items() if v]
    return _table(rows, {"": "", "value": ""})


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """Return a Markdown table; text stands left, numbers right."""
    numeric = {
        name: all(row[name] is None or isinstance(row[name], int | float) for row in rows)
        for name in columns
    }
    lines = [
        "| " + " | ".join(columns.values()) + " |",
        "|" + "|".join(" ---: " if numeric[name] else " --- " for name in columns) + "|",
    ]
    lines += ["| " + " | ".join(_number(row[name]) for name in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _number(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
