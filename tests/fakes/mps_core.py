"""The state of an MPS control daemon and what it answers, without processes or sockets.

Standard library only: the executable double runs it, and tests run it in process. Every reply
names, in `Reply.source`, the entry of `colocate.executor.mps.sources` that it rests on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

UNLIMITED_SHARE = 100.0
_MEMORY = re.compile(r"(\d+)([GM])")
_MEMORY_V3 = re.compile(r"(\d+)([GMK])")


@dataclass(frozen=True)
class Gpu:
    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    sms: int = 132
    memory_mib: int = 81559


@dataclass(frozen=True)
class Machine:
    """What the double pretends to run on."""

    gpus: tuple[Gpu, ...]
    driver: str = "615.71.09"
    version: int = 13040
    """As the control program prints it: 13040 is CUDA 13.4."""
    poison: bool = False
    """Whether a client that vanishes without a word leaves its server in FAULT."""
    initializing: int = 0
    """For how many questions a new server says INITIALIZING."""
    multiuser: bool = False

    @property
    def max_clients(self) -> int:
        """Client contexts on a device: 60 since CUDA 13.1, 48 before."""
        return 60 if self.version >= 13010 else 48

    @property
    def knows_v3(self) -> bool:
        return int(self.driver.split(".")[0]) >= 615

    @staticmethod
    def of(data: Mapping[str, object]) -> Machine:
        gpus = tuple(Gpu(**gpu) for gpu in data["gpus"])  # type: ignore[attr-defined]
        rest = {name: value for name, value in data.items() if name != "gpus"}
        return Machine(gpus=gpus, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reply:
    text: str
    source: str
    code: int = 0


@dataclass
class SpaceState:
    """Limits of a v3 namespace; None is unset."""

    share: float | None = None
    memory_mib: int | None = None
    priority: int = 0


@dataclass
class ServerState:
    name: str
    pid: int
    uid: int
    devices: tuple[str, ...]
    share: float = UNLIMITED_SHARE
    memory: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, SpaceState] = field(default_factory=dict)
    clients: dict[int, ClientState] = field(default_factory=dict)
    faulty: set[int] = field(default_factory=set)
    initializing: int = 0
    closing: bool = False

    @property
    def status(self) -> str:
        if self.faulty:
            return "FAULT"
        return "INITIALIZING" if self.initializing > 0 else "ACTIVE"


@dataclass
class ClientState:
    pid: int
    space: str
    command: str


@dataclass(frozen=True)
class Attached:
    """What a client gets; `error` is the name of a CUDA error instead."""

    error: str | None = None
    source: str = ""
    server_pid: int = 0
    sms: int = 0
    share: float = UNLIMITED_SHARE
    memory_mib: int | None = None


def parse_memory(text: str, units: re.Pattern[str] = _MEMORY) -> int | None:
    """Return MiB, or None when the text is no memory limit."""
    match = units.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) * {"G": 1024, "M": 1, "K": 0}[match[2]]


def memory_text(mib: int) -> str:
    """Write a limit as the daemon does: whole GiB with G, else M."""
    return f"{mib // 1024}G" if mib % 1024 == 0 else f"{mib}M"


class Core:
    """One control daemon.

    Parameters
    ----------
    machine
        What it runs on.
    visible
        UUIDs that the daemon sees, in order (``CUDA_VISIBLE_DEVICES`` at its start).
    uid
        Who started it.
    spawn
        Starts a server process and returns its pid.
    end
        Ends a server process.
    """

    def __init__(
        self,
        machine: Machine,
        visible: tuple[str, ...],
        uid: int,
        spawn: Callable[[str, int], int] | None = None,
        end: Callable[[int], None] | None = None,
    ) -> None:
        pids = itertools.count(900_001)
        self.machine = machine
        known = {gpu.uuid: gpu for gpu in machine.gpus}
        self.gpus = tuple(known[uuid] for uuid in visible if uuid in known)
        self.uid = uid
        self.servers: dict[str, ServerState] = {}
        self.default_share = UNLIMITED_SHARE
        self.default_memory: dict[str, int] = {}
        self.default_priority = 0
        self.quitting = False
        self.terminated: list[int] = []
        """Clients that are to be told that their work was ended."""
        self._spawn = spawn or (lambda name, uid: next(pids))
        self._end = end or (lambda pid: None)

    # --- servers and clients, whatever the dialect -----------------------------------------------

    def start_server(self, name: str, uid: int, devices: tuple[str, ...]) -> ServerState:
        server = ServerState(
            name=name,
            pid=self._spawn(name, uid),
            uid=uid,
            devices=devices,
            share=self.default_share,
            memory=self._effective_defaults(),
            spaces={"default": SpaceState()},
            initializing=self.machine.initializing,
        )
        self.servers[name] = server
        return server

    def end_server(self, server: ServerState) -> None:
        self.servers.pop(server.name, None)
        self.terminated += list(server.clients)
        server.clients.clear()
        self._end(server.pid)

    def server_with(self, pid: int) -> ServerState | None:
        return next((server for server in self.servers.values() if server.pid == pid), None)

    def lost_server(self, pid: int) -> None:
        """Note that a server's process died by itself."""
        server = self.server_with(pid)
        if server is not None:
            self.end_server(server)

    def fault(self, pid: int) -> None:
        """Let a client meet a fatal fault: its server is blocked until it has gone."""
        for server in self.servers.values():
            if pid in server.clients:
                server.faulty.add(pid)

    def detach(self, pid: int, *, graceful: bool = True) -> None:
        for server in list(self.servers.values()):
            if server.clients.pop(pid, None) is None and pid not in server.faulty:
                continue
            server.faulty.discard(pid)
            if not graceful and self.machine.poison and server.clients:
                server.faulty |= set(server.clients)
            if server.closing and not server.clients:
                self.end_server(server)

    def attach(
        self,
        pid: int,
        uid: int,
        environment: Mapping[str, str],
        *,
        server_name: str | None = None,
        space: str = "default",
        command: str = "?",
    ) -> Attached:
        """Connect a client, as the driver does when CUDA is first used."""
        if self.quitting:
            return Attached("CUDA_ERROR_MPS_CONNECTION_FAILED", "client.error")
        if server_name is None:
            server = self._server_for(uid)
            if isinstance(server, Attached):
                return server
        else:
            named = self.servers.get(server_name)
            if named is None or space not in named.spaces:
                return Attached("CUDA_ERROR_MPS_CONNECTION_FAILED", "client.error")
            if named.uid != uid:
                return Attached("CUDA_ERROR_NOT_PERMITTED", "v3.client.user")
            server = named
        if server.faulty or server.closing:
            return Attached("CUDA_ERROR_MPS_SERVER_NOT_READY", "server.fault")
        if sum(len(s.clients) for s in self.servers.values()) >= self.machine.max_clients:
            return Attached("CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", "client.limit")
        share, memory = self._granted(server, space, environment, named=server_name is not None)
        server.initializing = 0
        server.clients[pid] = ClientState(pid, space, command)
        sms = self.gpus[0].sms if self.gpus else 0
        # Rounded down to what the hardware supports: pairs of SMs where it was measured.
        granted = sms if share >= 100 else max(2, int(sms * share / 100) // 2 * 2)
        return Attached(None, "client.sms", server.pid, granted, share, memory)

    def _server_for(self, uid: int) -> ServerState | Attached:
        """Return the one server of v2 (or the automatic one of v3) for a user."""
        owner = 0 if self.machine.multiuser else uid
        server = next(iter(self.servers.values()), None)
        if server is not None and server.uid != owner:
            if server.clients:
                server.closing = True
                return Attached("CUDA_ERROR_MPS_SERVER_NOT_READY", "server.other_user")
            self.end_server(server)
            server = None
        if server is None:
            devices = tuple(gpu.uuid for gpu in self.gpus)
            if not devices:
                return Attached("CUDA_ERROR_NO_DEVICE", "v3.server.no_device")
            server = self.start_server(f"uid_{owner}", owner, devices)
        return server

    def _effective_defaults(self) -> dict[str, int]:
        """Return the limit of each device: of two for the same one, the last set counts."""
        found: dict[str, int] = {}
        for device, value in self.default_memory.items():
            uuid = self.resolve(device)
            if uuid is not None:
                found[uuid] = value
        return found

    def resolve(self, device: str) -> str | None:
        if device.isdigit():
            return self.gpus[int(device)].uuid if int(device) < len(self.gpus) else None
        return device if any(gpu.uuid == device for gpu in self.gpus) else None

    def _granted(
        self, server: ServerState, space: str, environment: Mapping[str, str], *, named: bool
    ) -> tuple[float, int | None]:
        own = environment.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
        asked = float(own) if own else UNLIMITED_SHARE
        uuid = self.gpus[0].uuid if self.gpus else ""
        if named:
            limits = server.spaces[space]
            # A namespace's share replaces the client's own; without one, the client's counts.
            share = asked if limits.share is None else limits.share
            limit = limits.memory_mib
        else:
            share = min(server.share, asked)
            limit = server.memory.get(uuid)
        wanted = environment.get("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT")
        if wanted:
            for entry in wanted.split(","):
                device, _, value = entry.partition("=")
                resolved = self.resolve(device)
                if resolved is None:
                    return share, None  # an entry for a GPU that is not seen drops every limit
                mib = parse_memory(value.removesuffix("B"))
                if resolved == uuid and mib is not None:
                    limit = mib if limit is None else min(limit, mib)
        return share, limit
