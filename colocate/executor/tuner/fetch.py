"""Getting a text over HTTP or from a file: bounded in time and size, whoever answers.

Plain GET in HTTP/1.0, without redirects, proxies, cookies or decompression: what a metrics page
needs, and nothing that a hostile one could use.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from colocate.errors import ColocateError, InputError, clean_text
from colocate.io.files import read_source

__all__ = ["SourceError", "check_url", "get", "read_text"]

MAX_BYTES = 8 * 1024 * 1024
MAX_HEAD = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_TARGET = re.compile(r"/[A-Za-z0-9/_.~!$&'()*+,;=:@%?\[\]-]{0,2000}")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r?\n")


class SourceError(ColocateError):
    """A source of metrics does not answer, or not with what it should."""

    exit_code = 5


def check_url(url: str) -> tuple[bool, str, int, str]:
    """Return (encrypted, host, port, target) of a URL.

    Raises
    ------
    InputError
        When it is not a plain HTTP address.
    """
    shown = clean_text(url, 100)
    if not url.isascii() or not url.isprintable():
        raise InputError(f"{shown!r} is no URL", advice="write it in plain characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as failed:
        raise InputError(f"{shown!r} is no URL: {clean_text(str(failed))}") from None
    host, target = parts.hostname or "", parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    plain = parts.username is None and parts.password is None and not parts.fragment
    good = _HOST.fullmatch(host) is not None and _TARGET.fullmatch(target) is not None
    if parts.scheme not in ("http", "https") or not plain or not good:
        raise InputError(
            f"{shown!r} is not a plain HTTP address",
            advice="write it as http://127.0.0.1:8002/metrics.",
        )
    encrypted = parts.scheme == "https"
    return encrypted, host, port or (443 if encrypted else 80), target


def get(url: str, *, timeout_s: float = 2.0, max_bytes: int = MAX_BYTES) -> str:
    """Return the text at a URL, within a deadline for everything together."""
    encrypted, host, port, target = check_url(url)
    until = time.monotonic() + timeout_s
    shown = clean_text(url, 100)
    try:
        raw = _exchange(encrypted, host, port, target, until, max_bytes)
    except TimeoutError:
        raise SourceError(
            f"{shown} did not answer within {timeout_s:g} s",
            advice="check that the service runs, or allow more time.",
        ) from None
    except OSError as failed:
        raise SourceError(
            f"{shown} cannot be reached: {clean_text(failed.strerror or str(failed), 100)}",
            advice="check the address, and that the service runs.",
        ) from None
    return _body(raw, shown, max_bytes)


def _exchange(
    encrypted: bool, host: str, port: int, target: str, until: float, max_bytes: int
) -> bytes:
    family, address = _resolve(host, port, until)
    with contextlib.ExitStack() as stack:
        connection: socket.socket = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        connection.settimeout(_left(until))
        connection.connect(address)
        if encrypted:
            context = ssl.create_default_context()
            connection.settimeout(_left(until))
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        name = f"[{host}]" if ":" in host else host
        request = f"GET {target} HTTP/1.0\r\nHost: {name}:{port}\r\nAccept: text/plain\r\n\r\n"
        connection.settimeout(_left(until))
        connection.sendall(request.encode("ascii"))
        parts: list[bytes] = []
        size = 0
        # One byte at a time would keep a socket timeout from ever passing: the deadline is ours.
        while size <= max_bytes + MAX_HEAD:
            connection.settimeout(_left(until))
            part = connection.recv(65536)
            if not part:
                break
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def _resolve(host: str, port: int, until: float) -> tuple[socket.AddressFamily, Address]:
    """Look a name up within the deadline, which the system's resolver does not know."""
    found: list[tuple[socket.AddressFamily, Address]] = []
    failed: list[OSError] = []

    def look() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            failed.append(error)
        else:
            found.extend((family, address) for family, _, _, _, address in answers)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_left(until))
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _body(raw: bytes, shown: str, max_bytes: int) -> str:
    status = _STATUS.match(raw)
    if status is None:
        raise SourceError(
            f"{shown} does not speak HTTP", advice="check the port of the metrics page."
        )
    if status[1] != b"200":
        raise SourceError(
            f"{shown} answers with status {status[1].decode()}",
            advice="check the path of the metrics page.",
        )
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator or len(head) > MAX_HEAD:
        raise SourceError(f"{shown} sends a header without an end", advice="check the address.")
    if len(body) > max_bytes:
        raise SourceError(
            f"{shown} sends more than {max_bytes} bytes",
            advice="let the service export fewer metrics.",
        )
    stated = re.search(rb"(?im)^content-length: *([0-9]{1,12}) *\r?$", head)
    if stated is not None and int(stated[1]) != len(body):
        raise SourceError(
            f"{shown} sends {len(body)} of {int(stated[1])} bytes", advice="ask again."
        )
    if re.search(rb"(?im)^transfer-encoding:", head):
        raise SourceError(
            f"{shown} sends pieces, which HTTP/1.0 has not",
            advice="put a plain server before it.",
        )
    return body.decode("utf-8", "replace")


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a regular file; a link is followed, a pipe is refused."""
    try:
        data, _, _ = read_source(path, max_bytes, InputError)
    except InputError as failed:
        raise SourceError(failed.message, advice=failed.advice) from None
    return data.decode("utf-8", "replace")
