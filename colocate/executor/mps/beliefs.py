"""The table of `colocate.executor.mps.sources`: one entry for each belief about MPS."""

from __future__ import annotations

from collections.abc import Iterator

from colocate.executor.mps.source import Source

__all__ = ["beliefs"]

_V2 = "Legacy MPS v2 Interface"
_V3 = "MPS v3 Interface"
_FILE = "MPS v3 Configuration File"
_SPACES = "MPS v3 Namespaces"
_ENV = "Appendix: Environment Variables"
_ARCH = "Architecture, Provisioning Sequence"
_TASKS = "Common Tasks"
_START = "Quick Start"
_CLIENT_END = "When to Use MPS, Client Early Termination"
_LIMITS = "When to Use MPS, Limitations"
_DYNAMO = "NVIDIA Dynamo, Per-GPU Compute and Memory Limits with MPS, Verified Behavior (615.71.09)"
_OPERATOR = "NVIDIA GPU Operator, MPS verification, example output"
_STUDY = "public measurements of terminate_client under load (99 replies)"
_PUBLIC = "several public scripts and issue threads that quote it"


def beliefs() -> Iterator[Source]:
    """Yield every belief."""
    yield from _of_the_program()
    yield from _of_v2()
    yield from _of_v3()
    yield from _of_clients()


def _of_the_program() -> Iterator[Source]:
    yield Source(
        "control.start",
        "documented",
        f"{_TASKS}, nvidia-cuda-mps-control",
        "-d starts a daemon in the background; its pid is in nvidia-cuda-mps-control.pid in the "
        "pipe directory",
    )
    yield Source(
        "control.start.prints",
        "assumed",
        "-",
        "-d prints nothing that matters and ends with status 0 before the daemon may answer",
    )
    yield Source(
        "control.no_daemon",
        "reported",
        _PUBLIC,
        "where no daemon listens, 'Cannot find MPS control daemon process', exit status 1; the "
        "same where the socket's path was too long to bind",
    )
    yield Source(
        "control.busy",
        "reported",
        _STUDY,
        "the daemon takes one connection at a time; a second caller is refused at once with "
        "'Cannot send command to MPS control daemon process'",
    )
    yield Source("control.busy.status", "assumed", "-", "that refusal ends with exit status 1")
    yield Source(
        "control.already_running",
        "reported",
        _PUBLIC,
        "a second daemon in one pipe directory: 'An instance of this daemon is already running', "
        "exit status 1",
    )
    yield Source(
        "control.reclaims",
        "reported",
        "public qualification of a launcher on an H100",
        "after a daemon was killed, a new one takes the same directory over, stale files included",
    )
    yield Source(
        "control.other_user",
        "assumed",
        "control.log of real daemons says 'User did not send valid credentials'",
        "a command of another user is refused with that text and a status other than 0",
    )
    yield Source("control.help", "reported", _DYNAMO, "-p 3 -h lists server and namespace")
    yield Source(
        "control.version",
        "assumed",
        "control.log of real daemons says 'CUDA MPS Control binary version: 13030'",
        "-v prints that line",
    )


def _of_v2() -> Iterator[Source]:
    def documented(name: str, says: str) -> Source:
        return Source(f"v2.{name}", "documented", f"{_V2}, nvidia-cuda-mps-control", says)

    yield documented("shell", "one command a line on standard input")
    yield documented("get_server_list", "the pids of all servers")
    yield Source(
        "v2.get_server_list.form",
        "assumed",
        "-",
        "one pid a line; nothing where there are none ('Server 0 not found' is taken as nothing "
        "too: one public page shows it)",
    )
    yield Source(
        "v2.get_server_status",
        "documented",
        f"{_V2}; the three words: {_ARCH}",
        "INITIALIZING, ACTIVE or FAULT",
    )
    yield documented("start_server", "start_server -uid <user id>")
    yield Source(
        "v2.shutdown_server",
        "assumed",
        "the manual page of earlier drivers; not on the pages of r615",
        "shutdown_server PID ends a server when its clients have left, with -f at once",
    )
    yield documented("get_client_list", "the pids of a server's clients")
    yield Source("v2.get_client_list.form", "assumed", "-", "one pid a line; nothing for none")
    yield documented("get_device_client_list", "devices and the pids of their clients")
    yield Source(
        "v2.ps",
        "documented",
        f"{_V2}; the columns: {_CLIENT_END}",
        "PID ID SERVER DEVICE NAMESPACE COMMAND",
    )
    yield Source(
        "v2.get_default_active_thread_percentage",
        "reported",
        _OPERATOR,
        "a number with one decimal: '25.0'",
    )
    yield documented(
        "set_default_active_thread_percentage",
        "affects only servers that start later; lost on quit; 100 by default",
    )
    yield Source(
        "v2.set_default_active_thread_percentage.prints",
        "assumed",
        "-",
        "a setting may print its value; nobody relies on what settings print",
    )
    yield Source(
        "v2.get_active_thread_percentage",
        "assumed",
        "-",
        "the same form as for the default",
    )
    yield documented(
        "set_active_thread_percentage", "affects clients that connect later, not those there are"
    )
    yield Source(
        "v2.get_default_device_pinned_mem_limit",
        "reported",
        _OPERATOR,
        "an integer with G or M: '3G'",
    )
    yield Source(
        "v2.get_default_device_pinned_mem_limit.unset",
        "assumed",
        "-",
        "where no limit was set nothing is printed, or words that say so, or 0",
    )
    yield documented(
        "set_default_device_pinned_mem_limit",
        "by UUID or ordinal, not checked and not translated; of two for one device the last "
        "counts; affects only servers that start later",
    )
    yield Source(
        "v2.get_device_pinned_mem_limit",
        "assumed",
        "-",
        "the same form as for the default, and the server's limit for the device by UUID whichever "
        "way it was set",
    )
    yield documented("set_device_pinned_mem_limit", "affects clients that connect later")
    yield Source(
        "v2.memory_unit",
        "reported",
        _DYNAMO,
        "G is 2^30 bytes (measured in v3; taken for v2 as well)",
    )
    yield documented("get_default_client_priority", "0 (normal) or 1 (below normal)")
    yield documented("set_default_client_priority", "for clients that connect later")
    yield Source(
        "v2.terminate_client",
        "documented",
        _CLIENT_END,
        "returns when done and prints 0; the process stays, sees CUDA_ERROR_MPS_CLIENT_TERMINATED, "
        "and is then safe to kill",
    )
    yield Source(
        "v2.terminate_client.unknown",
        "reported",
        _STUDY,
        "'Invalid process <pid>!' for a process that is no client; 201 for one without a context; "
        "the exit status says nothing",
    )
    yield Source(
        "v2.terminate_client.unlisted",
        "reported",
        "NVIDIA Dynamo, gpu_quiescence, takes it as the proof",
        "a client whose work was ended leaves get_client_list",
    )
    yield Source(
        "v2.server_not_found",
        "reported",
        _STUDY,
        "'Server <pid> not found' for a pid that is no server",
    )
    yield Source(
        "v2.unknown_command",
        "assumed",
        "-",
        "a command that is not known or not well-formed is answered with words, never with a "
        "number that could be taken for a share, a limit or a pid",
    )
    yield Source(
        "v2.quit",
        "documented",
        f"{_V2}; waiting for clients: the manual page",
        "ends the daemon; what was set is lost",
    )


def _of_v3() -> Iterator[Source]:
    def documented(name: str, section: str, says: str) -> Source:
        return Source(f"v3.{name}", "documented", f"{_V3}, {section}", says)

    def assumed(name: str, says: str) -> Source:
        return Source(f"v3.{name}", "assumed", "-", says)

    yield documented(
        "protocol", "Enabling MPS v3", "a daemon that runs keeps its protocol, whatever is asked"
    )
    yield assumed("shell", "a v2 question on standard input is not answered with a number")
    yield assumed("error", "a command that fails ends with a status other than 0")
    yield documented(
        "server.create", "Server", "the owner is the connecting user unless --uid says otherwise"
    )
    yield Source(
        "v3.server.no_device",
        "reported",
        _DYNAMO,
        "a server for a GPU that is not there is made without complaint and disappears; its "
        "clients run without MPS and without limits",
    )
    yield documented("server.delete", "Server", "refused while there are clients, unless --force")
    yield documented(
        "server.list",
        "Server",
        "name, uid, pid, status, pipe-directory, allowed-devices, context-ids",
    )
    yield assumed(
        "server.list.status",
        "'Ready' is documented; other states are taken by these words, in any case: Active, "
        "Initializing, Starting, Fault, Stopped, -",
    )
    yield assumed("server.list.quotes", "values are not quoted, device lists not either")
    yield documented("server.set", "Server", "applies to the namespace 'default'")
    yield documented("server.get", "Server", "one value, as it is")
    yield documented("namespace.create", "Namespace", "a namespace under a server")
    yield documented(
        "namespace.delete", "Namespace", "--force allows it while there are clients; else refused"
    )
    yield documented("namespace.set", "Namespace", "at least one option")
    yield documented(
        "namespace.list",
        "Namespace",
        "name, server, server-status, pinned-memory-limit, active-thread-percentage, "
        "client-priority, pipe-directory",
    )
    yield Source("v3.namespace.list.share", "reported", _DYNAMO, "two decimals: '30.00'")
    yield assumed("namespace.list.unset", "a limit that was not set is '-' or empty, a share 100")
    yield documented("namespace.get", "Namespace", "one value: '4G'")
    yield Source(
        "v3.namespace.inherits",
        "reported",
        _DYNAMO,
        "a namespace takes nothing over from its server; without limits it gets the whole GPU",
    )
    yield Source(
        "v3.namespace.share",
        "documented",
        f"{_ENV}, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
        "a namespace's share replaces the one in a client's environment",
    )
    yield assumed("namespace.existing", "changed limits hold for clients that connect later")
    yield Source(
        "v3.namespace.routing",
        "documented",
        f"{_SPACES}, Namespace Routing",
        "a client that is led to <pipe>/<server>/<namespace> is in that namespace",
    )
    yield Source(
        "v3.client.user",
        "reported",
        _DYNAMO,
        "a client of another user than the server's gets CUDA_ERROR_NOT_PERMITTED",
    )
    yield documented("client.list", "Client", "pid, server, device, namespace, command line")
    yield documented("client.terminate", "Client", "by pid")
    yield assumed("client.terminate.prints", "the exit status tells whether it was done")
    yield documented(
        "device.list",
        "Device",
        "ordinal, server, PCI id, UUID, name, SMs, chunks, attributes",
    )
    yield Source(
        "v3.quit", "documented", f"{_START}, Quitting MPS", "-q ends the daemon and its servers"
    )
    yield Source(
        "v3.file", "documented", _FILE, "unknown keys are errors; applied once, at the start"
    )
    yield assumed("file.error", "a configuration with an error keeps the daemon from starting")


def _of_clients() -> Iterator[Source]:
    yield Source(
        "server.first",
        "documented",
        _ARCH,
        "a server starts with the first client, under that client's user, and stays",
    )
    yield Source(
        "server.fault",
        "documented",
        _ARCH,
        "in FAULT new clients get CUDA_ERROR_MPS_SERVER_NOT_READY; ACTIVE again once all faulting "
        "clients have left",
    )
    yield Source(
        "server.other_user",
        "documented",
        _ARCH,
        "a client of another user waits until the server's clients have left, and then gets a "
        "server of its own (the double refuses it instead of letting it wait)",
    )
    yield Source(
        "client.error",
        "documented",
        f"{_ARCH}, Client Attach/Detach",
        "a process that cannot reach a daemon runs without MPS",
    )
    yield Source(
        "client.limit",
        "documented",
        _LIMITS,
        "60 client contexts on a device since CUDA 13.1, 48 before; one more gets "
        "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED",
    )
    yield Source(
        "client.share",
        "documented",
        f"{_ENV}, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
        "in v2 a client can only tighten the server's share",
    )
    yield Source(
        "client.sms",
        "reported",
        _DYNAMO,
        "the share is rounded down to what the hardware supports: 46 of 188 SMs at 25 %, 140 at "
        "75 %",
    )
    yield Source(
        "client.memory.unseen",
        "reported",
        _DYNAMO,
        "an entry of CUDA_MPS_PINNED_DEVICE_MEM_LIMIT for a GPU that the client does not see takes "
        "every limit away",
    )
    yield Source(
        "client.visible",
        "documented",
        f"{_ENV}, CUDA_VISIBLE_DEVICES",
        "a UUID may be given to the daemon and to the client alike (elsewhere the pages advise "
        "against setting it for clients, because of renumbered ordinals)",
    )
    yield Source(
        "client.killed",
        "documented",
        _CLIENT_END,
        "killing a client with work outstanding leaves server and clients undefined (the double "
        "goes to FAULT when told to)",
    )
