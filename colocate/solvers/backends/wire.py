"""Messages between this process and a worker: a JSON header, then the raw bytes of arrays.

    4 bytes  length of the header, most significant first
    header   {"kind": ..., "fields": {...}, "arrays": [[name, dtype, length], ...]}
    bytes    each array, one after the other

Nothing that arrives is executed: there is no pickle.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Message", "Unpacker", "pack"]

_LENGTH = struct.Struct(">I")
_TYPES = {"int64": np.dtype("<i8"), "float64": np.dtype("<f8"), "bool": np.dtype("?")}


@dataclass(frozen=True, slots=True)
class Message:
    """A word, plain values, and flat arrays."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def pack(message: Message) -> bytes:
    """Return a message as bytes."""
    names, parts = [], []
    for name, array in message.arrays.items():
        kind = array.dtype.name
        parts.append(np.ascontiguousarray(array, dtype=_TYPES[kind]).tobytes())
        names.append([name, kind, int(array.size)])
    header = json.dumps({"kind": message.kind, "fields": message.fields, "arrays": names}).encode()
    return b"".join([_LENGTH.pack(len(header)), header, *parts])


class Unpacker:
    """Turns bytes that arrive in pieces into messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[Message]:
        """Take more bytes; return the messages that are now complete."""
        self._bytes += piece
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> Message | None:
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        at = _LENGTH.size + length
        if len(self._bytes) < at:
            return None
        header = json.loads(bytes(self._bytes[_LENGTH.size : at]))
        sizes = [n * _TYPES[kind].itemsize for _, kind, n in header["arrays"]]
        if len(self._bytes) < at + sum(sizes):
            return None
        arrays = {}
        for (name, kind, _), size in zip(header["arrays"], sizes, strict=True):
            raw = bytes(self._bytes[at : at + size])
            arrays[name] = np.frombuffer(raw, dtype=_TYPES[kind])
            at += size
        del self._bytes[:at]
        return Message(header["kind"], header["fields"], arrays)
