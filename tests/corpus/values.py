"""Values that are wrong by themselves, written one by one: no table of limits has these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.corpus.valid import GPU_A, SERVICE_PREDICTION, Case, Raw, damaged, path_of, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[str, str, Any, str]
"""Name, where, what to put there, words of the message."""

NUMBERS: list[Row] = [
    ("10^5 digits", "services[0].replicas", Raw("9" * 100_000), "(100000 characters) is beyond"),
    ("10^5 decimals", "services[0].slo_ms", Raw("0." + "0" * 100_000 + "1"), "too long"),
    ("beyond 2^53", "tasks[0].weight", 2**53 + 1, "9007199254740993 is beyond 2^53"),
    ("far below zero", "tasks[0].priority", -(2**53) - 1, "-9007199254740993 is beyond 2^53"),
    ("a decimal comma", "tasks[0].weight", "1,5", "a number, not '1,5'"),
    ("a number with its unit", "services[0].slo_ms", "300ms", "not '300ms'"),
    ("an SLO in words", "services[0].slo_ms", "0.3 s", "must be a number, not '0.3 s'"),
    ("negative zero", "services[0].slo_ms", Raw("-0.0"), "greater than 0, not -0.0"),
    ("too small for a float", "services[0].slo_ms", Raw("1e-400"), "greater than 0, not 0.0"),
    ("a confidence in percent", "confidence", 95, "less than 1, not 95"),
    ("a share as a fraction", "services[0].min_share_pct", 0.25, "whole number, not 0.25"),
    ("a percentile as a fraction above", "services[0].slo_percentile", 100, "less than 100"),
    ("a whole number with a point", "tasks[0].batch", 32.0, "whole number, not 32.0"),
    ("memory in bytes", "gpu_pools[0].memory_gib", 4 * 10**15, "less than or equal to"),
]
NAMES: list[Row] = [
    ("a command", "services[0].id", "a\nquit", "U+000A"),
    ("a carriage return", "services[0].id", "a\rb", "U+000D"),
    ("an escape sequence", "tasks[0].tenant", "\x1b[2J\x1b[1;31mroot", "(U+001B)"),
    ("a C1 control", "tasks[0].tenant", "a\x9b31m", "U+009B"),
    ("backwards", "tasks[0].tenant", "a\u202eb", "U+202E"),
    ("a line separator", "tasks[0].tenant", "a\u2028b", "U+2028"),
    ("half a character", "tasks[0].tenant", "a\ud800", "U+D800"),
    ("half a character in free text", "description", "\udfff", "U+DFFF"),
    ("a bell in free text", "description", "ring \x07", "U+0007"),
    ("a late bell in free text", "description", "x" * 9_990 + "\x07", "U+0007"),
    ("a control character in a parameter", "slo_model.params.mode", "a\x00", "U+0000"),
    ("a newline in a parameter", "slo_model.params.mode", "a\nb", "U+000A"),
    ("a list in a parameter", "slo_model.params.mode", [1], "true or false or a whole number"),
    ("a path", "gpu_pools[0].node", "../../etc", "must be a name"),
    ("a full-width digit", "tasks[0].tenant", "a\uff11", "must be a name"),
    ("spaces around", "tasks[0].tenant", " bob ", "must be a name"),
    ("a UUID in capitals", "gpu_pools[1].uuids[0]", GPU_A.upper(), "must match"),
    ("a UUID with a newline", "gpu_pools[1].uuids[0]", GPU_A + "\n", "U+000A"),
    ("a UUID without its prefix", "gpu_pools[1].uuids[0]", GPU_A[4:], "must match"),
    ("a wrong item in a column", "task_table.weight[1]", "2", "not '2'"),
    ("a zero in a column", "task_table.weight[1]", 0, "greater than 0"),
    ("a wrong name in a column", "task_table.tenant[1]", "c y", "must be a name"),
    ("no such family", "profiles[0].curve.family", "spline", "'piecewise_linear'"),
    ("no batch allowed", "services[0].batches", [], "must hold at least 1"),
    ("no points", "profiles[0].curve.batches[0].points", [], "must hold at least 1"),
    ("nobody on one side", "rules.anti_affinity[0].left", [], "must hold at least 1"),
    ("a huge run", "rules.locked[0].gpus", "0-1099511627775", "more than 100000000 ids"),
    ("a run that descends", "rules.locked[0].gpus", "0,3-1", "run '3-1' must ascend"),
    ("no profile files", "profile_files", None, "must be a list of file names, not null"),
    ("one profile file", "profile_files", "p.json", "must be a list of file names"),
    ("a number for a profile file", "profile_files", [1], "must be a file name, not 1"),
    ("too many profile files", "profile_files", ["p"] * 101, "101 files (limit 100)"),
    ("a profile file and no folder", "profile_files", ["p.json"], "no folder"),
]
UNKNOWN: list[tuple[str, str, str]] = [
    ("services[0]", "slo_s", "slo_ms"),
    ("services[0]", "slo_msec", "slo_ms"),
    ("services[0]", "rate_rpm", "rate_rps"),
    ("services[0]", "minimum_share_pct", "min_share_pct"),
    ("services[0]", "Replicas", "replicas"),
    ("gpu_pools[0]", "memory_gb", "memory_gib"),
    ("gpu_pools[0]", "memory_mib", "memory_gib"),
    ("gpu_pools[0]", "smcount", "sm_count"),
    ("tasks[0]", "gangsize", "gang_size"),
    ("task_table", "tenants", "tenant"),
    ("profiles[0].curve.batches[0].points[0]", "share", "share_pct"),
    ("profiles[1].curve.batches[0].lines[0]", "slop", "slope"),
    ("rules.quotas[0]", "max", "maximum"),
    ("interference.pairs[0]", "neighbor", "neighbour"),
    ("current[0].tasks[0]", "worker", "workers"),
]
"""Holder, wrong key, and the key that the advice must propose."""


def value_cases() -> Iterator[Case]:
    """Yield all of them."""
    for name, where, value, words in [*NUMBERS, *NAMES]:
        steps = steps_of(where)
        data = damaged("instance", {steps: value})
        yield Case(f"value: {name} at {where}", "instance", data, path_of(steps), words)
    for holder, wrong, _ in UNKNOWN:
        steps = (*steps_of(holder), wrong)
        data = damaged("instance", {steps: 1})
        yield Case(f"unknown: {holder}.{wrong}", "instance", data, path_of(steps), f"key '{wrong}'")
    for shown, key in (
        ('["a\ufffd"]', "a\x1b"),
        ('["tasks per gpu"]', "tasks per gpu"),
        ('["x\\"]"]', 'x"]'),
        (f'["{"x" * 60}..."]', "x" * 10_000),
    ):
        data = damaged("instance", {("rules", key): 1})
        yield Case(f"unknown: $.rules{shown}", "instance", data, f"$.rules{shown}")
    predicted = {**SERVICE_PREDICTION, "rate_rps": Raw("NaN")}
    at = ("placements", 0, "services", 0, "predicted")
    data = damaged("plan", {at: predicted})
    yield Case("value: a plan that predicts NaN", "plan", data, path_of((*at, "rate_rps")), "NaN")
    data = damaged("plan", {("seconds",): 3})
    yield Case("value: a plan with times", "plan", data, "$.seconds", "unknown key 'seconds'")
