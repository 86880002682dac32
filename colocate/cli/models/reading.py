"""What to say about rows of a table that make no sense."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from colocate.errors import InputError, clean_text

if TYPE_CHECKING:
    from colocate.profile.fitted import FittedModels
    from colocate.tables.read import TableFile

__all__ = ["every_row_counts", "no_row", "with_dropped"]

MOST_PROBLEMS = 20
MOST_REASONS = 900


def with_dropped(models: FittedModels, file: TableFile) -> FittedModels:
    """Return the models with a report that also knows the rows which were not even read."""
    if not file.n_dropped:
        return models
    from colocate.profile.fitted import FittedModels, RowsLeftOut

    count: Counter[str] = Counter()
    example: dict[str, str] = {}
    for row in file.dropped:
        reason = clean_text(f"{row.column} {row.reason}".strip(), 900)
        count[reason] += 1
        example.setdefault(reason, clean_text(str(row), 900))
    left_out = [
        RowsLeftOut(reason=reason, rows=n, example=example[reason])
        for reason, n in count.most_common(MOST_REASONS)
    ]
    rest = file.n_dropped - sum(r.rows for r in left_out)
    if rest:
        left_out.append(RowsLeftOut(reason="further rows that make no sense", rows=rest))
    report = models.report.model_copy(
        update={
            "rows": len(file.table) + file.n_dropped,
            "left_out": (*left_out, *models.report.left_out[: 1000 - len(left_out)]),
        }
    )
    # made anew: a copy would keep the hash that the other one has worked out
    given = {"schema" if key == "schema_" else key: value for key, value in models}
    return FittedModels.model_validate({**given, "report": report})


def _problems(file: TableFile, name: str) -> list[InputError]:
    return [
        InputError(str(row), source=name if row.line is None else f"{name}:{row.line}")
        for row in file.dropped[: MOST_PROBLEMS + 1]
    ]


def no_row(file: TableFile, name: str) -> InputError:
    """Return the error that none of the rows can be used."""
    if not file.n_dropped:
        return InputError("the table has no rows", source=name, advice="add measurements.")
    return InputError(
        f"none of the {file.n_dropped} rows can be used",
        source=name,
        advice="correct them; the first ones are listed.",
        more=_problems(file, name)[:MOST_PROBLEMS],
    )


def every_row_counts(file: TableFile, name: str) -> None:
    """Refuse queries of which some make no sense: the answer has a row for each of them."""
    if not file.n_dropped:
        return
    first, *more = _problems(file, name)
    rest = file.n_dropped - 1 - len(more)
    if rest > 0:
        more.append(InputError(f"and {rest} rows like these", source=name))
    raise InputError(
        first.message,
        source=first.source,
        advice="correct or remove it: every query gets an answer, so each must make sense.",
        more=more,
    )
