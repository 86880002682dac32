"""The v2 dialect of the double: one command a line."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.mps_core import Core, Reply, memory_text, parse_memory

# What is printed for a command that the daemon does not know, or cannot read, is not documented.
INVALID = "Invalid command"


def answer(core: Core, line: str, uid: int) -> Reply:
    """Do one command of the shell."""
    words = line.split()
    if not words:
        return Reply("", "v2.shell")
    do = COMMANDS.get(words[0])
    if do is None:
        return Reply(f"{INVALID}: {words[0]}", "v2.unknown_command", 1)
    reply = do(core, words[1:], uid)
    return Reply(f"{INVALID}: {line.strip()}", "v2.unknown_command", 1) if reply is None else reply


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _not_found(pid: int) -> Reply:
    return Reply(f"Server {pid} not found", "v2.server_not_found")


def _get_server_list(core: Core, words: list[str], uid: int) -> Reply | None:
    text = "\n".join(str(server.pid) for server in core.servers.values())
    return Reply(text, "v2.get_server_list")


def _get_server_status(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) != 1:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    status = server.status
    server.initializing = max(0, server.initializing - 1)
    return Reply(status, "v2.get_server_status")


def _start_server(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) < 2 or words[0] != "-uid" or not words[1].isdigit():
        return None
    if core.servers:
        return Reply("", "v2.start_server")  # at most one is active at a time
    core.start_server(f"uid_{words[1]}", int(words[1]), tuple(gpu.uuid for gpu in core.gpus))
    return Reply("", "v2.start_server")


def _shutdown_server(core: Core, words: list[str], uid: int) -> Reply | None:
    if not words or words[1:] not in ([], ["-f"]):
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    if words[1:] or not server.clients:
        core.end_server(server)
    else:
        server.closing = True
    return Reply("", "v2.shutdown_server")


def _get_client_list(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) != 1:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    return Reply("\n".join(map(str, server.clients)), "v2.get_client_list")


def _ps(core: Core, words: list[str], uid: int) -> Reply | None:
    rows = ["PID ID SERVER DEVICE NAMESPACE COMMAND"]
    device = core.gpus[0].uuid[:22] if core.gpus else "-"
    for server in core.servers.values():
        if words[:1] == ["-p"] and words[1:] != [str(server.pid)]:
            continue
        rows += [
            f"{client.pid} 0 {server.pid} {device} 4026531836 {client.command}"
            for client in server.clients.values()
        ]
    return Reply("\n".join(rows), "v2.ps")


def _get_default_share(core: Core, words: list[str], uid: int) -> Reply | None:
    return Reply(f"{core.default_share:.1f}", "v2.get_default_active_thread_percentage")


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value <= 100 else None


def _set_default_share(core: Core, words: list[str], uid: int) -> Reply | None:
    value = _share(words[0]) if len(words) == 1 else None
    if value is None:
        return None
    core.default_share = value
    return Reply(f"{value:.1f}", "v2.set_default_active_thread_percentage")


def _get_share(core: Core, words: list[str], uid: int) -> Reply | None:
    server = core.server_with(_number(words[0])) if len(words) == 1 else None
    if server is None:
        return _not_found(_number(words[0])) if words else None
    return Reply(f"{server.share:.1f}", "v2.get_active_thread_percentage")


def _set_share(core: Core, words: list[str], uid: int) -> Reply | None:
    value = _share(words[1]) if len(words) == 2 else None
    if value is None:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    server.share = value
    return Reply(f"{value:.1f}", "v2.set_active_thread_percentage")


def _get_default_memory(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) != 1:
        return None
    # Not translated: what was set by UUID is not shown for the ordinal.
    value = core.default_memory.get(words[0])
    text = "" if value is None else memory_text(value)
    return Reply(text, "v2.get_default_device_pinned_mem_limit")


def _set_default_memory(core: Core, words: list[str], uid: int) -> Reply | None:
    value = parse_memory(words[1]) if len(words) == 2 else None
    if value is None:
        return None
    core.default_memory.pop(words[0], None)
    core.default_memory[words[0]] = value  # at the end: the last set counts
    return Reply("", "v2.set_default_device_pinned_mem_limit")


def _get_memory(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) != 2:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    value = server.memory.get(core.resolve(words[1]) or "")
    text = "" if value is None else memory_text(value)
    return Reply(text, "v2.get_device_pinned_mem_limit")


def _set_memory(core: Core, words: list[str], uid: int) -> Reply | None:
    value = parse_memory(words[2]) if len(words) == 3 else None
    if value is None:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    device = core.resolve(words[1])
    if device is not None:
        server.memory[device] = value
    return Reply("", "v2.set_device_pinned_mem_limit")


def _get_priority(core: Core, words: list[str], uid: int) -> Reply | None:
    return Reply(str(core.default_priority), "v2.get_default_client_priority")


def _set_priority(core: Core, words: list[str], uid: int) -> Reply | None:
    if words not in (["0"], ["1"]):
        return None
    core.default_priority = int(words[0])
    return Reply("", "v2.set_default_client_priority")


def _terminate_client(core: Core, words: list[str], uid: int) -> Reply | None:
    if len(words) != 2:
        return None
    server = core.server_with(_number(words[0]))
    if server is None:
        return _not_found(_number(words[0]))
    pid = _number(words[1])
    if pid not in server.clients:
        return Reply(f"Invalid process {pid}!", "v2.terminate_client.unknown")
    core.detach(pid)
    core.terminated.append(pid)
    return Reply("0", "v2.terminate_client")


def _quit(core: Core, words: list[str], uid: int) -> Reply | None:
    core.quitting = True
    return Reply("", "v2.quit")


def _device_client_list(core: Core, words: list[str], uid: int) -> Reply | None:
    lines = [
        f"{gpu.uuid} {pid}"
        for gpu in core.gpus
        for server in core.servers.values()
        for pid in server.clients
    ]
    return Reply("\n".join(lines), "v2.get_device_client_list")


COMMANDS: dict[str, Callable[[Core, list[str], int], Reply | None]] = {
    "get_server_list": _get_server_list,
    "get_server_status": _get_server_status,
    "start_server": _start_server,
    "shutdown_server": _shutdown_server,
    "get_client_list": _get_client_list,
    "get_device_client_list": _device_client_list,
    "ps": _ps,
    "get_default_active_thread_percentage": _get_default_share,
    "set_default_active_thread_percentage": _set_default_share,
    "get_active_thread_percentage": _get_share,
    "set_active_thread_percentage": _set_share,
    "get_default_device_pinned_mem_limit": _get_default_memory,
    "set_default_device_pinned_mem_limit": _set_default_memory,
    "get_device_pinned_mem_limit": _get_memory,
    "set_device_pinned_mem_limit": _set_memory,
    "get_default_client_priority": _get_priority,
    "set_default_client_priority": _set_priority,
    "terminate_client": _terminate_client,
    "quit": _quit,
}
