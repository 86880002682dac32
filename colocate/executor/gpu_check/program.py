"""All stages in their order, and what is written about them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import colocate
from colocate.errors import InputError
from colocate.executor.gpu_check import applied, caps, grid, killing, looking, planning
from colocate.executor.gpu_check.daemon import start_daemon, stop_daemon
from colocate.executor.gpu_check.pictures import pictures_of
from colocate.executor.gpu_check.stages import Course, Report
from colocate.executor.gpu_check.state import State
from colocate.executor.gpu_check.transcript import Transcript
from colocate.executor.gpu_check.world import Sizes, World, real_world
from colocate.executor.measure.here import chosen_gpu
from colocate.io.files import write_atomic

__all__ = ["check", "check_here"]

SCHEMA = "colocate/gpu-check/v1"


def check_here(
    out: Path,
    *,
    uuid: str | None,
    allow_root: bool,
    binary: str | None,
    root: Path | None,
    seconds: float,
) -> int:
    """Run the check on this machine; return the exit code.

    Raises
    ------
    ColocateError
        When there is no GPU, or the driver does not answer: nothing is written then.
    """
    with _folder(root) as below:
        world = real_world(below, allow_root=allow_root, binary=binary)
        chosen_gpu(world.gpus.facts(), uuid)
        return check(world, out, uuid=uuid, sizes=replace(Sizes(), total_s=seconds))


def check(
    world: World,
    out: Path,
    *,
    uuid: str | None = None,
    sizes: Sizes | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Run all stages.

    Parameters
    ----------
    world
        Where.
    out
        Folder for the report; made when missing, and empty before.
    uuid
        GPU, where there are several.
    sizes
        How much is measured.
    say
        Told one line for each stage; standard output when left out.
    """
    sizes = sizes or Sizes()
    tell = say or _print
    _make_empty(out)
    began = dt.datetime.now(dt.UTC)

    def told(reports: Sequence[Report]) -> None:
        last = reports[-1]
        tell(f"{last.verdict:<12}  {last.name:<15}  {last.seconds:6.1f} s  {last.summary}")
        _write(out, reports, began, finished=False)

    course = Course(sizes.total_s, sizes.tidy_s, told)
    transcript = Transcript(out / "mps-transcript.jsonl")
    state = State(world=world, sizes=sizes, course=course, out=out, transcript=transcript)
    run = course.run
    try:
        run("prepare", "What is here?", lambda: looking.prepare(state, uuid), 20)
        run("daemon", "Does MPS start?", lambda: start_daemon(state), 40)
        run("processes", "Do workloads start?", lambda: grid.start_processes(state), 110)
        run("share caps", "Does a share cap take effect?", lambda: caps.share_caps(state), 45)
        run("memory limit", "Does a memory limit hold?", lambda: caps.memory_limit(state), 20)
        keep = sizes.plan_s + sizes.pairs_s
        measure_alone, measure_pairs = grid.measure_alone, grid.measure_pairs
        run("alone", "How fast is each alone?", lambda: measure_alone(state), 170, keep_s=keep)
        keep = sizes.plan_s
        run("pairs", "How fast in company?", lambda: measure_pairs(state), 110, keep_s=keep)
        run("measuring ends", "Does MPS end?", lambda: stop_daemon(state), 40)
        run("fit", "Can it be fitted?", lambda: planning.fit(state), 40)
        run("held-out pairs", "Are pairs predicted?", lambda: planning.hold_out(state), 10)
        run("solve", "Is there a plan?", lambda: planning.solve(state), 30)
        run("apply", "Is the plan put on the GPU?", lambda: applied.apply(state), 90)
        run("compare", "Does it do what it states?", lambda: applied.compare(state), 40)
        run("kill", "What if training is killed?", lambda: killing.kill(state), 45)
    finally:
        # on the way out, also after Ctrl-C, everything is put back
        run("roll back", "Is it undone?", lambda: applied.roll_back(state), 40, tidies=True)
        _end_measuring(state)
        run("as found", "Is the GPU as it was?", lambda: looking.as_found(state), 20, tidies=True)
        _write(out, course.reports, began, finished=True)
    failed = [r.name for r in course.reports if r.verdict == "failed"]
    missing = [r.name for r in course.reports if r.verdict == "not possible"]
    tell(
        f"{len(course.reports) - len(failed) - len(missing)} passed, {len(failed)} failed, "
        f"{len(missing)} not possible, in {course.spent_s:.0f} s: {out / 'report.json'}"
    )
    return 1 if failed or missing else 0


def _end_measuring(state: State) -> None:
    """End what a stage that was broken off has left behind."""
    if state.bench is not None:
        with contextlib.suppress(Exception):
            state.bench.close()
    if state.shares is not None:
        with contextlib.suppress(Exception):
            state.shares.stop()


def _write(out: Path, reports: Sequence[Report], began: dt.datetime, *, finished: bool) -> None:
    """Write the report, and the pictures of what is there so far."""
    pictures = pictures_of({r.name: dict(r.facts) for r in reports}) if finished else {}
    for name, picture in pictures.items():
        write_atomic(out / name, picture)
    document = {
        "schema": SCHEMA,
        "colocate": colocate.__version__,
        "began": began.isoformat(timespec="seconds"),
        "finished": finished,
        "seconds": sum(r.seconds for r in reports),
        "verdicts": {r.name: r.verdict for r in reports},
        "pictures": sorted(pictures),
        "stages": [asdict(r) for r in reports],
    }
    text = json.dumps(_plain(document), indent=1, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever the stages found
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _make_empty(out: Path) -> None:
    """Make the folder; one that holds something already is not written into."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise InputError(f"{str(out)!r} is not empty", advice="name a new folder.")


@contextmanager
def _folder(root: Path | None) -> Iterator[Path]:
    """Yield a folder for the state; one that was made here is removed again."""
    if root is not None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield root
        return
    made = Path(tempfile.mkdtemp(prefix="colocate-"))
    try:
        yield made
    finally:
        # what could not be put back needs its folder to be put back by hand
        if not any(made.glob("units/*")):
            shutil.rmtree(made, ignore_errors=True)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
