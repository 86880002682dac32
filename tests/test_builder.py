"""The builder writes the same instances as files do, and leaves all checking to them."""

from __future__ import annotations

from typing import Any

import pytest

from colocate.builder import InstanceBuilder
from colocate.errors import InstanceError
from colocate.io import parse_instance
from tests.corpus.valid import GPU_A, GPU_B, INSTANCE, damaged


def demo() -> InstanceBuilder:
    return (
        InstanceBuilder("demo")
        .gpus("a100", "A100", count=2, memory_gib=40, sm_count=108)
        .inference("bert", "A100", {16: {100: 900, 20: 260}, 4: {20: 90.5}}, memory_gib={16: 3})
        .training("vgg", "A100", {512: {10: 180}}, memory_gib={512: 9})
        .service("search", "bert", rate_rps=200, slo_ms=330)
        .task("vgg", batch=512)
    )


def test_everything_that_a_file_can_say_can_be_built() -> None:
    """The base of the corpus again, without tables and what runs now."""
    file = parse_instance(
        damaged(
            "instance",
            {
                ("service_table",): None,
                ("task_table",): None,
                ("current",): None,
                ("rules", "moves"): None,
                ("rules", "locked"): [],
                ("rules", "anti_affinity"): [{"left": ["s0"], "right": ["s1", "t0"]}],
            },
        )
    )
    base = INSTANCE
    s0, s1 = (dict(s) for s in base["services"])
    pool_a, task = dict(base["gpu_pools"][0]), dict(base["tasks"][0])
    b = InstanceBuilder(
        "base",
        description=base["description"],
        slo_model="fill",
        slo_params={"rho_max": 0.9},
        confidence=0.5,
        objective="throughput",
    )
    b.gpus(pool_a.pop("id"), pool_a.pop("gpu_type"), **pool_a)
    b.gpus("b", "A100", uuids=[GPU_A, GPU_B], memory_gib=40, sm_count=100)
    b.inference(
        "bert",
        "A100",
        {16: {100.0: 90.5, 10: 50}},
        memory_gib={16: 2},
        rate_error=[{"confidence": 0.9, "relative": 0.1}],
        evidence="measured",
    )
    b.training("vgg", "A100", {32: [(-1.0, 2.0)]}, memory_gib={32: 4}, min_share_pct=5)
    b.service(s0.pop("id"), s0.pop("profile"), **s0).service(s1.pop("id"), s1.pop("profile"), **s1)
    b.task(task.pop("id"), task.pop("profile"), **task)
    errors = [{"confidence": 0.9, "relative": 0.1}]
    b.slowdown("bert", "vgg", 1.3, gpu_type="A100", error=errors, evidence="regressed")
    over: dict[str, list[float]] = {"victim_batch": [32], "neighbour_batch": [4, 16]}
    over |= {"victim_share_pct": [50], "neighbour_share_pct": [25, 75.5]}
    over |= {"slowdown": [1, 1.1, 1.2, 1.3]}
    b.slowdown("vgg", "bert", gpu_type="A100", table=over)
    b.slowdown(default=1.2, error=errors)
    b.rules(services_per_gpu=1, tasks_per_gpu=1, workloads_per_gpu=2, tenants_per_gpu=2)
    b.rules(blast_radius={"max_replicas_per_node": 2})
    b.quota("bob", unit="tasks", maximum=2, minimum=0).keep_apart("s0", ["t0", "s1"])
    b.constraint("memory", slack=1)
    built = b.build()
    assert built.model_dump() == file.model_dump()
    assert built.sha256 == file.sha256


def test_profile_has_the_name_of_its_task_unless_given() -> None:
    instance = demo().build()
    assert instance.task("vgg").profile == "vgg"
    assert instance.service("search").profile == "bert"


def test_points_and_batches_may_be_given_in_any_order() -> None:
    curve = demo().build().profiles[0].curve
    assert [b.batch for b in curve.batches] == [4, 16]
    assert [p.share_pct for p in curve.batches[1].points] == [20.0, 100.0]  # type: ignore[union-attr]


def test_builder_can_go_on_after_building() -> None:
    builder = demo()
    first = builder.build()
    before = first.sha256
    second = builder.gpus("more", "A100", count=1, memory_gib=40, sm_count=108).build()
    builder.rules(tasks_per_gpu=2).slowdown(default=1.1)
    assert (first.gpu_count, second.gpu_count) == (2, 3)
    assert first.replace().sha256 == before
    assert second.rules.tasks_per_gpu == 1
    assert builder.build().rules.tasks_per_gpu == 2


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda b: b.service("x", "gpt", rate_rps=1, slo_ms=1), "$.services[1].profile"),
        (lambda b: b.service("x", "bert", rate_rps=1, slo_s=1), "$.services[1].slo_ms"),
        (lambda b: b.task("x", "vgg", batch=512, colour="red"), "$.tasks[1].colour"),
        (lambda b: b.gpus("a100", "A100", count=1, memory_gib=1, sm_count=1), "$.gpu_pools[1]"),
        (lambda b: b.training("x", "A100", {}), "$.profiles[2].curve.batches"),
        (
            lambda b: b.training("x", "A100", {8: {10: -1}}),
            "$.profiles[2].curve.batches[0].points[0].rate",
        ),
        (lambda b: b.slowdown("bert", None, 1.5), "$.interference.pairs[0]"),
        (lambda b: b.quota("nobody", maximum=1), "$.rules.quotas[0].tenant"),
        (lambda b: b.keep_apart("search", "nobody"), "$.rules.anti_affinity[0].right[0]"),
        (lambda b: b.constraint("has space"), "$.constraints[0].name"),
        (lambda b: b.rules(colour="red"), "$.rules.colour"),
    ],
)
def test_mistakes_are_told_as_for_a_file(change: Any, path: str) -> None:
    with pytest.raises(InstanceError) as caught:
        change(demo()).build()
    paths = [p.path or "" for p in (caught.value, *caught.value.more)]
    assert any(p.startswith(path) for p in paths), paths


def test_points_and_lines_do_not_mix() -> None:
    with pytest.raises(InstanceError, match="'x' on 'A100' mixes points and lines") as caught:
        demo().training("x", "A100", {8: {10: 1}, 16: [(0.0, 1.0)]})
    assert caught.value.path == "$.profiles[2].curve"
