"""`colocate models import`: files of other tools, joined into one profile table."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.models.arguments import MAX_TABLE
from colocate.cli.reading import at_most_one_stdin
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from colocate.tables import ProfileTable
    from colocate.tables.read import TableFile

MOST_REASONS = 20
JOIN = "table"
"""Not a foreign format: profile tables themselves, to put several into one."""
_EACH = "Once for all files, or once for each."


def _setting(kind: str, *names: str, help: str, each: bool = True) -> Any:  # noqa: A002, ANN401
    """Return an option for something that a file may not tell."""
    return options.flag(None, *names, help=f"{help} {_EACH}" if each else help, metavar=kind)


def import_(
    format_name: str = typer.Argument(
        ...,
        help="aiperf, dcgm, model-analyzer, perf-analyzer, vllm-bench, or table to join tables.",
        metavar="FORMAT",
    ),
    files: list[str] = typer.Argument(..., help="Files; - reads standard input.", metavar="FILE"),
    output: str | None = options.OUTPUT,
    workload: list[str] | None = _setting(
        "NAME", "--workload", "-w", help="What was measured, where a file does not tell."
    ),
    gpu: list[str] | None = _setting("TYPE", "--gpu", "-g", help="GPU type."),
    share_pct: list[float] | None = _setting(
        "PCT", "--share-pct", help="SM share that it was given; 100 unless stated."
    ),
    role: list[str] | None = _setting(
        "ROLE", "--role", help="inference (unless stated) or training."
    ),
    batch: list[float] | None = _setting("N", "--batch", help="Batch size."),
    rate: list[float] | None = _setting(
        "R", "--rate", help="Samples per second, for files of telemetry alone."
    ),
    latency_ms: list[float] | None = _setting(
        "MS", "--latency-ms", help="Time of a batch, for files of telemetry alone."
    ),
    arrival_rps: list[float] | None = _setting(
        "R", "--arrival-rps", help="Offered load, where a file does not tell."
    ),
    phase: str | None = _setting(
        "PHASE",
        "--phase",
        help="Language models: count a request (unless stated) or decode, a token, as a sample.",
        each=False,
    ),
    gpu_file: list[str] | None = _setting(
        "FILE", "--gpu-file", help="Model Analyzer: metrics-model-gpu.csv, for the memory."
    ),
    server_file: list[str] | None = _setting(
        "FILE", "--server-file", help="Model Analyzer: metrics-server-only.csv, for the memory."
    ),
    config: str | None = _setting(
        "NAME", "--config", help="Model Analyzer: keep one configuration only.", each=False
    ),
    every_concurrency: bool = options.flag(
        False, "--every-concurrency", help="Triton: keep all rows, not the fastest of each batch."
    ),
    device: str | None = _setting(
        "ID", "--device", help="DCGM: which device, where a file has several.", each=False
    ),
    skip: int | None = options.flag(
        None, "--skip", help="DCGM: samples to leave out at the start.", metavar="N", min=0
    ),
    force: bool = options.FORCE,
    max_input: int = MAX_TABLE,
    quiet: bool = options.QUIET,
    debug: bool = options.DEBUG,
) -> None:
    """Turn files of other tools into one profile table.

    Without --output it goes to standard output, as CSV; a name that ends in .json is written as
    JSON.
    """
    del debug
    at_most_one_stdin(*files)
    each: dict[str, Sequence[Any] | None] = {
        "workload": workload,
        "gpu": gpu,
        "share_pct": share_pct,
        "role": role,
        "batch": batch,
        "rate": rate,
        "latency_ms": latency_ms,
        "arrival_rps": arrival_rps,
        "gpu_path": gpu_file,
        "server_path": server_file,
    }
    settings = {name: _one_for_each(name, given, len(files)) for name, given in each.items()}
    for name, value in (("phase", phase), ("config", config), ("device", device), ("skip", skip)):
        settings[name] = [value] * len(files)
    settings["every_concurrency"] = [every_concurrency or None] * len(files)
    targets = [] if output is None else [output]
    check_targets([*files, *(gpu_file or []), *(server_file or [])], targets)
    check_free(targets, force=force)
    read = _reader(
        format_name, {name for name, values in settings.items() if values[0] is not None}
    )
    found = []
    for i, file in enumerate(files):
        given = {name: values[i] for name, values in settings.items() if values[i] is not None}
        found.append(read(_whole(file, max_input), **given))
    _save(found, files, output, force=force, quiet=quiet)


def _one_for_each(name: str, given: Sequence[Any] | None, n: int) -> list[Any]:
    if not given:
        return [None] * n
    if len(given) == 1:
        return [*given] * n
    if len(given) != n:
        raise typer.BadParameter(
            f"{_option(name)} is given {len(given)} times for {n} file{'s' if n > 1 else ''}: "
            "give it once, or once for each"
        )
    return [*given]


def _option(name: str) -> str:
    return "--" + name.replace("_path", "_file").replace("_", "-")


def _reader(format_name: str, given: set[str]) -> Callable[..., TableFile]:
    """Return the reader of a format, unless there are settings that mean nothing to it."""
    from colocate.tables.foreign import READERS
    from colocate.tables.read import read_table

    known: Mapping[str, Callable[..., TableFile]] = {**READERS, JOIN: read_table}
    if format_name not in known:
        raise typer.BadParameter(f"{format_name!r} is not one of {', '.join(known)}")
    reader = known[format_name]
    takes = set(inspect.signature(reader).parameters)
    strange = sorted(given - takes) if format_name != JOIN else sorted(given)
    if strange:
        raise typer.BadParameter(f"{_option(strange[0])} means nothing to {format_name} files")
    return reader


def _whole(file: str, max_bytes: int) -> Any:  # noqa: ANN401 - an open file with a name
    """Return a file's bytes, no more than allowed, under its name."""
    from io import BytesIO

    from colocate.tables.raw import read_bytes

    data, label = read_bytes(file, max_bytes=max_bytes)
    again = BytesIO(data)
    again.name = label
    return again


def _save(
    found: Sequence[TableFile],
    files: Sequence[str],
    output: str | None,
    *,
    force: bool,
    quiet: bool,
) -> None:
    from colocate.cli.models.reading import no_row
    from colocate.tables import ProfileTable
    from colocate.tables.write import dumps_csv, dumps_json

    table = ProfileTable.join([f.table for f in found])
    if not len(table):
        first = next((i for i, f in enumerate(found) if f.n_dropped), 0)
        raise no_row(found[first], "<stdin>" if files[first] == "-" else files[first])
    as_json = output is not None and output.lower().endswith(".json")
    write_text(output or "-", dumps_json(table) if as_json else dumps_csv(table), force=force)
    if not quiet:
        _summarise(table, found, output)


def _summarise(table: ProfileTable, found: Sequence[TableFile], output: str | None) -> None:
    from colocate.cli.console import cell, console
    from colocate.report.words import plural

    out = console(sys.stderr if output in (None, "-") else sys.stdout)
    names = {(w, g) for w, g in zip(table["workload"], table["gpu"], strict=True)}
    shown = ", ".join(f"{w} on {g}" for w, g in sorted(names)[:8])
    more = "" if len(names) <= 8 else f" and {len(names) - 8} more"
    out.print(cell(f"Imported   {plural(len(table), 'row')}: {shown}{more}", limit=1000))
    reasons: Counter[str] = Counter()
    for file in found:
        reasons.update(f"{row.column} {row.reason}".strip() for row in file.dropped)
    for reason, n in reasons.most_common(MOST_REASONS):
        out.print(cell(f"Left out   {plural(n, 'row')}: {reason}", limit=400))
    if output not in (None, "-"):
        out.print(cell(f"Table      {output}", limit=1000))
