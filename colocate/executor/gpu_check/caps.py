"""Whether a share cap takes effect, and whether a memory limit holds."""

from __future__ import annotations

from typing import Any

from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import State
from colocate.executor.measure.link import CannotRunError
from colocate.executor.measure.runner import measure_point
from colocate.executor.measure.tenants import Tenant

__all__ = ["LIMITED", "PRODUCTS", "memory_limit", "share_caps"]

PRODUCTS = "matmul"
LIMITED = "matmul-limited"
BATCH = 8
RATE_WITHIN = 0.2
"""A product's rate follows the multiprocessors; clocks rise a little when fewer of them work."""
SM_WITHIN = 0.1
"""The multiprocessors that a client sees are a whole number of pairs or more: so far from the share
may they be, of all."""


def share_caps(state: State) -> Said:
    """Multiply matrices at several shares."""
    bench = state.need_bench()
    shares = state.sizes.caps if state.shares is not None else (100,)
    points: list[dict[str, Any]] = []
    for share in shares:
        if (PRODUCTS, share) in state.failed_starts or state.course.left_s < 5:
            continue
        tenant = Tenant(workload=PRODUCTS, batch=BATCH, share_pct=share)
        company = bench.enter([tenant])
        try:
            outcome = measure_point(company, bench, [tenant], state.sizes.effort)
        finally:
            company.leave()
        (one,) = outcome.measured
        seen = one.facts.sm_count
        if seen is not None:
            state.sm_counts[share] = seen
        points.append(
            {
                "share_pct": share,
                "rate": one.rate.value,
                "rate_low": one.rate.low,
                "rate_high": one.rate.high,
                "sm_count": seen,
                "sm_count_driver": one.facts.more.get("sm_count_driver"),
            }
        )
    if not points:
        raise NotPossibleError("no product could be measured")
    facts: dict[str, Any] = {"points": points}
    if state.shares is None:
        rate = points[0]["rate"]
        raise NotPossibleError(f"without MPS there are no caps; the whole GPU makes {rate:.4g}/s")
    whole = max(points, key=lambda p: p["share_pct"])
    wrong = []
    for point in points:
        part = point["share_pct"] / whole["share_pct"]
        seen_part = part
        if whole["sm_count"] and point["sm_count"]:
            seen_part = point["sm_count"] / whole["sm_count"]
            if abs(seen_part - part) > SM_WITHIN:
                wrong.append(f"{point['share_pct']} % sees {point['sm_count']} multiprocessors")
        point["rate_over_whole"] = point["rate"] / whole["rate"]
        point["sms_over_whole"] = seen_part
        # a cap is an upper limit: less than it is no breach, but then something else limits
        if point["rate_over_whole"] > seen_part * (1 + RATE_WITHIN) + 0.02:
            wrong.append(f"{point['share_pct']} % makes {point['rate_over_whole']:.0%} of the rate")
    if len(points) < 2:
        raise NotPossibleError("only one share could be measured")
    wrong += _keep_counts(state)
    smallest = min(points, key=lambda p: p["share_pct"])
    summary = (
        f"at {smallest['share_pct']} % a client sees {smallest['sm_count']} of "
        f"{whole['sm_count']} multiprocessors and makes {smallest['rate_over_whole']:.1%} of the "
        "products"
    )
    return Said(not wrong, "; ".join([summary, *wrong]), facts)


def _keep_counts(state: State) -> list[str]:
    """Write down how many multiprocessors each share gave; return which counts cannot be."""
    from colocate.errors import InputError
    from colocate.executor.mps.sms import SmTable, save_sm_table

    table, whole, wrong = SmTable(), state.sm_counts.get(100), []
    for share, seen in sorted(state.sm_counts.items()) if whole else ():
        assert whole is not None
        try:
            table = table.with_report(state.need_gpu().name, whole, share, seen)
        except InputError as refused:
            wrong.append(refused.message)
    if table.reported:
        save_sm_table(state.out / "sms.json", table)
    return wrong


def memory_limit(state: State) -> Said:
    """Let a limited process take memory below its limit, then beyond it."""
    bench = state.need_bench()
    state.need_mps()
    process = (LIMITED, 100)
    if process in state.failed_starts:
        raise NotPossibleError(f"the limited process did not start: {state.failed_starts[process]}")
    below, beyond = state.limit_mib // 4, 2 * state.limit_mib
    facts: dict[str, Any] = {"limit_mib": state.limit_mib}
    for name, mib in (("below", below), ("beyond", beyond)):
        try:
            bench.ask(process, {"do": "take", "mib": mib})
            facts[name] = {"mib": mib, "taken": True}
        except CannotRunError as refused:
            facts[name] = {"mib": mib, "taken": False, "why": refused.message}
    free = (PRODUCTS, 100)
    if free not in state.failed_starts:
        try:
            bench.ask(free, {"do": "take", "mib": beyond})
            facts["without_limit"] = {"mib": beyond, "taken": True}
        except CannotRunError as refused:
            facts["without_limit"] = {"mib": beyond, "taken": False, "why": refused.message}
    holds = facts["below"]["taken"] and not facts["beyond"]["taken"]
    proven = facts.get("without_limit", {}).get("taken", False)
    words = f"of a limit of {state.limit_mib} MiB, {below} MiB were " + (
        "given" if facts["below"]["taken"] else "refused"
    )
    words += f" and {beyond} MiB " + ("given" if facts["beyond"]["taken"] else "refused")
    if not proven:
        words += "; a process without a limit was not given so much either"
    return Said(holds and proven, words, facts)
