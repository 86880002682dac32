"""From pydantic's complaints to problems: a JSON path, the value, and what to try."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from colocate.errors import InputError, clean_text
from colocate.io.json_schema import Kind, known_keys
from colocate.io.problems import MAX_PROBLEMS, Problem, show_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from colocate.io.json_path import Step

__all__ = ["all_problems"]

_NAME_PATTERN = "{0,62}"
_ADVICE = {
    "int_type": "write a whole number without quotes or decimal point.",
    "int_from_float": "write a whole number without quotes or decimal point.",
    "float_type": "write a number without quotes.",
    "bool_type": "write true or false without quotes.",
    "string_type": "write it as text in quotes.",
    "tuple_type": "write a list in square brackets.",
    "list_type": "write a list in square brackets.",
    "model_type": "write an object in braces.",
    "model_attributes_type": "write an object in braces.",
    "dict_type": "write an object in braces.",
    "too_short": "give at least one, or leave the field out.",
    "too_long": "split it, or use counts and id ranges.",
    "string_too_long": "shorten the text.",
}
_WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "finite_number": "must be a finite number",
    "none_required": "must be null",
}


@dataclass(frozen=True, slots=True)
class _Complaint:
    steps: tuple[Step, ...]
    """Path in the input; names of union branches are left out."""
    branch: tuple[Step, ...] | None
    """Where the input branched into alternatives, if it did."""
    detail: ErrorDetails


def all_problems(
    model: type[BaseModel],
    value: Any,  # noqa: ANN401 - any JSON value
    kind: Kind,
    failed: ValidationError,
    *,
    thorough: bool,
) -> list[Problem]:
    """Return what is wrong with a value, at most `MAX_PROBLEMS`.

    Parameters
    ----------
    model, value, kind
        What was to be made, of what, and which file format that is.
    failed
        What pydantic says: of each list only what is wrong with its first wrong item.
    thorough
        Whether to look into the rest of each list too, which validates it once more for each of
        its wrong items.
    """
    found: dict[tuple[Step, ...], Problem] = {}
    left_out: dict[tuple[Step, ...], int] = {}
    for _ in range(MAX_PROBLEMS):
        new = [p for p in _problems(failed, value, kind, left_out) if p.steps not in found]
        found.update((p.steps, p) for p in new)
        lists = {
            p.steps[:at]: p.steps[at] for p in new if (at := _first_index(p.steps)) is not None
        }
        if not thorough or not lists or len(found) >= MAX_PROBLEMS:
            break
        for prefix, index in lists.items():
            done = left_out.get(prefix, 0)
            left_out[prefix] = int(index) + 1
            value = _from_item(value, prefix, int(index) + 1 - done)
        try:
            model.model_validate(value)
        except ValidationError as again:
            failed = again
        except InputError:
            # A cross-check, which cannot be trusted with half of the items left out.
            break
        else:
            break
    return list(found.values())[:MAX_PROBLEMS]


def _first_index(steps: tuple[Step, ...]) -> int | None:
    return next((at for at, step in enumerate(steps) if isinstance(step, int)), None)


def _from_item(value: Any, prefix: tuple[Step, ...], start: int) -> Any:  # noqa: ANN401
    """Return a copy of a value where the list at a path begins with a later item."""
    if not prefix:
        return value[start:]
    return {**value, prefix[0]: _from_item(value[prefix[0]], prefix[1:], start)}


def _problems(
    failed: ValidationError,
    value: object,
    kind: Kind,
    left_out: Mapping[tuple[Step, ...], int],
) -> list[Problem]:
    """Translate, with the indices that the items had before some were left out."""
    details = [d for d in failed.errors(include_url=False) if not _is_echo(d)]
    by_path: dict[tuple[Step, ...], list[ErrorDetails]] = {}
    for c in _without_other_branches([_complaint(detail, value) for detail in details]):
        at = _first_index(c.steps)
        steps = c.steps
        if at is not None:
            index = int(steps[at]) + left_out.get(steps[:at], 0)
            steps = (*steps[:at], index, *steps[at + 1 :])
        if steps not in left_out:
            by_path.setdefault(steps, []).append(c.detail)
    return [Problem(steps, *_words(steps, same, kind)) for steps, same in by_path.items()]


def _is_echo(detail: ErrorDetails) -> bool:
    """Whether a list is called too short only because its wrong items were not counted."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _complaint(detail: ErrorDetails, value: Any) -> _Complaint:  # noqa: ANN401 - any JSON value
    """Find the path in the input: pydantic's location also names branches of unions."""
    steps: list[Step] = []
    branch: tuple[Step, ...] | None = None
    location = detail["loc"]
    for i, part in enumerate(location):
        inside_dict = isinstance(value, dict) and part in value
        inside_list = isinstance(value, list | tuple) and isinstance(part, int)
        if inside_dict or (inside_list and 0 <= part < len(value)):  # type: ignore[operator]
            value = value[part]
            steps.append(part)
        elif detail["type"] == "missing" and i == len(location) - 1:
            steps.append(part)
        elif branch is None and part != "[key]":
            branch = tuple(steps)
    if detail["type"].startswith("union_tag"):
        # pydantic names the key that tells the alternatives apart in quotes
        steps.append(str(detail.get("ctx", {}).get("discriminator", "kind")).strip("'"))
    return _Complaint(tuple(steps), branch, detail)


def _without_other_branches(complaints: list[_Complaint]) -> list[_Complaint]:
    """Of a value with alternatives keep what the alternative meant by the user complains about.

    That is the one that got furthest; among equals, those that are not about the outer shape.
    """
    furthest: dict[tuple[Step, ...], int] = {}
    for c in complaints:
        if c.branch is not None:
            furthest[c.branch] = max(furthest.get(c.branch, 0), len(c.steps))
    kept = [c for c in complaints if c.branch is None or len(c.steps) == furthest[c.branch]]
    about_content = {
        c.steps for c in kept if c.branch is not None and not c.detail["type"].endswith("_type")
    }
    return [
        c
        for c in kept
        if c.branch is None
        or c.steps not in about_content
        or not c.detail["type"].endswith("_type")
    ]


def _words(steps: tuple[Step, ...], details: list[ErrorDetails], kind: Kind) -> tuple[str, str]:
    """Return message and advice for one path."""
    detail = details[0]
    name = next((repr(clean_text(s, 60)) for s in reversed(steps) if isinstance(s, str)), "it")
    if detail["type"] == "missing":
        return f"{name} is missing", "add it; the format's page says what it means."
    if detail["type"] == "extra_forbidden":
        return f"unknown key {name}", _nearest(steps, kind)
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        expected = detail.get("ctx", {}).get("expected_tags", "'tabulated', 'piecewise_linear'")
        return (
            f"{name} must be one of {expected}",
            "write one of these words.",
        )
    if detail["type"] in ("too_short", "too_long"):
        least = detail["type"] == "too_short"
        limit = detail["ctx"]["min_length" if least else "max_length"]
        bound = f"at {'least' if least else 'most'} {limit}"
        return f"{name} must hold {bound}, not {len(detail['input'])}", _advice(detail)
    shown = show_value(detail["input"])
    if detail["type"] == "value_error":
        got = "" if isinstance(detail["input"], dict | list) else f" (got {shown})"
        return detail["msg"].removeprefix("Value error, ") + got, "correct the values."
    if steps and isinstance(steps[-1], int):
        name = f"item {steps[-1]} of {name}"
    musts = list(dict.fromkeys(_must(d) for d in details))
    expected = " or ".join([musts[0], *(m.removeprefix("must be ") for m in musts[1:])])
    return f"{name} {expected}, not {shown}", _advice(detail)


def _must(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "string_pattern_mismatch":
        pattern = str(detail.get("ctx", {}).get("pattern"))
        if _NAME_PATTERN in pattern:
            return (
                "must be a name: at most 63 letters, digits, '.', '_' or '-', the first one "
                "a letter or digit"
            )
        return f"must match {pattern}"
    text = re.sub(r"^(Input|String|Tuple|List|Value) should", "must", detail["msg"])
    return text.replace("must be a valid", "must be a").replace("must have at", "must hold at")


def _advice(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in _ADVICE:
        return _ADVICE[kind]
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return "check the number and its unit: the field's name ends in it."
    if kind == "literal_error":
        return "use one of the words listed."
    return "see the format's page for what is allowed."


def _nearest(steps: tuple[Step, ...], kind: Kind) -> str:
    key = str(steps[-1])
    known = known_keys(kind, steps[:-1])
    near = difflib.get_close_matches(key[:80], known, n=1, cutoff=0.6)
    if near:
        return f"write {near[0]!r}."
    if not known:
        return "remove it."
    return f"remove it; known here: {', '.join(known)}."
