"""The workloads of the Mudi paper (EuroSys'25) on its test bed, with made-up curves.

From the paper: the six services with their SLOs and batch sizes (Table 1), the nine training types
with their batch sizes and their mix (Table 3), three nodes with four A100-40GB each. Made up:
rate curves, memory, slowdowns and error bounds (see `colocate.datasets.parametric`), and the
arrival rates, which lie between the paper's mean of 200 requests/s and the highest rates it reports
under SLO (980 to 1600).
"""

from __future__ import annotations

from colocate.datasets.parametric import Workload, inference_profile, pairs, training_profile
from colocate.instance import GpuPool, Instance, Rules, Service, Task
from colocate.profile import Interference
from colocate.schema import Component

GPU = "a100-40gb"
BATCHES = (16, 32, 64, 128, 256, 512)

# name, SLO ms, arrivals/s, workload(rate, half share, batch half, GiB, MiB/sample, sens., press.)
SERVICES = (
    ("resnet50", 150.0, 1300.0, Workload("resnet50-inference", 2600, 22, 14, 1.6, 12, 0.6, 0.35)),
    ("inception", 120.0, 1000.0, Workload("inception-inference", 2200, 26, 14, 1.5, 12, 0.7, 0.4)),
    ("gpt2", 100.0, 560.0, Workload("gpt2-inference", 1350, 14, 10, 3.4, 60, 0.48, 0.2)),
    ("bert", 330.0, 560.0, Workload("bert-inference", 1050, 40, 12, 2.2, 48, 0.5, 0.45)),
    ("roberta", 110.0, 420.0, Workload("roberta-inference", 1500, 30, 12, 2.3, 48, 0.55, 0.25)),
    ("yolos", 2200.0, 300.0, Workload("yolos-inference", 640, 45, 24, 2.0, 80, 0.45, 0.6)),
)

# name, fraction %, batch, workload
TASKS = (
    ("vgg16", 14, 512, Workload("vgg16-cifar10", 14500, 34, 200, 2.6, 6, 0.5, 0.55)),
    ("squeezenet", 14, 512, Workload("squeezenet-cifar10", 30000, 16, 260, 2.0, 4, 0.75, 0.42)),
    ("resnet50-train", 14, 1024, Workload("resnet50-cifar100", 9000, 42, 300, 3.0, 9, 0.5, 0.62)),
    ("ncf", 12, 1024, Workload("ncf-movielens", 400000, 6, 600, 2.2, 0.5, 0.7, 0.15)),
    ("lstm", 12, 256, Workload("lstm-wikitext2", 4200, 13, 120, 2.4, 14, 0.7, 0.3)),
    ("ad-gcl", 12, 64, Workload("ad-gcl-reddit", 1300, 9, 40, 3.2, 70, 0.74, 0.36)),
    ("bert-train", 12, 32, Workload("bert-squad", 130, 75, 10, 7.0, 640, 0.3, 0.62)),
    ("yolov5", 10, 64, Workload("yolov5-coco", 420, 55, 20, 4.0, 400, 0.35, 0.64)),
    ("resnet18", 2, 128, Workload("resnet18-imagenet", 2600, 48, 40, 2.5, 50, 0.4, 0.6)),
)

COUNT = 16
"""Tasks dealt by the paper's fractions; the rarest kind gets one more, so that all nine occur."""

DESCRIPTION = (
    "The six inference services and nine training types of the Mudi paper (EuroSys'25) on its test "
    "bed of three nodes with four A100-40GB each, two replicas of each service. SLOs, batch sizes "
    "and the mix of tasks are the paper's. Rate curves, memory, slowdowns, error bounds and "
    "arrival rates are plausible but made up, not measured; they carry the evidence `constant`. "
    "There are more tasks than GPUs, and not every task fits beside every service."
)


def mix(total: int) -> list[int]:
    """Return how many tasks of each kind there are: largest remainders, and at least one each."""
    exact = [total * fraction / 100 for _, fraction, _, _ in TASKS]
    counts = [int(x) for x in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return [max(1, n) for n in counts]


def build() -> Instance:
    """Return the instance."""
    inference = [w for _, _, _, w in SERVICES]
    training = [w for _, _, _, w in TASKS]
    return Instance(
        name="quickstart",
        description=DESCRIPTION,
        slo_model=Component(name="fill"),
        confidence=0.95,
        objective=Component(name="throughput"),
        gpu_pools=tuple(
            GpuPool(
                id=f"node-{i}",
                gpu_type=GPU,
                count=4,
                memory_gib=40.0,
                reserve_gib=1.0,
                sm_count=108,
                node=f"node-{i}",
            )
            for i in range(3)
        ),
        services=tuple(
            Service(id=name, profile=w.name, replicas=2, rate_rps=rate, slo_ms=slo, batches=BATCHES)
            for name, slo, rate, w in SERVICES
        ),
        tasks=tuple(
            Task(id=name, profile=w.name, count=n, batch=batch)
            for (name, _, batch, w), n in zip(TASKS, mix(COUNT), strict=True)
        ),
        profiles=(
            *(inference_profile(w, GPU, BATCHES) for w in inference),
            *(training_profile(w, GPU, batch) for _, _, batch, w in TASKS),
        ),
        interference=Interference(
            pairs=(*pairs(inference, training, GPU), *pairs(training, inference, GPU))
        ),
        rules=Rules(services_per_gpu=1, tasks_per_gpu=1),
    )
