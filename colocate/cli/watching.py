"""What `guard` and `tune` have in common: reading settings, and running until told to stop."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from colocate.cli.failure import say

if TYPE_CHECKING:
    from types import FrameType

    from pydantic import BaseModel

__all__ = ["load_settings", "printed", "stopped_by_signal", "unexpected"]

Model = TypeVar("Model", bound="BaseModel")


def load_settings(model: type[Model], source: str | None, max_bytes: int) -> Model:
    """Read settings from a JSON file; the defaults without one.

    Raises
    ------
    InputError
        When the file cannot be read or says something that makes no sense.
    """
    if source is None:
        return model()
    from pydantic import ValidationError

    from colocate.errors import InputError, clean_text
    from colocate.io.files import read_source
    from colocate.io.json_read import read_json

    data, label, _ = read_source(source, max_bytes, InputError)
    document = read_json(data, label, InputError, max(1 << 20, 8 * max_bytes))
    try:
        return model.model_validate(document.value)
    except ValidationError as wrong:
        problems = [
            InputError(
                clean_text(problem["msg"].removeprefix("Value error, "), 300),
                path="$" + "".join(_step(step) for step in problem["loc"]),
                source=label,
                advice="see the guide to the settings." if i == 0 else None,
            )
            for i, problem in enumerate(wrong.errors(include_url=False, include_input=False)[:20])
        ]
        first = problems[0]
        raise InputError(
            first.message, path=first.path, source=label, advice=first.advice, more=problems[1:]
        ) from None


def _step(step: int | str) -> str:
    from colocate.errors import clean_text

    return f"[{step}]" if isinstance(step, int) else f".{clean_text(step, 60)}"


@contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals belong to the main thread
        return

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def printed(*, as_json: bool, quiet: bool) -> Callable[[Mapping[str, Any]], None] | None:
    """Return what shows each record: as a JSON line, in words, or not at all."""
    lock = threading.Lock()
    if as_json:

        def show_json(record: Mapping[str, Any]) -> None:
            with lock:
                sys.stdout.write(json.dumps(record, allow_nan=False, default=str) + "\n")
                sys.stdout.flush()

        return show_json
    if quiet:
        return None

    def show(record: Mapping[str, Any]) -> None:
        with lock:
            say(_words(record))

    return show


def _words(record: Mapping[str, Any]) -> str:
    """Return a record in one line."""
    gpu = str(record.get("gpu", ""))[:12]
    event = record.get("event")
    if event == "state":
        text = f"{record['before']} -> {record['after']}: {record['why']}"
    elif event == "action":
        done = "" if record.get("done") else f" not done: {record.get('error') or 'dry run'}"
        text = f"{record['action']} {record.get('unit') or ''}{done}"
    elif event == "fault":
        text = f"{record['kind']} ({record['severity']}): {record['detail']}"
    elif event == "retune":
        text = f"{', '.join(record['reasons'])}: {'; '.join(record['after'])}"
        text += "" if record["changed"] else " (as it is)"
    else:
        more = {k: v for k, v in record.items() if k not in ("event", "seconds", "gpu")}
        text = f"{event} {json.dumps(more, default=str)}"
    return f"{gpu}  {text}"


def unexpected(number: int, error: Exception) -> None:
    """Tell of an error that nobody expected; the watch goes on."""
    say(f"colocate: GPU {number}: {type(error).__name__}: {error}")
