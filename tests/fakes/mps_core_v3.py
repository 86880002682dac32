"""The v3 dialect of the double: module and verb, and the configuration file."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.fakes.mps_core import (
    _MEMORY_V3,
    Core,
    Reply,
    ServerState,
    SpaceState,
    memory_text,
    parse_memory,
)

NAME = re.compile(r"[a-z0-9_]{1,64}")
MODULES = ("server", "namespace", "client", "device", "sm-partition", "feature", "memacct")
_SERVER_KEYS = {
    *("allowed_devices", "pinned_memory_limit", "active_thread_percentage"),
    *("client_priority", "uid", "locality_domains", "namespaces", "devices"),
}
_SPACE_KEYS = {"pinned_memory_limit", "active_thread_percentage", "client_priority"}


def answer(core: Core, argv: list[str], uid: int, pipe: str) -> Reply:
    """Do one command."""
    plain = [word for word in argv if "=" not in word and not word.startswith("--")]
    keys = dict(word.removeprefix("--").split("=", 1) for word in argv if "=" in word)
    flags = {word for word in argv if word.startswith("--") and "=" not in word}
    if argv in (["-q"], ["--quit"]):
        core.quitting = True
        return Reply("", "v3.quit")
    do = COMMANDS.get(" ".join(plain[:2]))
    if do is None:
        return _error(f"unknown command {' '.join(argv)}")
    return do(core, Words(plain[2:], keys, flags, uid, pipe))


class Words:
    """The arguments of one command."""

    def __init__(
        self, plain: list[str], keys: dict[str, str], flags: set[str], uid: int, pipe: str
    ) -> None:
        self.plain, self.keys, self.flags, self.uid, self.pipe = plain, keys, flags, uid, pipe

    @property
    def name(self) -> str:
        return self.plain[0] if self.plain else ""


def _error(text: str) -> Reply:
    # How errors are worded is not documented; that they end with a status other than 0 is assumed.
    return Reply(f"Error: {text}", "v3.error", 1)


def _table(rows: list[tuple[object, ...]], header: str, words: Words) -> str:
    form = words.keys.get("format", "table")
    if form.startswith("csv"):
        lines = [",".join(map(str, row)) for row in rows]
        head = header.lower().replace(" ", ",")
        return "\n".join(lines if form.endswith("noheader") else [head, *lines])
    return "\n".join([header, *(" ".join(map(str, row)) for row in rows)])


def _devices(core: Core, text: str | None) -> tuple[str, ...]:
    if text is None:
        return tuple(gpu.uuid for gpu in core.gpus)
    return tuple(core.resolve(word) or word for word in text.split(","))


def _create_server(core: Core, words: Words) -> Reply:
    uid = int(words.keys.get("uid", words.uid))
    name = words.name or f"uid_{uid}"
    if not NAME.fullmatch(name):
        return _error(f"invalid name {name}")
    if name in core.servers:
        return _error(f"server {name} exists")
    devices = _devices(core, words.keys.get("allowed-devices"))
    known = {gpu.uuid for gpu in core.gpus}
    if known.issuperset(devices) and devices:
        core.start_server(name, uid, devices)
    # else: it is accepted, its process finds no device and leaves, and it is not listed
    return Reply("", "v3.server.create")


def _delete_server(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.name)
    if server is None:
        return _error(f"no server {words.name}")
    if server.clients and "--force" not in words.flags:
        return _error(f"server {words.name} has active clients")
    core.end_server(server)
    return Reply("", "v3.server.delete")


def _status(server: ServerState) -> str:
    return {"ACTIVE": "Ready", "FAULT": "Fault", "INITIALIZING": "Initializing"}[server.status]


def _list_servers(core: Core, words: Words) -> Reply:
    rows: list[tuple[object, ...]] = []
    for server in core.servers.values():
        if words.name in ("", server.name):
            path = f"{words.pipe}/{server.name}"
            devices = ",".join(server.devices)
            rows.append((server.name, server.uid, server.pid, _status(server), path, devices, "-"))
            server.initializing = max(0, server.initializing - 1)
    header = "NAME UID PID STATUS PIPE-DIRECTORY ALLOWED-DEVICES CONTEXT-IDS"
    return Reply(_table(rows, header, words), "v3.server.list")


def _set(space: SpaceState, words: Words) -> Reply | None:
    """Change limits; return what is wrong with them."""
    allowed = {"active-thread-percentage", "pinned-memory-limit", "client-priority", "server"}
    if set(words.keys) - allowed or not set(words.keys) - {"server"}:
        return _error("at least one option is required, and no others")
    share = words.keys.get("active-thread-percentage")
    memory = words.keys.get("pinned-memory-limit")
    priority = words.keys.get("client-priority")
    if share is not None and not (share.isdigit() and 1 <= int(share) <= 100):
        return _error(f"invalid active thread percentage {share}")
    mib = None if memory is None else parse_memory(memory, _MEMORY_V3)
    if memory is not None and not mib:
        return _error(f"invalid memory limit {memory}")
    if priority not in (None, "0", "1"):
        return _error(f"invalid priority {priority}")
    space.share = float(share) if share is not None else space.share
    space.memory_mib = mib if mib is not None else space.memory_mib
    space.priority = int(priority) if priority is not None else space.priority
    return None


def _set_server(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.name)
    if server is None:
        return _error(f"no server {words.name}")
    return _set(server.spaces["default"], words) or Reply("", "v3.server.set")


def _get_server(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.name)
    if server is None or len(words.plain) != 2:
        return _error(f"no server {words.name}")
    fields = {
        "name": server.name,
        "uid": str(server.uid),
        "pid": str(server.pid),
        "status": _status(server),
        "pipe-directory": f"{words.pipe}/{server.name}",
        "allowed-devices": ",".join(server.devices),
    }
    value = fields.get(words.plain[1])
    return _error("no such field") if value is None else Reply(value, "v3.server.get")


def _create_space(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.keys.get("server", ""))
    if server is None or not NAME.fullmatch(words.name) or words.name in server.spaces:
        return _error(f"cannot create namespace {words.name}")
    server.spaces[words.name] = SpaceState()
    return Reply("", "v3.namespace.create")


def _delete_space(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.keys.get("server", ""))
    if server is None or words.name not in server.spaces or words.name == "default":
        return _error(f"cannot delete namespace {words.name}")
    if "--force" not in words.flags and any(
        client.space == words.name for client in server.clients.values()
    ):
        return _error(f"namespace {words.name} has active clients")
    del server.spaces[words.name]
    return Reply("", "v3.namespace.delete")


def _set_space(core: Core, words: Words) -> Reply:
    server = core.servers.get(words.keys.get("server", ""))
    if server is None or words.name not in server.spaces:
        return _error(f"no namespace {words.name}")
    return _set(server.spaces[words.name], words) or Reply("", "v3.namespace.set")


def _space_fields(server: ServerState, name: str, pipe: str) -> dict[str, str]:
    space = server.spaces[name]
    return {
        "name": name,
        "server": server.name,
        "server-status": _status(server),
        "pinned-memory-limit": "-" if space.memory_mib is None else memory_text(space.memory_mib),
        "active-thread-percentage": f"{100.0 if space.share is None else space.share:.2f}",
        "client-priority": str(space.priority),
        "pipe-directory": f"{pipe}/{server.name}/{name}",
    }


def _list_spaces(core: Core, words: Words) -> Reply:
    rows = [
        tuple(_space_fields(server, name, words.pipe).values())
        for server in core.servers.values()
        if words.keys.get("server", server.name) == server.name
        # the built-in one is listed last
        for name in sorted(server.spaces, key=lambda name: name == "default")
        if words.name in ("", name)
    ]
    header = (
        "NAME SERVER SERVER-STATUS PINNED-MEMORY-LIMIT ACTIVE-THREAD-PERCENTAGE "
        "CLIENT-PRIORITY PIPE-DIRECTORY"
    )
    return Reply(_table(rows, header, words), "v3.namespace.list")  # type: ignore[arg-type]


def _get_space(core: Core, words: Words) -> Reply:
    if len(words.plain) != 3:
        return _error("namespace get <name> <server> <field>")
    name, server_name, key = words.plain
    server = core.servers.get(server_name)
    if server is None or name not in server.spaces:
        return _error(f"no namespace {name}")
    value = _space_fields(server, name, words.pipe).get(key)
    return _error("no such field") if value is None else Reply(value, "v3.namespace.get")


def _list_clients(core: Core, words: Words) -> Reply:
    rows: list[tuple[object, ...]] = [
        (client.pid, server.name, 0, client.space, client.command)
        for server in core.servers.values()
        if words.keys.get("server", server.name) == server.name
        for client in server.clients.values()
    ]
    return Reply(_table(rows, "PID SERVER DEVICE NAMESPACE CMD", words), "v3.client.list")


def _terminate(core: Core, words: Words) -> Reply:
    pid = int(words.name) if words.name.isdigit() else 0
    if not any(pid in server.clients for server in core.servers.values()):
        return _error(f"no client {words.name}")
    core.detach(pid)
    core.terminated.append(pid)
    return Reply("", "v3.client.terminate")


def _list_devices(core: Core, words: Words) -> Reply:
    rows: list[tuple[object, ...]] = [
        (ordinal, server.name, f"0000:{ordinal + 1:02x}:00.0", gpu.uuid, gpu.name, gpu.sms, 0, "-")
        for server in core.servers.values()
        for ordinal, gpu in enumerate(core.gpus)
        if gpu.uuid in server.devices
    ]
    header = "ORDINAL SERVER PCI-ID DEVICE-UUID NAME TOTAL-SMS TOTAL-CHUNKS ATTRIBUTES"
    return Reply(_table(rows, header, words), "v3.device.list")


def apply_file(core: Core, data: dict[str, object], uid: int) -> str | None:
    """Take a configuration file over; return what is wrong with it."""
    if data.get("schema_version") != "1.0":
        return "schema_version"
    if unknown := set(data) - {"schema_version", "servers", "features"}:
        return f"unknown key {min(unknown)}"
    for name, table in data.get("servers", {}).items():  # type: ignore[attr-defined]
        if unknown := set(table) - _SERVER_KEYS:
            return f"unknown key {min(unknown)} of server {name}"
        devices = table.get("allowed_devices")
        keys = {"uid": str(table.get("uid", uid))}
        if devices is not None:
            keys["allowed-devices"] = devices
        reply = _create_server(core, Words([name], keys, set(), uid, ""))
        if reply.code:
            return reply.text
        server = core.servers.get(name)
        if server is None:
            continue
        if wrong := _apply_space(server.spaces["default"], table):
            return wrong
        for space_name, space in table.get("namespaces", {}).items():
            if unknown := set(space) - _SPACE_KEYS:
                return f"unknown key {min(unknown)} of namespace {space_name}"
            if not NAME.fullmatch(space_name):
                return f"invalid name {space_name}"
            state = server.spaces.setdefault(space_name, SpaceState())
            if wrong := _apply_space(state, space):
                return wrong
    return None


def _apply_space(state: SpaceState, table: dict[str, object]) -> str | None:
    keys = {}
    for key in _SPACE_KEYS & set(table):
        if not isinstance(table[key], str):
            return f"{key} must be a string"
        keys[key.replace("_", "-")] = str(table[key])
    if not keys:
        return None
    reply = _set(state, Words([], keys, set(), 0, ""))
    return None if reply is None else reply.text


COMMANDS: dict[str, Callable[[Core, Words], Reply]] = {
    "server create": _create_server,
    "server delete": _delete_server,
    "server list": _list_servers,
    "server set": _set_server,
    "server get": _get_server,
    "namespace create": _create_space,
    "namespace delete": _delete_space,
    "namespace list": _list_spaces,
    "namespace set": _set_space,
    "namespace get": _get_space,
    "client list": _list_clients,
    "client terminate": _terminate,
    "device list": _list_devices,
}
