"""DCGM telemetry: `dcgmi dmon` text, dcgm-exporter text, or CSV with DCGM's field names.

Layouts of DCGM 2 to 4. `dcgmi dmon -e 1002,1005` prints a header such as `#Entity   SMACT   DRAMA`,
a line of units and a line `GPU 0   0.512   0.101` for each sample, with N/A where there is none.
dcgm-exporter prints `DCGM_FI_PROF_SM_ACTIVE{gpu="0",UUID="GPU-..",..} 0.512`; several scrapes may
follow each other in one file. A CSV has one line for each sample and columns named by field
(`DCGM_FI_PROF_SM_ACTIVE`), by number (`1002`) or by short name (`SMACT`), and maybe one that names
the GPU (`gpu`, `GPU`, `Entity`, `UUID`).

SM activity is field 1002 and DRAM activity 1005: fractions of the time from 0 to 1, averaged here
over the samples of one GPU, or of one MIG instance, and given in per cent. DCGM measures a whole
device: with neighbours on it the figure is that of all of them, so measure the workload alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from colocate.errors import InputError, clean_text
from colocate.io.files import Source
from colocate.tables.foreign._made import made, name_from
from colocate.tables.raw import number, parse_csv, read_text
from colocate.tables.read import TableFile
from colocate.tables.table import ProfileTable

__all__ = ["Telemetry", "read", "read_telemetry", "with_telemetry"]

SM = ("DCGM_FI_PROF_SM_ACTIVE", "1002", "SMACT")
DRAM = ("DCGM_FI_PROF_DRAM_ACTIVE", "1005", "DRAMA")
DEVICE = ("gpu", "GPU", "Entity", "#Entity", "UUID", "device")
ROUNDING = 1.02
"""DCGM's fractions exceed 1 a little now and then."""
_SCRAPED = re.compile(r"(DCGM_FI_PROF_(?:SM|DRAM)_ACTIVE)\{([^}]*)\}\s+(\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_ENTITY = re.compile(r"((?:GPU|GPU-I|GPU-CI|CI|GI)\s+[\d/]+|\d+)\s+(.*)")

Sample = tuple[str, float, float]
"""Which device, SM activity and DRAM activity; nan where the sample has none."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Averages over a window."""

    device: str
    samples: int
    sm_activity_pct: float
    """Not a number where it was not recorded."""
    dram_activity_pct: float


def read(
    path: Source,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    share_pct: float = 100.0,
    role: str = "inference",
    batch: float | None = None,
    rate: float | None = None,
    latency_ms: float | None = None,
    device: str | None = None,
    skip: int = 0,
) -> TableFile:
    """Read the telemetry of one run as one row.

    Parameters
    ----------
    path
        The file.
    workload, gpu, share_pct, role, batch
        What ran where; `workload` and `gpu` must be given.
    rate, latency_ms
        What was measured in the same run: DCGM knows neither, and a row needs one of them.
    device
        Which device, where the file has several.
    skip
        Samples to leave out at the start, while the workload warms up.
    """
    found, label = _telemetry(path, device, skip)
    if rate is None and latency_ms is None:
        raise InputError(
            f"{label!r} tells how busy the GPU was, not how fast the workload ran",
            source=label,
            advice="give the rate or the latency of the run (--rate, --latency-ms).",
        )
    return made(
        label,
        1,
        gpu=gpu,
        role=role,
        share_pct=share_pct,
        workload=name_from(label, workload, None),
        batch=batch,
        rate=rate,
        latency_ms=latency_ms,
        sm_activity_pct=found.sm_activity_pct,
        dram_activity_pct=found.dram_activity_pct,
    )


def read_telemetry(path: Source, *, device: str | None = None, skip: int = 0) -> Telemetry:
    """Return the averages of one device."""
    return _telemetry(path, device, skip)[0]


def with_telemetry(
    table: ProfileTable, found: Telemetry, *, workload: str, share_pct: float = 100.0
) -> ProfileTable:
    """Return the table with telemetry in the rows of a workload alone at a share."""
    rows = table.alone & (table["workload"] == workload) & (table["share_pct"] == share_pct)
    if not rows.any():
        raise InputError(
            f"the table has no row of {clean_text(workload, 60)!r} alone at {share_pct:g} %",
            advice="name a workload of the table and a share at which it was measured.",
        )
    return table.replace(
        sm_activity_pct=np.where(rows, found.sm_activity_pct, table["sm_activity_pct"]),
        dram_activity_pct=np.where(rows, found.dram_activity_pct, table["dram_activity_pct"]),
    )


def _telemetry(path: Source, device: str | None, skip: int) -> tuple[Telemetry, str]:
    text, label = read_text(path)
    start = text.lstrip()
    if "{" in text and _SCRAPED.search(text):
        samples = list(_exporter(text, label))
    elif start.startswith("#") or _ENTITY.match(start):
        samples = list(_dmon(text, label))
    else:
        samples = list(_csv(text, label))
    devices = list(dict.fromkeys(name for name, _, _ in samples))
    if device is None and len(devices) > 1:
        shown = ", ".join(repr(clean_text(name, 40)) for name in devices[:8])
        raise InputError(
            f"{label!r} has samples of several devices: {shown}",
            source=label,
            advice="say which one the workload ran on (--device).",
        )
    chosen = [s for s in samples if device is None or s[0] == device][skip:]
    values = np.array([s[1:] for s in chosen], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(values).any():
        raise InputError(
            f"{label!r} has no sample of SM or DRAM activity"
            + ("" if device is None else f" for {clean_text(device, 40)!r}"),
            source=label,
            advice="record the fields 1002 and 1005, and check the device and the samples skipped.",
        )
    means = [
        100 * min(1.0, float(np.mean(column[np.isfinite(column)])))
        if np.isfinite(column).any()
        else np.nan
        for column in values.T
    ]
    used = device if device is not None else devices[0]
    return Telemetry(used, int(np.isfinite(values).any(axis=1).sum()), *means), label


def _dmon(text: str, label: str) -> Iterator[Sample]:
    """Read what `dcgmi dmon` prints: a header is repeated now and then."""
    header: list[str] = []
    for line_number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith("#"):
            header = bare.removeprefix("#").split()[1:]
            continue
        entity = _ENTITY.fullmatch(bare)
        if entity is None:
            continue
        fields = entity[2].split()
        if len(fields) < len(header) or not header:
            raise InputError(
                f"the line has {len(fields)} values and the header {len(header)}",
                source=f"{label}:{line_number}",
                advice="keep the header that `dcgmi dmon` prints, and whole lines.",
            )
        place = f"{label}:{line_number}"
        sm, dram = (_pick(dict(zip(header, fields, strict=False)), n, place) for n in (SM, DRAM))
        yield " ".join(entity[1].split()), sm, dram


def _exporter(text: str, label: str) -> Iterator[Sample]:
    """Read scrapes of dcgm-exporter: a line has one field, so lines are paired."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line_number, line in enumerate(text.splitlines(), start=1):
        scraped = _SCRAPED.match(line.strip())
        if scraped is None:
            continue
        labels = dict(_LABEL.findall(scraped[2]))
        name = labels.get("gpu") or labels.get("UUID") or ""
        instance = labels.get("GPU_I_ID")
        columns = found.setdefault(f"{name}/{instance}" if instance else name, ([], []))
        columns[scraped[1] != SM[0]].append(_fraction(scraped[3], f"{label}:{line_number}"))
    for device, columns in found.items():
        for sm, dram in zip_longest(*columns, fillvalue=float("nan")):
            yield device, sm, dram


def _csv(text: str, label: str) -> Iterator[Sample]:
    raw = parse_csv(text, label)
    by_name = {name: raw.columns[name] for name in raw.columns if name in (*SM, *DRAM, *DEVICE)}
    if not any(name in by_name for name in (*SM, *DRAM)):
        raise InputError(
            f"{label!r} has no column for SM or DRAM activity",
            source=label,
            advice=f"name them {SM[0]} and {DRAM[0]}.",
        )
    which = next((by_name[name] for name in DEVICE if name in by_name), ("",) * len(raw))
    for i, line_number in enumerate(raw.lines):
        cells = {name: column[i] for name, column in by_name.items()}
        place = f"{label}:{line_number}"
        yield which[i].strip(), _pick(cells, SM, place), _pick(cells, DRAM, place)


def _pick(cells: dict[str, str], names: tuple[str, ...], place: str) -> float:
    for name in names:
        if name in cells:
            return _fraction(cells[name], place)
    return float("nan")


def _fraction(text: str, place: str) -> float:
    bare = text.strip()
    if bare.upper() in ("", "N/A", "NA", "NAN", "-"):
        return float("nan")
    value = number(bare)
    if value is None or not 0 <= value <= ROUNDING:
        raise InputError(
            f"an activity must be a fraction from 0 to 1, not {clean_text(bare, 40)!r}",
            source=place,
            advice="divide by 100 where another tool has turned it into per cent.",
        )
    return value
