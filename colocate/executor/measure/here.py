"""A bench on a GPU of this machine: the driver, the MPS daemon, folders, and all undone again."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.measure.activity import WithActivity
from colocate.executor.measure.bench import GpuAbout
from colocate.executor.measure.process_bench import ProcessBench
from colocate.executor.measure.shares import MpsShares
from colocate.executor.measure.tenants import Workload
from colocate.executor.ports import Daemons, Dialect, GpuFacts, Gpus

if TYPE_CHECKING:
    from colocate.executor.measure.campaign import Campaign

__all__ = ["bench_here", "chosen_gpu", "gpu_type_of"]

Made = Callable[[], tuple[Gpus, Callable[[Path], Daemons]]]
"""Returns what asks the driver, and how to make daemons below a folder."""


@contextmanager
def bench_here(
    campaign: Campaign,
    *,
    gpu: str | None = None,
    without_mps: bool = False,
    root: Path | None = None,
    allow_root: bool = False,
    mps_control: str | None = None,
    dialect: Dialect = "v2",
    made: Made | None = None,
) -> Iterator[ProcessBench]:
    """Yield a bench for a campaign, and leave the GPU as it was found.

    Parameters
    ----------
    campaign
        What is to be measured.
    gpu
        UUID; needed where there are several.
    without_mps
        Whether to measure without a daemon: one workload at a time, at 100 %.
    root
        Folder of the executor's state.
    allow_root
        Whether to work as root, too.
    mps_control
        Path of the control program of MPS; looked for when left out.
    dialect
        What a daemon that is started here speaks.
    made
        Makes the ports; the real ones when left out.
    """
    gpus, daemons_below = (made or (lambda: _real(mps_control, dialect, allow_root=allow_root)))()
    facts = chosen_gpu(gpus.facts(), gpu)
    about = GpuAbout(
        gpu_type=campaign.gpu_type or gpu_type_of(facts),
        name=facts.name,
        uuid=facts.uuid,
        driver=facts.driver,
        mps=not without_mps,
    )
    programs: Mapping[str, Workload] = campaign.programs()
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="colocate-measure-"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        shares = None
        if not without_mps:
            from colocate.executor.apply.lock import Lock
            from colocate.executor.apply.node import default_root, prepare_root, refuse_root

            refuse_root(allow=allow_root)
            below = prepare_root(root or default_root())
            undo.enter_context(Lock(below, "measure"))
            shares = MpsShares(daemons_below(below), facts.uuid)
            undo.callback(shares.stop)
            shares.start()
        bench = ProcessBench(
            programs,
            about,
            folder,
            shares=shares,
            gpus=gpus,
            parked=campaign.effort.parked,
        )
        undo.callback(bench.close)
        yield bench


def chosen_gpu(facts: Sequence[GpuFacts], uuid: str | None) -> GpuFacts:
    """Return the GPU that is meant.

    Raises
    ------
    InputError
        When it is not there, or there are several and none was named.
    """
    if not facts:
        raise InputError("this machine has no NVIDIA GPU", advice="measure where there is one.")
    found = [f for f in facts if uuid in (None, f.uuid)]
    listed = ", ".join(f"{f.uuid} ({f.name})" for f in facts)
    if not found:
        raise InputError(f"no GPU here is {uuid!r}", advice=f"name one of {listed}.")
    if len(found) > 1:
        raise InputError(
            f"this machine has {len(found)} GPUs", advice=f"say which (--gpu): {listed}."
        )
    if found[0].mig:
        raise InputError(
            f"GPU {found[0].uuid} is split by MIG", advice="measure on a GPU that is whole."
        )
    return found[0]


def gpu_type_of(facts: GpuFacts) -> str:
    """Return a name for a type of GPU, made of what the driver calls it.

    >>> gpu_type_of(GpuFacts(uuid="", name="NVIDIA A100-SXM4-40GB", memory_mib=0,
    ...                      compute_mode="", mig=False, driver=""))
    'A100-SXM4-40GB'
    """
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", facts.name.removeprefix("NVIDIA ")).strip("-._")
    return words[:63] or "GPU"


def _real(
    mps_control: str | None, dialect: Dialect, *, allow_root: bool
) -> tuple[Gpus, Callable[[Path], Daemons]]:
    from colocate.executor.mps import NodeDaemons
    from colocate.executor.nvml import NvmlGpus
    from colocate.executor.nvml.dcgm import find_dcgm

    gpus = WithActivity(NvmlGpus(dcgm=find_dcgm()))
    return gpus, lambda root: NodeDaemons(
        root, mps_control, allow_root=allow_root, gpus=gpus, dialect=dialect
    )
