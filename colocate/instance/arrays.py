"""Columns to tables: the way into an instance that makes no object for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from colocate.errors import InstanceError

if TYPE_CHECKING:
    from colocate.instance.parts import GpuPool, ServiceTable, TaskTable

    Table = TypeVar("Table", ServiceTable, TaskTable)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any array-like
    """Turn arrays, lists and NumPy scalars into tuples and plain Python numbers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def table_from_columns(
    table: type[Table], columns: Mapping[str, Any], varying: tuple[str, ...]
) -> Table | None:
    """Build a table from columns; None when there are no columns."""
    if not columns:
        return None
    plain = {name: _plain(value) for name, value in columns.items()}
    lengths = {n: len(v) for n, v in plain.items() if isinstance(v, tuple) and n in varying}
    rows = plain.pop("rows", max(lengths.values(), default=1))
    for name, n in lengths.items():
        if n != rows:
            raise InstanceError(
                f"column {name!r} has {n} values for {rows} rows",
                path=f"$.{name}",
                advice="give one value for each row, or a single value for all.",
            )
    return table(rows=rows, **plain)


def pools_from_columns(pool: type[GpuPool], columns: Mapping[str, Any]) -> tuple[GpuPool, ...]:
    """Build pools, a row each."""
    plain = {name: _plain(value) for name, value in columns.items()}
    lengths = {len(v) for v in plain.values() if isinstance(v, tuple)}
    if len(lengths) > 1:
        raise InstanceError(
            f"GPU columns have different lengths: {sorted(lengths)}",
            path="$.gpu_pools",
            advice="give one value for each pool, or a single value for all.",
        )
    rows = lengths.pop() if lengths else 1
    return tuple(
        pool(**{n: v[i] if isinstance(v, tuple) else v for n, v in plain.items()})
        for i in range(rows)
    )
