"""Changing the batch size of a running process, in the way that its launch entry names."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from colocate.executor.workloads.keeper.calls import CallError, never, perform, request
from colocate.executor.workloads.keeper.files import sync_folder
from colocate.executor.workloads.keeper.pbtxt import PbtxtError, with_number

__all__ = ["filled", "set_batch"]

MAX_CONFIG = 1024 * 1024


def filled(value: Any, batch: int) -> Any:  # noqa: ANN401 - JSON
    """Return texts, lists and objects with the batch size in the places kept for it."""
    if isinstance(value, str):
        return value.replace("{batch}", str(batch))
    if isinstance(value, list):
        return [filled(item, batch) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, batch) for key, item in value.items()}
    return value


def set_batch(
    setter: Mapping[str, Any],
    batch: int,
    environment: Mapping[str, str],
    directory: str,
    interrupted: Callable[[], bool] = never,
) -> None:
    """Change the batch size, or raise `CallError`."""
    if setter["kind"] == "triton":
        _set_triton(setter, batch)
    else:
        perform(filled(setter, batch), environment, directory, interrupted)


def _set_triton(setter: Mapping[str, Any], batch: int) -> None:
    """Write the model's configuration, have it loaded, and read back what the server has."""
    path, url, seconds = Path(setter["config"]), setter["url"], setter["timeout_s"]
    old = _read(path)
    try:
        new = with_number(old, "max_batch_size", batch)
    except PbtxtError as error:
        msg = f"{path}: {error}"
        raise CallError(msg) from None
    model = setter["model"]
    try:
        _write(path, new)
        request("POST", f"{url}/v2/repository/models/{model}/load", "{}", seconds)
        reply = request("GET", f"{url}/v2/models/{model}/config", None, seconds)
        _check(reply, batch, model)
    except CallError:
        with contextlib.suppress(CallError):
            _write(path, old)
            request("POST", f"{url}/v2/repository/models/{model}/load", "{}", seconds)
        raise


def _check(reply: str, batch: int, model: str) -> None:
    try:
        found = json.loads(reply)["max_batch_size"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if found != batch:
        msg = f"model {model} was loaded with max_batch_size {found!r}, not {batch}"
        raise CallError(msg)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG + 1)
        if len(data) > MAX_CONFIG:
            msg = f"{path} is larger than {MAX_CONFIG} bytes"
            raise CallError(msg)
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}"
        raise CallError(msg) from None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, path.stat().st_mode & 0o777)  # the server reads it too
                file.write(text.encode())
                file.flush()
                os.fsync(handle)
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise CallError(msg) from None
