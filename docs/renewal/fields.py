"""Field tables, from the JSON Schemas of the formats."""

from __future__ import annotations

import functools
import json
from typing import Any

from colocate.io import json_schema
from colocate.schema import ID_PATTERN
from renewal.meanings import TWINS

__all__ = ["meaning", "models", "table"]

Schema = dict[str, Any]

LARGEST = 1e15
"""Bound of every number that has no other; said once on the page, not in each row."""
_ROOTS = {
    "Instance": "instance",
    "ProfileFile": "profiles",
    "Plan": "plan",
    "FittedModels": "models",
    "LaunchFile": "launch",
}
INNER = frozenset(
    {
        "AdditiveModel",
        "CandidateError",
        "CompanyModel",
        "EffectTerm",
        "KernelTerm",
        "MeasuredPair",
        "PairTerm",
        "RoleConstant",
        "StructureModel",
        "Telemetry",
    }
)
"""Objects of fitted models that only `predict` reads; the page tells of them in words."""
_PATTERNS = {
    ID_PATTERN: "[id](#conventions)",
    "^[0-9a-f]{64}$": "64 hexadecimal digits",
    "^/.*$": "absolute path",
}
_BEGINNINGS = {
    "^https?://": "URL",
    "^[A-Za-z_]": "name of a variable",
    "^[a-z0-9]": "name of an image",
    "^[A-Za-z0-9:]": "host or address",
}
"""What texts are whose pattern begins so."""


@functools.cache
def models() -> dict[str, Schema]:
    """Return the schema of every object of the formats, by name."""
    found: dict[str, Schema] = {}
    for name, kind in _ROOTS.items():
        schema = json_schema(kind)  # type: ignore[arg-type]
        found |= schema.get("$defs", {})
        found[name] = schema
    return {n: s for n, s in found.items() if "properties" in s and n not in INNER}


def table(name: str) -> str:
    """Return the fields of one object: name, type and range, default, meaning."""
    schema = models()[name]
    required = schema.get("required", ())
    lines = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for field, about in schema["properties"].items():
        default = "required" if field in required else _default(about)
        lines.append(f"| `{field}` | {_type(about)} | {default} | {meaning(name, field)} |")
    return "\n".join(lines)


def meaning(name: str, field: str) -> str:
    """Return what a field means: in its own words, else in those of its twin."""
    about = models()[name]["properties"][field].get("description")
    if about is None and name in TWINS:
        return meaning(TWINS[name], field)
    if about is None:
        msg = f"{name}.{field} has no meaning: give it a docstring"
        raise KeyError(msg)
    return " ".join(str(about).split())


def _default(about: Schema) -> str:
    value = about.get("default")
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, dict):
        return "no field set"
    return f"`{json.dumps(value)}`"


def _type(about: Schema, *, many: bool = False) -> str:
    """Return type and range in words; `many` after "list of"."""
    about = _resolved(about)
    choices: list[Schema] = about.get("anyOf") or about.get("oneOf") or []
    options = [o for o in choices if o.get("type") != "null"]
    if len(options) == 2 and options[1].get("items") == options[0]:
        return f"{_type(options[0])}, or a list of them"
    if options:
        return " or ".join(_type(o, many=many) for o in options)
    if "const" in about:
        return f"`{json.dumps(about['const'])}`"
    if "enum" in about:
        return ", ".join(f"`{json.dumps(v)}`" for v in about["enum"])
    if "link" in about:
        return f"[{about['link']}](#{about['link'].lower()})"
    if "inner" in about:
        return "arrays"
    kind = about.get("type")
    if kind == "array":
        items = _type(about["items"], many=True)
        return f"list of {items}{_items(about)}"
    if kind == "string":
        return _text(about)
    if kind == "object" and "patternProperties" in about:
        return "object of names to texts"
    if kind == "object":
        return "object of names to numbers, texts, `true`, `false` or `null`"
    if kind == "boolean":
        return "`true` or `false`"
    noun = "whole number" if kind == "integer" else "number"
    return f"{noun}{'s' if many else ''}{_range(about)}"


def _resolved(about: Schema) -> Schema:
    if "$ref" not in about:
        return about
    name = about["$ref"].rpartition("/")[2]
    if name in models():
        return {"link": name}
    if name in INNER:
        return {"inner": name}
    # what is no object is a short list of words
    return {"enum": _words(name)}


def _words(name: str) -> list[str]:
    for kind in _ROOTS.values():
        schema = json_schema(kind)  # type: ignore[arg-type]
        if name in schema.get("$defs", {}):
            found: list[str] = schema["$defs"][name]["enum"]
            return found
    raise KeyError(name)


def _text(about: Schema) -> str:
    pattern = about.get("pattern")
    if pattern in _PATTERNS:
        return _PATTERNS[pattern]
    if pattern is None:
        longest = about.get("maxLength")
        return "text" if longest is None else f"text of up to {longest:,} characters"
    for beginning, words in _BEGINNINGS.items():
        if pattern.startswith(beginning):
            return words
    if pattern.endswith(r"\*?$"):
        return "[id](#conventions), with `*` at its end for any end"
    if pattern.startswith("^(GPU|MIG)"):
        return "GPU UUID"
    if pattern.endswith("-$"):
        return "id that ends in `-`"
    assert "0-9" in pattern
    return "[runs](#conventions)"


def _items(about: Schema) -> str:
    least, most = about.get("minItems"), about.get("maxItems")
    if most is None:
        return ""
    return f" ({least or 0:,} to {most:,})" if least else f" (up to {most:,})"


def _range(about: Schema) -> str:
    low, above = about.get("minimum"), about.get("exclusiveMinimum")
    high, below = about.get("maximum"), about.get("exclusiveMaximum")
    if high is not None and high >= LARGEST:
        high = None
    if low is not None and low <= -LARGEST:
        low = None
    parts = []
    if low is not None and high is not None:
        parts.append(f"{_number(low)} to {_number(high)}")
    else:
        parts += [f"at least {_number(low)}"] if low is not None else []
        parts += [f"above {_number(above)}"] if above is not None else []
        parts += [f"at most {_number(high)}"] if high is not None else []
        parts += [f"below {_number(below)}"] if below is not None else []
    return f", {', '.join(parts)}" if parts else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or value != int(value) else f"{int(value):,}"
