"""The v3 dialect: ``module verb`` arguments, one named server, and a namespace for each unit.

Each daemon has one server, for its one GPU, so that a fault stays on that GPU. A namespace takes
nothing over from the server: one without limits gets the whole GPU, and its share replaces what a
client's environment says (measured with 615.71.09; see `colocate.executor.mps.sources`). So every
namespace gets limits of its own before a client can use it.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import Literal

from colocate.errors import clean_text
from colocate.executor.errors import MpsError
from colocate.executor.mps import encode, replies
from colocate.executor.mps.control import ControlError
from colocate.executor.mps.dialect import ClientSeen, LimitsSeen, ServerSeen, Speaker
from colocate.executor.mps.directories import check_socket_length
from colocate.executor.ports import Limits, ServerStatus, Space

__all__ = ["V3"]

_CSV = "--format=csv,noheader"
_SERVER = f"--server={encode.SERVER_NAME}"
_PRIORITY = re.compile(r"([01])(\s.*)?")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of ``server list``."""

    name: str
    pid: int | None
    status: ServerStatus
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class V3:
    """The daemon of one GPU, spoken to in the v3 dialect; parameters as those of `V2`."""

    control: Speaker
    gpu: str
    memory_mib: int
    patience_s: float = 15.0
    name: Literal["v3"] = "v3"

    def prepare(self) -> None:
        """Make the server where it is missing, and see that it stays.

        A server for a GPU that is not there is made without complaint and disappears; its clients
        then run without MPS and without limits.
        """
        row = self._row()
        if row is None:
            self.control.call(
                "server",
                "create",
                encode.namespace(encode.SERVER_NAME),
                f"--allowed-devices={encode.gpu_uuid(self.gpu)}",
            )
            until = time.monotonic() + self.patience_s
            while (row := self._row()) is None or row.status == "none":
                if time.monotonic() > until:
                    raise MpsError(
                        f"the MPS server of {self.gpu} was made and is not there",
                        advice="look into gpu/server.log in the log folder of its daemon.",
                    )
                time.sleep(0.05)
        if row.devices != (self.gpu,):
            raise MpsError(
                f"the MPS server of {self.gpu} serves {', '.join(row.devices) or 'nothing'}",
                advice="stop its daemon and let it be started again.",
            )

    def servers(self) -> tuple[ServerSeen, ...]:
        """Return the servers that run."""
        return tuple(
            ServerSeen(row.pid, row.status, row.name)
            for row in self._rows()
            if row.pid is not None and row.status != "none"
        )

    def clients(self, servers: tuple[ServerSeen, ...]) -> tuple[ClientSeen, ...]:
        """Return the clients of these servers."""
        if not servers:
            return ()
        pids = {server.name: server.pid for server in servers}
        command = "client list"
        text = self.control.call("client", "list", "--all", _CSV)
        found = []
        for pid, server, *_ in replies.rows(text, 5, command):
            (number,) = replies.pids(pid, command) or (0,)
            if number and server in pids:
                found.append(ClientSeen(number, pids[server]))
        return tuple(dict.fromkeys(found))

    def limits(self, servers: tuple[ServerSeen, ...]) -> LimitsSeen:
        """Return the limits of the server and of its namespaces."""
        ours = any(server.name == encode.SERVER_NAME for server in servers)
        spaces = self._spaces() if ours else {}
        base = spaces.pop(encode.DEFAULT_NAMESPACE, None)
        if base is None:  # no server yet: made by `prepare`
            return LimitsSeen(Limits(), settled=False)
        return LimitsSeen(
            Limits(
                share_pct=base.share_pct,
                memory_limit_mib=base.memory_limit_mib,
                spaces=tuple(spaces[name] for name in sorted(spaces)),
            ),
            settled=True,
        )

    def set_limits(self, wanted: Limits) -> None:
        """Bring the server and its namespaces to these limits."""
        wanted = self._checked(wanted)
        self.prepare()
        seen = self._spaces()
        base = Space(
            name=encode.DEFAULT_NAMESPACE,
            share_pct=wanted.share_pct,
            memory_limit_mib=wanted.memory_limit_mib,
        )
        self._set(("server", "set", encode.SERVER_NAME), base, seen.get(base.name))
        for space in wanted.spaces:
            name = encode.namespace(space.name)
            if name not in seen:
                self.control.call("namespace", "create", name, _SERVER)
            self._set(("namespace", "set", name, _SERVER), space, seen.get(name))
        for name in sorted(seen.keys() - {space.name for space in wanted.spaces} - {base.name}):
            # Without --force: one that has clients is left, and the comparison says so.
            self.control.call("namespace", "delete", encode.namespace(name), _SERVER)
        found = self.limits(self.servers()).limits
        if found != wanted:
            raise ControlError(
                f"the limits of {self.gpu} were set to {wanted} and read {found}",
                kind="reply",
                advice="see whether somebody else changes them.",
            )

    def terminate(self, client: ClientSeen) -> None:
        """End the GPU work of a client: done when it is no longer listed."""
        self.control.call(
            "client", "terminate", encode.process_id(client.pid), deadline_s=self.patience_s
        )
        until = time.monotonic() + self.patience_s
        while any(seen.pid == client.pid for seen in self.clients(self.servers())):
            if time.monotonic() > until:
                raise ControlError(
                    f"process {client.pid} is still a client of MPS after it was ended",
                    kind="timeout",
                    advice="reset the MPS server of this GPU when its other clients allow it.",
                )
            time.sleep(0.05)

    def shut_servers(self, *, force: bool) -> None:
        """End the server, make a new one, and give it the limits of the old one."""
        if self._row() is None:
            return
        servers = self.servers()
        limits = self.limits(servers).limits
        before = {server.pid for server in servers}
        options = ["--force"] if force else []
        self.control.call(
            "server", "delete", encode.SERVER_NAME, *options, deadline_s=self.patience_s
        )
        until = time.monotonic() + self.patience_s
        while before & {server.pid for server in self.servers()}:
            if time.monotonic() > until:
                raise ControlError(
                    f"the MPS server of {self.gpu} is still there after it was shut down",
                    kind="timeout",
                    advice="see which processes hold the GPU ('nvidia-smi'), and end them.",
                )
            time.sleep(0.05)
        self.set_limits(limits)

    def quit(self) -> None:
        """Tell the daemon to end."""
        self.control.call("-q", deadline_s=self.patience_s)

    def _rows(self) -> tuple[_Row, ...]:
        command = "server list"
        found = []
        for fields in replies.rows(self.control.call("server", "list", _CSV), 7, command):
            pid = fields[2]
            found.append(
                _Row(
                    fields[0],
                    int(pid) if pid.isascii() and pid.isdigit() and int(pid) > 0 else None,
                    replies.v3_status(fields[3], command),
                    # The list of devices is joined by commas too, between path and ids.
                    tuple(field for field in fields[5:-1] if field not in {"", "-"}),
                )
            )
        return tuple(found)

    def _row(self) -> _Row | None:
        return next((row for row in self._rows() if row.name == encode.SERVER_NAME), None)

    def _spaces(self) -> dict[str, Space]:
        """Return every namespace of our server, the default one included."""
        command = "namespace list"
        text = self.control.call("namespace", "list", _SERVER, _CSV)
        found = {}
        for fields in replies.rows(text, 7, command):
            name, _, _, memory, share, priority = fields[:6]
            match = _PRIORITY.fullmatch(priority) if priority not in {"", "-"} else None
            if match is None and priority not in {"", "-"}:
                raise ControlError(
                    f"the priority of namespace {clean_text(name, 64)} reads "
                    f"{clean_text(priority, 40)!r}",
                    kind="reply",
                    advice="report it with the driver version.",
                )
            limit = replies.memory_mib(memory, command)
            if limit is not None and limit >= self.memory_mib:
                limit = None
            part = 100.0 if share in {"", "-"} else replies.percent(share, command)
            found[name] = Space(
                name=name,
                share_pct=max(1, math.floor(part)),
                memory_limit_mib=None if limit is None else max(1, math.floor(limit)),
                low_priority=match is not None and match[1] == "1",
            )
        return found

    def _set(self, command: tuple[str, ...], wanted: Space, seen: Space | None) -> None:
        """Say what differs; a new namespace is told everything."""
        options = []
        if seen is None or seen.share_pct != wanted.share_pct:
            options.append(f"--active-thread-percentage={encode.percentage(wanted.share_pct)}")
        memory = wanted.memory_limit_mib
        if memory != (None if seen is None else seen.memory_limit_mib):
            limit = encode.memory_limit(self.memory_mib if memory is None else memory)
            options.append(f"--pinned-memory-limit={limit}")
        if wanted.low_priority != (seen is not None and seen.low_priority):
            options.append(f"--client-priority={encode.priority(low=wanted.low_priority)}")
        if options:
            self.control.call(*command, *options)

    def _checked(self, wanted: Limits) -> Limits:
        """Return the limits in the form in which they read back."""
        names = [encode.namespace(space.name) for space in wanted.spaces]
        if len(set(names)) != len(names) or encode.DEFAULT_NAMESPACE in names:
            raise MpsError(
                f"the namespaces of {self.gpu} are not distinct, or one is 'default'",
                advice="use one namespace for each unit.",
            )
        for name in names:
            check_socket_length(self.control.pipe / encode.SERVER_NAME / name / "control")
        spaces = [self._real(space) for space in wanted.spaces]
        base = self._real(
            Space(
                name=encode.DEFAULT_NAMESPACE,
                share_pct=wanted.share_pct,
                memory_limit_mib=wanted.memory_limit_mib,
            )
        )
        return Limits(
            share_pct=base.share_pct,
            memory_limit_mib=base.memory_limit_mib,
            spaces=tuple(sorted(spaces, key=lambda space: space.name)),
        )

    def _real(self, space: Space) -> Space:
        """Return a namespace without a memory limit that limits nothing."""
        encode.percentage(space.share_pct)
        memory = space.memory_limit_mib
        if memory is not None:
            encode.memory_limit(memory)
        return Space(
            name=space.name,
            share_pct=space.share_pct,
            memory_limit_mib=None if memory is None or memory >= self.memory_mib else memory,
            low_priority=space.low_priority,
        )
