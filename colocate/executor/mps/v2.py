"""The v2 dialect: one command a line on standard input, defaults, and overrides for a server.

Defaults are taken over by servers that start later; what is set for a server holds for its new
clients (Legacy MPS v2 Interface). New clients of a server that runs must see the new limits too,
so both are set, and both are read back: the reply to a command that sets something says nothing
reliable.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

from colocate.errors import clean_text
from colocate.executor.errors import MpsError
from colocate.executor.mps import encode, replies
from colocate.executor.mps.control import ControlError
from colocate.executor.mps.dialect import ClientSeen, LimitsSeen, ServerSeen, Speaker
from colocate.executor.ports import Limits

__all__ = ["V2"]

# The daemon was started for one GPU, by UUID, and sees no other. Its ordinal is then 0, which every
# driver takes here; a UUID only newer ones do. A limit shows only by the name that it was set by.
_ITS_GPU = "0"


@dataclass(frozen=True, slots=True)
class V2:
    """The daemon of one GPU, spoken to in the v2 dialect.

    Parameters
    ----------
    control
        How to speak to it.
    gpu
        UUID of its GPU.
    memory_mib
        Memory of the GPU. A limit, once set, cannot be taken away in this dialect; one of this
        size limits nothing, and counts as none.
    patience_s
        How long to wait for a client or server to leave its list.
    """

    control: Speaker
    gpu: str
    memory_mib: int
    patience_s: float = 15.0
    name: Literal["v2"] = "v2"

    def prepare(self) -> None:
        """Do nothing: a server starts with its first client."""

    def servers(self) -> tuple[ServerSeen, ...]:
        """Return the servers that run."""
        found = []
        for pid in replies.pids(self.control.ask("get_server_list"), "get_server_list"):
            text = self.control.ask("get_server_status", encode.process_id(pid))
            status = replies.server_status(text, "get_server_status")
            if status != "none":  # it has ended in between
                found.append(ServerSeen(pid, status))
        return tuple(found)

    def clients(self, servers: tuple[ServerSeen, ...]) -> tuple[ClientSeen, ...]:
        """Return the clients of these servers."""
        found = []
        for server in servers:
            text = self.control.ask("get_client_list", encode.process_id(server.pid))
            found += [ClientSeen(pid, server.pid) for pid in replies.pids(text, "get_client_list")]
        return tuple(found)

    def limits(self, servers: tuple[ServerSeen, ...]) -> LimitsSeen:
        """Return what the next server and the clients that come will get.

        A server in FAULT, or one that is not up yet, is not asked: it takes no clients, and
        whether it would answer is not known.
        """
        share, memory = self._share(None), self._memory(None)
        settled = all(
            (self._share(server.pid), self._memory(server.pid)) == (share, memory)
            for server in servers
            if server.status == "active"
        )
        return LimitsSeen(
            Limits(
                # Somebody else may have set a fraction; what is below it is surely allowed.
                share_pct=max(1, math.floor(share)),
                memory_limit_mib=None if memory is None else max(1, math.floor(memory)),
            ),
            settled,
        )

    def set_limits(self, wanted: Limits) -> None:
        """Bring the defaults, and the servers that run, to these limits."""
        if wanted.spaces:
            raise MpsError(
                f"the MPS daemon of {self.gpu} speaks v2, which has no namespaces",
                advice="give the limits of each process in its environment.",
            )
        memory = wanted.memory_limit_mib
        if memory is not None and memory >= self.memory_mib:
            memory = None
        for server in (None, *(server.pid for server in self.servers())):
            self._set_share(server, wanted.share_pct)
            self._set_memory(server, memory)

    def terminate(self, client: ClientSeen) -> None:
        """End the GPU work of a client. Only ``0`` means that it was done."""
        text = self.control.ask(
            "terminate_client",
            encode.process_id(client.server_pid),
            encode.process_id(client.pid),
            deadline_s=self.patience_s,
        )
        if text != "0":
            raise ControlError(
                f"MPS did not end the work of process {client.pid}: it said "
                f"{clean_text(text, 80)!r}",
                kind="reply",
                advice="see whether the process still runs; 201 means that it had no context.",
            )
        self._wait_until_gone(client)

    def _wait_until_gone(self, client: ClientSeen) -> None:
        until = time.monotonic() + self.patience_s
        servers = (ServerSeen(client.server_pid, "active"),)
        while any(seen.pid == client.pid for seen in self.clients(servers)):
            if time.monotonic() > until:
                raise ControlError(
                    f"process {client.pid} is still a client of MPS after it was ended",
                    kind="timeout",
                    advice="reset the MPS server of this GPU when its other clients allow it.",
                )
            time.sleep(0.05)

    def shut_servers(self, *, force: bool) -> None:
        """End the servers; without `force` each waits for its clients to leave."""
        for server in self.servers():
            words = ["shutdown_server", encode.process_id(server.pid)]
            self.control.ask(*words, *(["-f"] if force else []), deadline_s=self.patience_s)
        until = time.monotonic() + self.patience_s
        while left := replies.pids(self.control.ask("get_server_list"), "get_server_list"):
            if time.monotonic() > until:
                raise ControlError(
                    f"the MPS server {left[0]} of {self.gpu} is still there after it was shut down",
                    kind="timeout",
                    advice="see which processes hold the GPU ('nvidia-smi'), and end them.",
                )
            time.sleep(0.05)

    def quit(self) -> None:
        """Tell the daemon to end. It waits for its clients, so there must be none."""
        self.control.ask("quit", deadline_s=self.patience_s)

    def _share(self, server: int | None) -> float:
        if server is None:
            words: tuple[str, ...] = ("get_default_active_thread_percentage",)
        else:
            words = ("get_active_thread_percentage", encode.process_id(server))
        return replies.percent(self.control.ask(*words), words[0])

    def _memory(self, server: int | None) -> float | None:
        if server is None:
            words: tuple[str, ...] = ("get_default_device_pinned_mem_limit", _ITS_GPU)
        else:
            words = ("get_device_pinned_mem_limit", encode.process_id(server), _ITS_GPU)
        value = replies.memory_mib(self.control.ask(*words), words[0])
        return None if value is None or value >= self.memory_mib else value

    def _set_share(self, server: int | None, wanted: int) -> None:
        text = encode.percentage(wanted)
        if self._share(server) == wanted:
            return
        if server is None:
            self.control.ask("set_default_active_thread_percentage", text)
        else:
            self.control.ask("set_active_thread_percentage", encode.process_id(server), text)
        self._compare("active thread percentage", wanted, self._share(server))

    def _set_memory(self, server: int | None, wanted: int | None) -> None:
        if self._memory(server) == wanted:
            return
        text = encode.memory_limit(self.memory_mib if wanted is None else wanted)
        if server is None:
            self.control.ask("set_default_device_pinned_mem_limit", _ITS_GPU, text)
        else:
            pid = encode.process_id(server)
            self.control.ask("set_device_pinned_mem_limit", pid, _ITS_GPU, text)
        self._compare("pinned memory limit in MiB", wanted, self._memory(server))

    def _compare(self, what: str, wanted: float | None, found: float | None) -> None:
        if wanted != found:
            raise ControlError(
                f"the {what} of {self.gpu} was set to {wanted} and reads {found}",
                kind="reply",
                advice="see whether somebody else changes it, and whether this driver knows it.",
            )
