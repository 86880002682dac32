"""Traces of clusters: Alibaba's "openb" pods and nodes, Philly's jobs, Muri's stage profiles.

- openb (cluster-trace-gpu-v2023): `openb_pod_list_*.csv` with `name, cpu_milli, memory_mib,
  num_gpu, gpu_milli, gpu_spec, qos, pod_phase, creation_time, deletion_time, scheduled_time`, and
  `openb_node_list_gpu_node.csv` with `sn, cpu_milli, memory_mib, gpu, model`. 1000 milli are one.
- Philly, as Sia and ElasticFlow keep it: `timestamp, duration, num_gpus, gpu_time, cluster`.
- Muri: `model_name, batch_size, num_gpu, iteration_time, resource_time_0` and so on.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, seconds
from colocate.datasets.traces import JobTrace, NodeList, PodTrace, StageProfiles
from colocate.errors import InputError, clean_text
from colocate.tables.raw import read_csv

__all__ = ["load_muri", "load_openb_nodes", "load_openb_pods", "load_philly"]


def load_openb_pods(folder: str | PathLike[str], *, variant: str = "default") -> PodTrace:
    """Read one list of pods, by creation; `variant` is the end of its name (`gpushare100`)."""
    if not variant.isalnum():
        raise InputError(
            f"{clean_text(variant, 60)!r} is no variant of the list of pods",
            advice="write 'default', or another ending of the files' names.",
        )
    name = f"openb_pod_list_{variant}.csv"
    raw = read_csv(file_in(folder, f"{name}.gz", name), ["name", "num_gpu", "gpu_milli"])
    created = raw.numbers("creation_time")
    start = np.nanmin(created) if len(raw) else 0.0
    pods = PodTrace(
        name=raw.text("name"),
        cpu=raw.numbers("cpu_milli") / 1000,
        memory_gib=raw.numbers("memory_mib") / 1024,
        gpus=raw.numbers("num_gpu"),
        gpu_share_pct=raw.numbers("gpu_milli") / 10,
        gpu_types=raw.text("gpu_spec"),
        qos=raw.text("qos"),
        phase=raw.text("pod_phase"),
        created_s=created - start,
        deleted_s=raw.numbers("deletion_time") - start,
        scheduled_s=raw.numbers("scheduled_time") - start,
    )
    ordered: PodTrace = pods.take(np.argsort(created, kind="stable"))
    return ordered


def load_openb_nodes(folder: str | PathLike[str]) -> NodeList:
    """Read the list of nodes."""
    names = ("openb_node_list_gpu_node.csv", "openb_node_list_all_node.csv")
    raw = read_csv(file_in(folder, *names), ["sn", "cpu_milli", "memory_mib", "gpu", "model"])
    return NodeList(
        name=raw.text("sn"),
        cpu=raw.numbers("cpu_milli") / 1000,
        memory_gib=raw.numbers("memory_mib") / 1024,
        gpus=raw.numbers("gpu"),
        gpu=raw.text("model"),
    )


def load_philly(folder: str | PathLike[str]) -> JobTrace:
    """Read the jobs, by submission."""
    raw = read_csv(file_in(folder, "philly.csv.gz", "philly.csv"), ["timestamp", "duration"])
    submitted = seconds(raw, "timestamp")
    jobs = JobTrace(
        submit_s=submitted,
        duration_s=raw.numbers("duration"),
        gpus=raw.numbers("num_gpus"),
        tenant=raw.text("cluster"),
    )
    ordered: JobTrace = jobs.take(np.argsort(submitted, kind="stable"))
    return ordered


def load_muri(folder: str | PathLike[str]) -> StageProfiles:
    """Read the stage profiles."""
    raw = read_csv(file_in(folder, "stage_profiles.csv"), ["model_name", "iteration_time"])
    stages = sorted(name for name in raw.columns if name.startswith("resource_time_"))
    return StageProfiles(
        workload=raw.text("model_name"),
        batch=raw.numbers("batch_size"),
        gpus=raw.numbers("num_gpu"),
        iteration_ms=raw.numbers("iteration_time"),
        stages_ms=np.stack([raw.numbers(name) for name in stages], axis=1)
        if stages
        else np.empty((len(raw), 0)),
    )
