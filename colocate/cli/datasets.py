"""`colocate datasets`: instances to start from."""

from __future__ import annotations

import typer

from colocate.cli import options
from colocate.cli.writing import check_targets, write_text

app = options.verb(help="List, fetch and generate instances.")


@app.command("list")
def list_(as_json: bool = options.JSON, debug: bool = options.DEBUG) -> None:
    """List the bundled instances, and the families that can be generated."""
    del debug
    from dataclasses import asdict

    from colocate import datasets
    from colocate.cli.console import cell, console, plain_table, print_json
    from colocate.datasets.generator import FAMILIES
    from colocate.report.words import number

    described = [datasets.describe(name) for name in datasets.names()]
    if as_json:
        print_json({"datasets": [asdict(d) for d in described], "families": dict(FAMILIES)})
        return
    out = console()
    right = ["GPUs", "replicas", "tasks", "optimum"]
    table = plain_table(
        "Bundled instances: colocate datasets get NAME", ["name", *right, "what it is"], right=right
    )
    for d in described:
        optimum = "not known"
        if d.facts is not None:
            value = d.facts.objective
            optimum = "infeasible" if value is None else number(value)
        table.add_row(
            cell(d.name, "bold"),
            cell(f"{d.gpus:,}"),
            cell(f"{d.replicas:,}"),
            cell(f"{d.tasks:,}"),
            cell(optimum),
            cell(_first_sentence(d.description, max(30, out.width - 68))),
        )
    out.print(table)
    out.print()
    table = plain_table(
        "Families: colocate datasets generate FAMILY --gpus N --seed N", ["family", "what it is"]
    )
    for name, what in FAMILIES.items():
        table.add_row(cell(name, "bold"), cell(what))
    out.print(table)


@app.command()
def get(
    name: str = typer.Argument(..., help="Name of a bundled instance.", metavar="NAME"),
    output: str | None = options.OUTPUT,
    force: bool = options.FORCE,
    debug: bool = options.DEBUG,
) -> None:
    """Copy a bundled instance to a file (NAME.json), or to standard output with -o -."""
    del debug
    from colocate.datasets.catalogue import path

    text = path(name).read_text(encoding="utf-8")
    _save(text, output or f"{name}.json", force=force)


@app.command()
def generate(
    family: str = typer.Argument(
        ..., help="Family; see `colocate datasets list`.", metavar="FAMILY"
    ),
    gpus: int = options.flag(12, "--gpus", "-n", help="Number of GPUs.", metavar="N"),
    seed: int = options.flag(
        0, "--seed", help="Seed; the same one gives the same instance.", metavar="N"
    ),
    output: str | None = options.OUTPUT,
    force: bool = options.FORCE,
    debug: bool = options.DEBUG,
) -> None:
    """Make an instance of a family, of any size, from a seed."""
    del debug
    from colocate import datasets
    from colocate.io import dumps_instance

    made = datasets.generate(family, gpus=gpus, seed=seed)
    _save(dumps_instance(made), output or f"{family}-{gpus}-{seed}.json", force=force)


def _first_sentence(text: str, length: int) -> str:
    from colocate.report.words import shorten

    return shorten(" ".join(text.split()).split(". ")[0].rstrip("."), length)


def _save(text: str, target: str, *, force: bool) -> None:
    check_targets([], [target])
    write_text(target, text, force=force)
    if target != "-":
        from colocate.cli.console import cell, console

        console().print(cell(f"Instance   {target}", limit=1000))
