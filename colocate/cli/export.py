"""`colocate export`: a plan for launchers that exist already."""

from __future__ import annotations

import typer

from colocate.cli import options

app = options.verb()


@app.command()
def export(
    plan: str = typer.Argument(..., help="Plan file; - reads standard input.", metavar="PLAN"),
    instance: str = typer.Argument(..., help="Its instance.", metavar="INSTANCE"),
    launch: str = typer.Argument(
        ..., help="Launch file: how each workload is started.", metavar="LAUNCH"
    ),
    to: str = options.flag(
        ..., "--to", help="env, systemd, compose, slurm or mps-v3.", metavar="TARGET"
    ),
    output: str = options.flag(
        ..., "--output", "-o", help="Folder to write to; it is made.", metavar="DIR"
    ),
    root: str = options.flag(
        "/run/colocate",
        "--root",
        help="State folder on the machines that the files are for.",
        metavar="FOLDER",
    ),
    strict: bool = options.flag(False, "--strict", help="What would be lost is an error."),
    force: bool = options.flag(False, "--force", "-f", help="Replace files that exist."),
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Write a plan for other launchers, and tell what is lost."""
    del debug
    from pathlib import Path

    from colocate.cli.console import console, print_json
    from colocate.cli.reading import at_most_one_stdin
    from colocate.errors import PlanError
    from colocate.export import launchers
    from colocate.io import load_instance, load_launch, load_plan

    at_most_one_stdin(plan, instance, launch)
    answer = load_plan(plan, max_bytes=max_input)
    question = load_instance(instance, max_bytes=max_input)
    if question.sha256 != answer.instance_sha256:
        raise PlanError(
            f"the plan is for the instance with hash {answer.instance_sha256[:12]}..., "
            f"{instance!r} has {question.sha256[:12]}...",
            path="$.instance_sha256",
            advice="give the instance that the plan was made for.",
        )
    programs = load_launch(launch, max_bytes=max_input)
    result = launchers.export(to, question, answer, programs, Path(root), strict=strict)
    launchers.write(result, Path(output), force=force)
    if as_json:
        print_json(
            {
                "kind": "export",
                "target": to,
                "files": [file.name for file in result.files],
                "losses": [
                    {"what": loss.what, "program": loss.program, "detail": loss.detail}
                    for loss in result.losses
                ],
            }
        )
        return
    if quiet:
        return
    out = console()
    out.print(f"{len(result.files)} files in {output}", markup=False, highlight=False)
    if result.losses:
        out.print(f"\n{to} cannot express:", markup=False, highlight=False)
        for loss in result.losses:
            of = f" of {loss.program}" if loss.program else ""
            out.print(f"  {loss.what}{of}: {loss.detail}", markup=False, highlight=False)
