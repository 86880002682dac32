"""Sending requests to another unit, by the launch file's own hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.workloads.keeper.calls import CallError, perform
from colocate.launch.template import fill

__all__ = ["switch_requests"]


def switch_requests(
    spec: Mapping[str, Any], sides: Mapping[str, tuple[str | None, Mapping[str, Any] | None]]
) -> None:
    """Run the hook of a unit.

    Parameters
    ----------
    spec
        How the unit is run that the hook belongs to.
    sides
        Key and spec of the `old` and of the `new` unit, where there is one.
    """
    values = {"workload": spec["unit"]["workload"], "ordinal": str(spec["unit"]["ordinal"])}
    for side, (key, other) in sides.items():
        port = None if other is None else other.get("port")
        values[f"{side}_key"] = key or "-"
        values[f"{side}_port"] = "-" if port is None else str(port)
    call = _filled(spec["switch"], values)
    # it is no client of a GPU
    env = {k: v for k, v in spec["env"].items() if not k.startswith("CUDA_")}
    try:
        perform(call, env, spec["directory"])
    except CallError as error:
        old, new = (sides[side][0] for side in ("old", "new"))
        raise UnitError(
            f"requests were not switched from {old!r} to {new!r}: {error}",
            advice="check `switch` in the launch file.",
        ) from None


def _filled(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, dict):
        return {k: _filled(v, values) for k, v in value.items()}
    return value
