"""Data objects to JSON text: the same bytes for equal objects, and pleasant to read.

What fits is put on one line; the rest is indented by two spaces. Python writes the shortest digits
that read back as the same number.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

__all__ = ["json_text", "plain_data"]

WIDTH = 100
_ALWAYS_WRITTEN = frozenset({"schema_", "family", "kind"})
"""Which version or which alternative it is: a reader must not have to guess."""


def plain_data(model: BaseModel, *, defaults: bool) -> dict[str, Any]:
    """Return a data object as dictionaries and lists.

    Parameters
    ----------
    model
        The object.
    defaults
        Whether to write fields that have their default value. What is None is never written.
    """
    made = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None:
            continue
        if not defaults and name not in _ALWAYS_WRITTEN and not field.is_required():
            default = field.get_default(call_default_factory=True)
            # repr tells -0.0 from 0.0, which are equal
            if value == default and (value != 0 or repr(value) == repr(default)):
                continue
        made[field.alias or name] = _plain(value, defaults=defaults)
    return made


def _plain(value: Any, *, defaults: bool) -> Any:  # noqa: ANN401 - any field
    if isinstance(value, BaseModel):
        return plain_data(value, defaults=defaults)
    if isinstance(value, tuple):
        return [_plain(item, defaults=defaults) for item in value]
    if isinstance(value, dict):
        return {key: _plain(value[key], defaults=defaults) for key in sorted(value)}
    return value


def json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the text of a file, with a final newline."""
    parts: list[str] = []
    _write(value, 0, 0, parts)
    parts.append("\n")
    return "".join(parts)


def _write(value: Any, indent: int, used: int, parts: list[str]) -> None:  # noqa: ANN401
    """Append the text of a value; `used` columns of its line are taken."""
    flat = _flat(value, WIDTH - used - 1)
    if flat is not None:
        parts.append(flat)
        return
    inner = "  " * (indent + 1)
    is_object = isinstance(value, dict)
    parts.append("{\n" if is_object else "[\n")
    for i, item in enumerate(value):
        parts.append(",\n" + inner if i else inner)
        if is_object:
            key = json.dumps(item, ensure_ascii=False) + ": "
            parts.append(key)
            _write(value[item], indent + 1, len(inner) + len(key), parts)
        else:
            _write(item, indent + 1, len(inner), parts)
    parts.append("\n" + "  " * indent + ("}" if is_object else "]"))


def _flat(value: Any, room: int) -> str | None:  # noqa: ANN401
    """Return a value on one line, or None when it is too long or holds containers of containers."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        if len(value) > room or any(isinstance(v, dict | list) and v for v in inner):
            return None
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return text if len(text) <= room else None
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
