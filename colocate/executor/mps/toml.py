"""The configuration file of the v3 dialect, for a daemon that is started by others.

Most values are strings there, and an unknown key keeps the daemon from starting (MPS v3
Configuration File). Everything that goes in comes through `encode`, whose forms hold nothing that
TOML would have to escape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colocate.errors import InputError
from colocate.executor.mps import encode
from colocate.executor.ports import Limits

__all__ = ["ServerConfig", "config_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server and its namespaces."""

    name: str
    gpu: str
    limits: Limits
    user_id: int | None = None


def config_text(servers: Sequence[ServerConfig]) -> str:
    """Return the configuration of these servers; equal servers give equal text."""
    names = [server.name for server in servers]
    if len(set(names)) != len(names):
        raise InputError(
            f"two servers are called {max(names, key=names.count)!r}",
            advice="give each GPU a server of its own.",
        )
    parts = ['schema_version = "1.0"\n']
    parts += [_server(server) for server in sorted(servers, key=lambda server: server.name)]
    return "\n".join(parts)


def _server(server: ServerConfig) -> str:
    name = encode.namespace(server.name)
    limits = server.limits
    lines = [
        f"[servers.{name}]",
        f'allowed_devices          = "{encode.gpu_uuid(server.gpu)}"',
        *_limits(limits.share_pct, limits.memory_limit_mib),
    ]
    if server.user_id is not None:
        lines.append(f"uid                      = {encode.user_id(server.user_id)}")
    seen: set[str] = set()
    for space in sorted(limits.spaces, key=lambda space: space.name):
        inner = encode.namespace(space.name)
        if inner in seen or inner == encode.DEFAULT_NAMESPACE:
            raise InputError(
                f"namespace {inner!r} of server {name!r} is there twice, or is the built-in one",
                advice="give each unit a namespace of its own.",
            )
        seen.add(inner)
        lines += [
            "",
            f"[servers.{name}.namespaces.{inner}]",
            *_limits(space.share_pct, space.memory_limit_mib),
            f'client_priority          = "{encode.priority(low=space.low_priority)}"',
        ]
    return "\n".join(lines) + "\n"


def _limits(share_pct: int, memory_mib: int | None) -> list[str]:
    lines = [f'active_thread_percentage = "{encode.percentage(share_pct)}"']
    if memory_mib is not None:
        lines.append(f'pinned_memory_limit      = "{encode.memory_limit(memory_mib)}"')
    return lines
