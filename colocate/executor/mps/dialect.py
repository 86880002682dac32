"""What both dialects of the control program can say, so that callers need not know which it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from colocate.executor.ports import Dialect as DialectName
from colocate.executor.ports import Limits, ServerStatus

__all__ = ["ClientSeen", "Dialect", "LimitsSeen", "ServerSeen", "Speaker"]


class Speaker(Protocol):
    """What takes one command to a daemon and returns its reply: `Control`, or a test's own."""

    @property
    def pipe(self) -> Path:
        """Where the daemon listens."""
        ...

    def ask(self, *words: str, deadline_s: float | None = None) -> str:
        """Send one line of the v2 dialect."""
        ...

    def call(self, *argv: str, deadline_s: float | None = None) -> str:
        """Run one command of the v3 dialect."""
        ...


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """An MPS server as the daemon shows it."""

    pid: int
    status: ServerStatus
    name: str = ""
    """Only servers of the v3 dialect have names."""


@dataclass(frozen=True, slots=True)
class ClientSeen:
    """A client as the daemon shows it."""

    pid: int
    server_pid: int


@dataclass(frozen=True, slots=True)
class LimitsSeen:
    """Limits as the daemon shows them."""

    limits: Limits
    settled: bool
    """Whether a server that runs already enforces the same as one that starts later."""


class Dialect(Protocol):
    """One control daemon, which serves one GPU."""

    @property
    def name(self) -> DialectName:
        """Which dialect it is."""
        ...

    def prepare(self) -> None:
        """Make what must be there before limits can be set; does nothing when it is."""
        ...

    def servers(self) -> tuple[ServerSeen, ...]:
        """Return the servers that run."""
        ...

    def clients(self, servers: tuple[ServerSeen, ...]) -> tuple[ClientSeen, ...]:
        """Return the clients of these servers."""
        ...

    def limits(self, servers: tuple[ServerSeen, ...]) -> LimitsSeen:
        """Return what is enforced."""
        ...

    def set_limits(self, wanted: Limits) -> None:
        """Bring the limits to these, say nothing where they are, and read back what was said."""
        ...

    def terminate(self, client: ClientSeen) -> None:
        """End the GPU work of a client, and see it leave the list."""
        ...

    def shut_servers(self, *, force: bool) -> None:
        """End the servers, and see them leave the list."""
        ...

    def quit(self) -> None:
        """Tell the daemon to end."""
        ...
