"""`colocate rollback`: back to what this node was before the last change."""

from __future__ import annotations

import sys

from colocate.cli import node_options, options
from colocate.cli.failure import say

app = options.verb()


@app.command()
def rollback(
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    allow_root: bool = node_options.ALLOW_ROOT,
    lock_timeout: float = node_options.LOCK_TIMEOUT,
    member_timeout: float = node_options.MEMBER_TIMEOUT,
    force_unlock: int | None = node_options.FORCE_UNLOCK,
    binary: str | None = node_options.BINARY,
    dialect: str = node_options.DIALECT,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    debug: bool = options.DEBUG,
) -> None:
    """Bring this node back to what it was before the last change.

    Whether that was finished or cut off. Each further rollback goes one change further back.
    """
    del debug
    from colocate.cli.apply import outcome_data, told
    from colocate.cli.console import print_json
    from colocate.executor.apply.lock import force_unlock as take_lock_away
    from colocate.executor.apply.operator import Operator

    settings = node_options.node_settings(
        root,
        binary=binary,
        adopt=adopt,
        allow_root=allow_root,
        dialect=dialect,
        lock_timeout=lock_timeout,
        member_timeout=member_timeout,
        changes=True,
    )
    if force_unlock is not None:
        take_lock_away(settings.root, force_unlock)
    with node_options.putting_back(quiet=quiet) as signals:
        notice = None if quiet or as_json else say
        operator = Operator(settings, stop=signals.asked, notice=notice)
        signals.engine = operator.engine
        outcome = operator.rollback()
    if as_json:
        print_json(outcome_data("rollback", outcome))
    elif not quiet:
        sys.stdout.write(told(outcome) + "\n")
