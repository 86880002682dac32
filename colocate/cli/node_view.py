"""Steps, differences and the standing of a node, as tables and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colocate.cli.console import cell, plain_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from colocate.executor.apply.actions import Step
    from colocate.executor.apply.differences import Difference
    from colocate.executor.apply.preview import Preview
    from colocate.executor.apply.status import Standing

__all__ = [
    "difference_data",
    "print_differences",
    "print_preview",
    "print_standing",
    "print_steps",
    "step_data",
]

_STYLES = {
    "applied": "green",
    "drifted": "yellow",
    "changing": "cyan",
    "cut_off": "bold yellow",
    "needs_attention": "bold red",
}


def short_gpu(gpu: str) -> str:
    """Return a UUID so short that it can still be told apart."""
    return gpu if len(gpu) < 16 else gpu[:12]


def step_data(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return steps as plain data."""
    from colocate.executor.apply.actions import gpus_of, words

    return [
        {
            "step": n,
            "do": step.action.do,
            "gpus": list(gpus_of(step.action)),
            "text": words(step.action),
            "undo": [words(action) for action in step.undo],
            "downtime": step.downtime,
            "remark": step.remark,
        }
        for n, step in enumerate(steps, 1)
    ]


def difference_data(found: Sequence[Difference]) -> list[dict[str, str]]:
    """Return differences as plain data."""
    return [{"gpu": d.gpu, "what": d.what, "found": d.found, "wanted": d.wanted} for d in found]


def print_steps(out: Console, steps: Sequence[Step]) -> None:
    """Print steps as a table, each with what takes it back."""
    from colocate.executor.apply.actions import gpus_of, words

    table = plain_table("", ["#", "GPU", "step", "taken back by"], right=["#"])
    for n, step in enumerate(steps, 1):
        gpu = ", ".join(short_gpu(g) for g in gpus_of(step.action))
        text = words(step.action)
        if step.downtime:
            text += f"\nDOWNTIME until its next process is ready: {step.remark}"
        elif step.remark:
            text += f"\n({step.remark})"
        undo = "; ".join(words(action) for action in step.undo) or "-"
        table.add_row(
            str(n), cell(gpu), _lines(text, "yellow" if step.downtime else ""), cell(undo, "dim")
        )
    out.print(table)


def _lines(text: str, style: str) -> Any:  # noqa: ANN401 - rich's
    from rich.text import Text

    return Text("\n").join(cell(line, style, limit=400) for line in text.split("\n"))


def print_preview(out: Console, preview: Preview) -> None:
    """Print what an apply would do."""
    from colocate.report.words import plural

    origin = preview.origin
    out.print(cell(f"Plan       {origin.plan_sha256[:12]} of instance {origin.instance_name!r}"))
    here = plural(len(preview.target.units), "unit")
    gpus = plural(len(preview.target.gpus), "GPU")
    left = ""
    if preview.left_out_units:
        left = (
            f"; left out: {plural(preview.left_out_units, 'unit')} on "
            f"{plural(preview.left_out_gpus, 'GPU')} of other nodes"
        )
    out.print(f"This node  {here} on {gpus}{left}")
    if not preview.steps:
        out.print("Nothing has to be done: everything is as the plan wants it.", style="green")
        return
    stops = len(preview.downtimes)
    out.print(
        f"To do      {plural(len(preview.steps), 'step')}, "
        + (f"{plural(stops, 'service')} with downtime" if stops else "no downtime of a service")
    )
    print_steps(out, preview.steps)


def print_differences(out: Console, found: Sequence[Difference]) -> None:
    """Print where what is true is not what is wanted."""
    table = plain_table("", ["GPU", "what", "found", "wanted"])
    for d in found:
        table.add_row(cell(short_gpu(d.gpu)), cell(d.what), cell(d.found, "red"), cell(d.wanted))
    out.print(table)


def print_standing(out: Console, standing: Standing) -> None:
    """Print where the node stands."""
    applied = standing.situation.applied
    out.print(cell(f"State      {standing.sentence}", _STYLES.get(standing.word, ""), limit=2000))
    if standing.advice is not None:
        out.print(cell(f"           Maybe {standing.advice}"))
    if standing.holder is not None:
        out.print(cell(f"Lock       held by {standing.holder}"))
    if applied is not None:
        plan = "none" if applied.origin is None else applied.origin.plan_sha256[:12]
        back = len(applied.earlier)
        out.print(cell(f"Applied    change {applied.change}, plan {plan}; {back} to go back to"))
    _print_gpus(out, standing)
    if standing.differences:
        out.print()
        print_differences(out, standing.differences)


def _print_gpus(out: Console, standing: Standing) -> None:
    observed = standing.situation.observed
    table = plain_table(
        "",
        ["GPU", "MPS", "server", "unit", "share", "batch", "phase", "restarts"],
        right=["share", "batch", "restarts"],
    )
    for gpu in observed.facts:
        daemon = observed.daemon(gpu)
        mps = "-" if not daemon.alive else f"{daemon.dialect or '?'}"
        if daemon.alive and not daemon.ours:
            mps += " (not ours)"
        strangers = len(observed.foreign(gpu))
        server = daemon.server + (f", {strangers} clients not ours" if strangers else "")
        first = (cell(short_gpu(gpu)), cell(mps), cell(server, _server_style(server)))
        units = observed.units_on(gpu)
        if not units:
            table.add_row(*first, "-", "", "", "", "")
        for seen in units:
            state = seen.state
            phase = state.phase + (" beside MPS" if seen.beside_mps else "")
            table.add_row(
                *first,
                cell(state.unit.key),
                f"{state.unit.share_pct} %",
                str(state.unit.batch),
                cell(phase, "red" if seen.broken else ""),
                str(state.restarts),
            )
            first = (cell(""), cell(""), cell(""))
    out.print(table)


def _server_style(server: str) -> str:
    return "red" if server.startswith("fault") or "not ours" in server else ""
