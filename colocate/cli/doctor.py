"""`colocate doctor`: is everything here that planning needs, and what is there besides."""

from __future__ import annotations

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode

app = options.verb()

_STYLES = {"ok": "green", "note": "yellow", "failed": "bold red"}
_TITLES = {
    "python": "This program",
    "packages": "Packages",
    "solvers": "Solvers",
    "gpu": "GPUs and driver",
    "mps": "MPS",
}


@app.command()
def doctor(as_json: bool = options.JSON, debug: bool = options.DEBUG) -> None:
    """Check this installation: versions, solvers, GPU driver, MPS.

    The exit code is 1 when something that planning needs is missing or does not load. A machine
    without a GPU is no fault.
    """
    del debug
    from dataclasses import asdict

    from colocate.cli.checks import all_checks
    from colocate.cli.console import cell, console, plain_table, print_json

    checks = all_checks()
    ok = all(c.status != "failed" for c in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(c) for c in checks]})
    else:
        table = plain_table("", ["", "name", "", "detail"])
        before = ""
        for c in checks:
            title = "" if c.about == before else _TITLES[c.about]
            before = c.about
            table.add_row(
                cell(title, "bold"), cell(c.name), cell(c.status, _STYLES[c.status]), cell(c.detail)
            )
        table.show_header = False
        out = console()
        out.print(table)
        out.print()
        out.print("Everything that planning needs is here." if ok else "Something is missing.")
    raise typer.Exit(ExitCode.OK if ok else ExitCode.CHECK_FAILED)
