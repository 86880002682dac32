"""From a share in percent to whole SMs, for each type of GPU.

MPS rounds a share down to what the hardware supports, which NVIDIA does not tabulate. A capped
client sees how many SMs it got; what one reported is kept here and used from then on. Where
nothing was reported a share is floored, which is at most a few SMs too many: on a GPU whose SMs
come in pairs an odd number was measured to be rounded down once more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from colocate.errors import InputError

__all__ = ["SmCount", "SmTable", "load_sm_table", "save_sm_table"]

SCHEMA = "colocate/sms/v1"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SmCount:
    """How many SMs a share gives."""

    sms: int
    measured: bool
    """Whether a capped client reported it; floored otherwise."""


@dataclass(frozen=True, slots=True)
class SmTable:
    """What capped clients reported, by name of the GPU and share."""

    reported: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def whole_sms(self, gpu_name: str, total: int, share_pct: int) -> SmCount:
        """Return how many SMs a share of a GPU gives.

        Parameters
        ----------
        gpu_name
            Name of the GPU's type, as the driver gives it.
        total
            How many SMs the whole GPU has.
        share_pct
            Active thread percentage.
        """
        _check(total, share_pct)
        known = self.reported.get(gpu_name, {}).get(share_pct)
        if known is not None:
            return SmCount(known, measured=True)
        return SmCount(max(1, math.floor(total * share_pct / 100)), measured=False)

    def with_report(self, gpu_name: str, total: int, share_pct: int, sms: int) -> SmTable:
        """Return a table that also holds what a client with this share reported.

        Raises
        ------
        InputError
            When the share cannot have given that many: the cap did not take effect, or the client
            ran on another GPU.
        """
        _check(total, share_pct)
        most = math.ceil(total * share_pct / 100)
        if not 1 <= sms <= total or (sms > most and sms > 2):
            raise InputError(
                f"a client with {share_pct} % of {total} SMs reported {sms} of them",
                advice="see whether it was a client of MPS at all, and which GPU it used.",
            )
        mine = {**self.reported.get(gpu_name, {}), share_pct: sms}
        return replace(self, reported={**self.reported, gpu_name: mine})


def _check(total: int, share_pct: int) -> None:
    if not 1 <= share_pct <= 100 or total < 1:
        raise InputError(
            f"{share_pct} % of {total} SMs makes no sense", advice="give a share from 1 to 100."
        )


def load_sm_table(path: Path) -> SmTable:
    """Return the table of a file; an empty one where there is no file."""
    from colocate.io.files import read_source  # its package imports pydantic

    if not path.exists():
        return SmTable()
    data, label, _ = read_source(path, _MOST_BYTES, InputError)
    try:
        value = json.loads(data)
        if value["schema"] != SCHEMA:
            raise ValueError("schema")
        reported = {
            str(name): {int(share): _count(sms) for share, sms in shares.items()}
            for name, shares in value["reported"].items()
        }
        if any(not 1 <= share <= 100 for shares in reported.values() for share in shares):
            raise ValueError("share")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{label!r} does not hold SM counts",
            source=label,
            advice="remove it; it is made again as clients report.",
        ) from None
    return SmTable(reported)


def save_sm_table(path: Path, table: SmTable) -> None:
    """Write a table, atomically."""
    from colocate.io.files import write_atomic

    value = {
        "schema": SCHEMA,
        "reported": {
            name: {str(share): shares[share] for share in sorted(shares)}
            for name, shares in sorted(table.reported.items())
        },
    }
    write_atomic(path, json.dumps(value, indent=1) + "\n")


def _count(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 10_000:
        raise ValueError("count")
    return value
