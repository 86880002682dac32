"""What the verbs that look at or change this node have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.failure import say

if TYPE_CHECKING:
    from types import FrameType

    from colocate.executor.apply.engine import Engine
    from colocate.executor.apply.operator import NodeSettings, Request

__all__ = [
    "ADOPT",
    "ALLOW_ROOT",
    "BINARY",
    "DIALECT",
    "FORCE_UNLOCK",
    "INSTANCE",
    "LAUNCH",
    "LOCK_TIMEOUT",
    "MEMBER_TIMEOUT",
    "ROOT",
    "Signals",
    "node_settings",
    "putting_back",
    "request_of",
]

ROOT = options.flag(
    None,
    "--root",
    help="State folder; /run/colocate for root, else below $XDG_RUNTIME_DIR or ~/.local/state.",
    metavar="FOLDER",
)
INSTANCE = options.flag(
    None, "--instance", "-i", help="The instance that the plan answers.", metavar="FILE"
)
LAUNCH = options.flag(
    None, "--launch", "-l", help="Launch file: how the workloads start.", metavar="FILE"
)
ADOPT = options.flag(
    False, "--adopt", help="Take over MPS daemons that this user started by other means."
)
ALLOW_ROOT = options.flag(False, "--allow-root", help="Change things even as root.")
LOCK_TIMEOUT = options.flag(
    0.0, "--lock-timeout", help="Wait so long for another apply to end.", metavar="S", min=0
)
MEMBER_TIMEOUT = options.flag(
    60.0,
    "--member-timeout",
    help="How long a ready process may take to become a client of MPS.",
    metavar="S",
    min=0,
)
FORCE_UNLOCK = options.flag(
    None,
    "--force-unlock",
    help="First take the lock away from this process, which hangs; look at 'status' before.",
    metavar="PID",
    min=1,
)
BINARY = options.flag(
    None, "--mps-control", help="Path of nvidia-cuda-mps-control.", metavar="FILE"
)
DIALECT = options.flag(
    "v2", "--dialect", help="What daemons that are started here speak: v2 or v3.", metavar="D"
)


def node_settings(
    root: str | None,
    *,
    binary: str | None = None,
    adopt: bool = False,
    allow_root: bool = False,
    dialect: str = "v2",
    lock_timeout: float = 0.0,
    member_timeout: float = 60.0,
    changes: bool = False,
) -> NodeSettings:
    """Return the settings of this node, after its state folder was checked.

    Parameters
    ----------
    root, binary, adopt, allow_root, dialect, lock_timeout, member_timeout
        The options of these names.
    changes
        Whether the verb changes anything: then the folder is made, and root is refused.
    """
    from colocate.executor.apply import node
    from colocate.executor.apply.operator import NodeSettings

    if dialect not in ("v2", "v3"):
        raise typer.BadParameter(f"--dialect is v2 or v3, not {dialect[:20]!r}")
    folder = node.default_root() if root is None else Path(root)
    if changes:
        node.refuse_root(allow=allow_root)
        node.prepare_root(folder)
    else:
        node.check_root(folder)
    return NodeSettings(
        root=folder,
        binary=None if binary is None else Path(binary),
        adopt=adopt,
        allow_root=allow_root,
        dialect="v3" if dialect == "v3" else "v2",
        lock_timeout_s=lock_timeout,
        member_timeout_s=member_timeout,
    )


def request_of(plan: str, instance: str | None, launch: str | None, max_input: int) -> Request:
    """Read a plan, its instance and its launch file."""
    from colocate.cli.reading import at_most_one_stdin
    from colocate.executor.apply.operator import Request
    from colocate.io import load_instance, load_launch, load_plan

    if instance is None or launch is None:
        raise typer.BadParameter("a plan needs its --instance and a --launch file")
    at_most_one_stdin(plan, instance, launch)
    return Request.of(
        load_instance(instance, max_bytes=max_input),
        load_plan(plan, max_bytes=max_input),
        load_launch(launch, max_bytes=max_input),
    )


class Signals:
    """What to do when the operator, or the system, asks to stop.

    The first Ctrl-C or SIGTERM lets the step under way end; then everything is put back. The second
    does not wait for that step. While things are put back, one more is answered in words, and the
    next leaves the node as it is then, for a later rollback.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._asked = False
        self._warned = False
        self.engine: Engine | None = None
        """The engine at work, once there is one."""

    def asked(self) -> bool:
        """Tell whether to stop after this step."""
        return self._asked

    def came(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle one signal."""
        if self.engine is not None and self.engine.going_back:
            if self._warned:
                raise KeyboardInterrupt
            self._warned = True
            self._say("putting everything back; once more leaves the node as it is then")
        elif self._asked:
            raise KeyboardInterrupt
        else:
            self._asked = True
            self._say("stopping after this step, then everything is put back")

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(f"colocate: {text}")


@contextmanager
def putting_back(*, quiet: bool) -> Iterator[Signals]:
    """Handle signals while the node is changed."""
    signals = Signals(quiet=quiet)
    if threading.current_thread() is not threading.main_thread():
        yield signals  # signals belong to the main thread
        return

    handled = (signal.SIGINT, signal.SIGTERM)
    before: list[Any] = [signal.signal(number, signals.came) for number in handled]
    try:
        yield signals
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
