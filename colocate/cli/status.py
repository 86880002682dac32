"""`colocate status`: where this node stands."""

from __future__ import annotations

from colocate.cli import node_options, options

app = options.verb()


@app.command()
def status(
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    binary: str | None = node_options.BINARY,
    as_json: bool = options.JSON,
    debug: bool = options.DEBUG,
) -> None:
    """Show where this node stands.

    What is applied, what is unfinished, who is at work. It reads only, and does not
    wait for a change that is under way.
    """
    del debug
    from colocate.cli.console import console, print_json
    from colocate.cli.node_view import print_standing
    from colocate.executor.apply.operator import Operator
    from colocate.executor.apply.status import standing_of

    settings = node_options.node_settings(root, binary=binary, adopt=adopt)
    standing = standing_of(settings.root, Operator(settings).look())
    if as_json:
        print_json({"kind": "status", **standing.data()})
    else:
        print_standing(console(), standing)
