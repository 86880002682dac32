"""`colocate export-state`: what this node's daemons enforce and what runs, as JSON."""

from __future__ import annotations

from colocate.cli import node_options, options

app = options.verb()


@app.command()
def export_state(
    output: str | None = options.OUTPUT,
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    binary: str | None = node_options.BINARY,
    debug: bool = options.DEBUG,
) -> None:
    """Write what runs on this node, and its limits, as JSON.

    The same state gives the same bytes: there are no process ids, times or measurements in it.
    """
    del debug
    from colocate.cli.writing import check_targets, write_text
    from colocate.executor.apply.export_state import state_text
    from colocate.executor.apply.operator import Operator

    if output is not None:
        check_targets([], [output])
    settings = node_options.node_settings(root, binary=binary, adopt=adopt)
    text = state_text(Operator(settings).look().observed)
    write_text("-" if output is None else output, text)
