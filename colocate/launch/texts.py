"""Texts that reach a command line, an environment or a request: checked where they come in."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["BaseUrl", "Directory", "EnvName", "Path", "Seconds", "Text", "Url", "Wait"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_RESERVED = re.compile(r"(CUDA_MPS_.*|CUDA_VISIBLE_DEVICES|COLOCATE_.*)")
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:]{2,39}\])"
_BASE_URL = rf"^https?://{_HOST}(?::(?:[0-9]{{1,5}}|\{{port\}}))?$"
_URL = (
    _BASE_URL.removesuffix("$")
    + r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/{}-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?{}-]*)?$"
)


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        msg = "holds control characters, such as a line break"
        raise ValueError(msg)
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        msg = "must be an absolute path"
        raise ValueError(msg)
    if ".." in text.split("/"):
        msg = "must not lead upwards (..)"
        raise ValueError(msg)
    return text


def _not_ours(name: str) -> str:
    if _RESERVED.fullmatch(name):
        msg = "is set from the plan: CUDA_MPS_*, CUDA_VISIBLE_DEVICES and COLOCATE_* are reserved"
        raise ValueError(msg)
    return name


Text = Annotated[str, Field(max_length=8192), AfterValidator(_plain)]
"""One line."""
Path = Annotated[
    str,
    # the schema says half of what is checked: messages in words are better than a pattern
    Field(max_length=1000, json_schema_extra={"pattern": "^/.*$"}),
    AfterValidator(_plain),
    AfterValidator(_absolute),
]
Directory = Path
EnvName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"), AfterValidator(_not_ours)
]
Url = Annotated[str, Field(pattern=_URL, max_length=2000)]
BaseUrl = Annotated[str, Field(pattern=_BASE_URL, max_length=2000)]
"""Scheme, host and port."""
Seconds = Annotated[float, Field(gt=0, le=86_400)]
"""A deadline: never none, and at most a day."""
Wait = Annotated[float, Field(ge=0, le=86_400)]
