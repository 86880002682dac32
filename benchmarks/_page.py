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
as arrays, and the certificate; *solve*, *certificate*, *runs* and *ids* are its parts. *plan* is
certificate and plan, in which ids are runs: nothing in it is made for a single GPU. *verified plan*
is the whole of `solve()`: compile, solve, plan and verify. All are the best of several calls.
"""

_LEARNT = """### What was expected, and what helped

Profiles were taken first, and said something else than expected each time. Seconds of user and
system time, best of five, version before and after in turn on the same machine, with neighbours:

| what | before | after |
| --- | ---: | ---: |
| `solve()` of the family `typed`, 10,000 GPUs | 0.25 | 0.21 |
| the same, 1,000,000 GPUs | 0.69 | 0.22 |
| the same, 10,000,000 GPUs | 7.7 | 0.24 |
| certificate and plan, 1,000,000 GPUs | 0.47 | 0.035 |
| compile, family `all_distinct`, 1,000 GPUs | 5.6 | 0.75 |
| plan, 10,000 distinct placements | 1.2 | 0.58 |
| verify, 10,000 distinct placements | 2.8 | 0.38 |
| verify, 100,000 distinct placements | 32 | 3.4 |

- **Plans.** Expected: objects and texts. Found: arrays with a number for each GPU, sorted to find
  again the few hundred intervals they had been made from. Now everything is an interval from the
  class to the text, also what GPUs belong to a class, several of a class on one GPU, and gangs.
- **Compile.** Expected: data objects for each pair. Found: two thirds were the SLO model, asked
  about every pair at every batch and percentage. It is inverted once for each service and batch, to
  the last bit, and each pair is then a binary search. After that, sorting and copying arrays that
  were in order took longest.
- **verify.** Expected: curves and slowdowns. Found: half was making the same rows of a table again
  for every constraint, and then the same curves for placements that differ in names alone. Of
  placements that are alike one is judged, and the others only where it is wrong.
- **What did not help, or was left alone.** Making the data objects of a plan without checks takes a
  quarter less, no more. Of the time for a plan with 100,000 distinct placements about a half is
  Python's garbage collector, which goes through all objects again and again; whether to pause it is
  for the program to say, not for a library.
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
is there already; *in new memory* is the first time. Where memory binds, pairs are looked up singly.
"""

_MATRIX_OF_INSTANCE = """The same for the services and tasks of an instance of the family
`all_distinct`, with its curves and slowdowns, float64. *invert* inverts the SLO model for each
service, to the last bit; the compiler looks every pair up in that and takes the knobs as well.
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
                "compile_s": "compile, s",
                "plan_s": "plan, s",
                "verify_s": "verify, s",
                "arrays_to_verified_plan_s": "verified plan, s",
                "target_plan_s": "target, s",
                "met": "met",
                "recomputed_gap": "recomputed gap",
            },
        ),
        _LEARNT,
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
        _MATRIX_OF_INSTANCE,
        _table(
            tables["value_matrix_instance"],
            {
                "services": "services",
                "tasks": "tasks",
                "shares": "shares",
                "batches": "batches",
                "memory_binds": "pairs where memory binds",
                "curves_s": "curves, s",
                "invert_s": "invert, s",
                "runs_s": "runs, s",
                "enumeration_s": "enumeration, s",
                "times": "times",
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
