"""A small JSON Schema checker, for the keywords that the project's schemas use and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
IGNORED = {"$schema", "$defs", "title", "description", "default", "discriminator"}


class SchemaChecker:
    """Tells where a value breaks a schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema

    def complaints(self, value: Any) -> list[str]:
        """Return the paths and keywords that a value breaks."""
        return list(self._check(value, self.root, "$"))

    def _check(self, value: Any, node: dict[str, Any], path: str) -> Iterator[str]:
        for keyword, said in node.items():
            if keyword in IGNORED:
                continue
            rule = getattr(self, "_" + keyword.lstrip("$"), None)
            assert rule is not None, f"{path}: this checker does not know the keyword {keyword!r}"
            yield from rule(value, said, node, path)

    def _ref(self, value: Any, said: str, node: Any, path: str) -> Iterator[str]:
        yield from self._check(value, self.root["$defs"][said.removeprefix("#/$defs/")], path)

    def _type(self, value: Any, said: str, node: Any, path: str) -> Iterator[str]:
        is_bool = isinstance(value, bool)
        if not isinstance(value, TYPES[said]) or (is_bool and said != "boolean"):
            yield f"{path}: type {said}"

    def _const(self, value: Any, said: Any, node: Any, path: str) -> Iterator[str]:
        if value != said:
            yield f"{path}: const"

    def _enum(self, value: Any, said: list[Any], node: Any, path: str) -> Iterator[str]:
        if value not in said:
            yield f"{path}: enum"

    def _anyOf(self, value: Any, said: list[Any], node: Any, path: str) -> Iterator[str]:
        found = [list(self._check(value, branch, path)) for branch in said]
        if all(found):
            yield from min(found, key=len)

    def _oneOf(self, value: Any, said: list[Any], node: Any, path: str) -> Iterator[str]:
        right = [branch for branch in said if not list(self._check(value, branch, path))]
        if len(right) != 1:
            yield f"{path}: {len(right)} of oneOf"

    def _properties(self, value: Any, said: dict[str, Any], node: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key in value.keys() & said.keys():
                yield from self._check(value[key], said[key], f"{path}.{key}")

    def _patternProperties(
        self, value: Any, said: dict[str, Any], node: Any, path: str
    ) -> Iterator[str]:
        if isinstance(value, dict):
            for key in value:
                for pattern, schema in said.items():
                    if re.search(pattern, key):
                        yield from self._check(value[key], schema, f"{path}.{key}")

    def _additionalProperties(self, value: Any, said: Any, node: Any, path: str) -> Iterator[str]:
        assert said is False
        if isinstance(value, dict):
            patterns = node.get("patternProperties", {})
            for key in value.keys() - node.get("properties", {}).keys():
                if not any(re.search(pattern, key) for pattern in patterns):
                    yield f"{path}.{key}: additionalProperties"

    def _required(self, value: Any, said: list[str], node: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (f"{path}.{key}: required" for key in said if key not in value)

    def _items(self, value: Any, said: dict[str, Any], node: Any, path: str) -> Iterator[str]:
        if isinstance(value, list):
            for i, item in enumerate(value):
                yield from self._check(item, said, f"{path}[{i}]")

    def _pattern(self, value: Any, said: str, node: Any, path: str) -> Iterator[str]:
        # JSON Schema means ECMAScript's $, which does not match before a final newline
        if isinstance(value, str) and re.search(said.removesuffix("$") + r"\Z", value) is None:
            yield f"{path}: pattern"

    @staticmethod
    def _limit(types: Any, keyword: str, breaks: Any) -> Any:
        def rule(self: Any, value: Any, said: Any, node: Any, path: str) -> Iterator[str]:
            if isinstance(value, types) and not isinstance(value, bool) and breaks(value, said):
                yield f"{path}: {keyword}"

        return rule

    _maxProperties = _limit(dict, "maxProperties", lambda v, s: len(v) > s)
    _minimum = _limit((int, float), "minimum", lambda v, s: v < s)
    _maximum = _limit((int, float), "maximum", lambda v, s: v > s)
    _exclusiveMinimum = _limit((int, float), "exclusiveMinimum", lambda v, s: v <= s)
    _exclusiveMaximum = _limit((int, float), "exclusiveMaximum", lambda v, s: v >= s)
    _minLength = _limit(str, "minLength", lambda v, s: len(v) < s)
    _maxLength = _limit(str, "maxLength", lambda v, s: len(v) > s)
    _minItems = _limit(list, "minItems", lambda v, s: len(v) < s)
    _maxItems = _limit(list, "maxItems", lambda v, s: len(v) > s)
