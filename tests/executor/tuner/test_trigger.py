"""When another configuration is looked for: moves that count, and moves that do not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.tuner.search import BatchSearch
from colocate.executor.tuner.sources import Signal
from colocate.executor.tuner.trigger import TriggerSettings, Watch, look
from colocate.solvers.policies.gp_lcb import gp_lcb, standard_beta

SETTINGS = TriggerSettings(
    rate_up=0.2,
    rate_down=0.3,
    up_sustain_s=1,
    down_sustain_s=10,
    risk_pct=90,
    risk_sustain_s=3,
    settle_s=20,
)


def reasons(
    rates: list[float | None], p99: list[float | None] | None = None, *, watch: Watch | None = None
) -> dict[int, str]:
    """Return why, by the second in which it was said first; nothing is changed in between."""
    watch = watch or Watch(made_for_rps=100.0)
    found: dict[int, str] = {}
    for i, rate in enumerate(rates):
        signal = Signal(seconds=i, rate_rps=rate, p99_ms=None if p99 is None else p99[i])
        watch, why = look(watch, signal, 100.0, float(i), SETTINGS)
        if why is not None and why not in found.values():
            found[i] = why
    return found


def test_a_steady_load_is_no_reason():
    assert reasons([100, 110, 95, 119, 75, 100] * 20) == {}


def test_a_rise_counts_after_a_second():
    assert reasons([100, 130, 130, 130]) == {2: "rate_up"}


def test_a_jump_counts_at_once():
    assert reasons([100, 151]) == {1: "rate_up"}


def test_a_rise_for_one_look_does_not_count():
    assert reasons([100, 130, 100, 130, 100]) == {}


def test_a_fall_has_to_last():
    assert reasons([100, *[60] * 20]) == {11: "rate_down"}
    assert reasons([100, *[60] * 9, 90, *[60] * 9]) == {}


def test_what_a_lower_configuration_must_bear_is_the_highest_rate_of_the_fall():
    watch = Watch(made_for_rps=100.0)
    for i, rate in enumerate([100, 50, 69, 40]):
        watch, _ = look(watch, Signal(seconds=i, rate_rps=rate), 100.0, float(i), SETTINGS)
    assert watch.highest_rps == 69


def test_a_risk_has_to_last_too():
    assert reasons([100] * 5, [95.0] * 5) == {3: "slo_risk"}
    assert reasons([100] * 8, [95.0, 95, 80, 95, 95, 80, 95, 95]) == {}


def test_after_a_change_only_a_rise_counts_for_a_while():
    changed = Watch(made_for_rps=100.0, changed_at=0.0)
    assert reasons([100] * 30, [95.0] * 30, watch=changed) == {20: "slo_risk"}
    assert reasons([130] * 3, watch=changed) == {1: "rate_up"}


def test_a_source_that_is_silent_for_once_changes_nothing():
    assert reasons([100, *[60.0, None] * 8]) == {11: "rate_down"}
    assert reasons([None] * 50) == {}


def test_the_first_rate_is_a_reason_where_nothing_is_known():
    assert reasons([None, 50], watch=Watch()) == {1: "start"}


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 1000)), st.one_of(st.none(), st.floats(0, 500))
        ),
        max_size=60,
    )
)
def test_whatever_is_seen_reasons_are_grounded(signals):
    watch, changes = Watch(made_for_rps=100.0, changed_at=0.0), []
    for i, (rate, p99) in enumerate(signals):
        signal = Signal(seconds=i, rate_rps=rate, p99_ms=p99)
        watch, why = look(watch, signal, 100.0, float(i), SETTINGS)
        if why is None:
            continue
        assert watch.made_for_rps is not None
        if why == "rate_up":
            known = [r for r, _ in signals[: i + 1] if r is not None]
            assert known[-1] > watch.made_for_rps * 1.2
        changes.append((i, why))
        watch = watch.changed(float(i), max(rate or 0.0, 1.0))
    slow = [i for i, why in changes if why != "rate_up"]
    assert all(b - a >= SETTINGS.settle_s for a, b in pairwise(slow))


# -- the batch search --------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([1, 2, 4, 8, 16, 32, 64]), min_size=1, unique=True),
    st.data(),
)
def test_searching_step_by_step_is_the_search_of_the_policies(batches, data):
    """The same points in the same order, whatever is measured; some break the SLO."""
    import numpy as np

    costs: dict[int, float | None] = {
        b: data.draw(st.one_of(st.none(), st.floats(0.1, 10))) for b in batches
    }
    asked: list[int] = []
    order = sorted(batches)

    def measure(i: int) -> float | None:
        asked.append(order[i])
        return costs[order[i]]

    whole = gp_lcb(np.log2(order), measure, standard_beta, 10)
    search = BatchSearch(batches, most=10)
    tried = []
    while (batch := search.next()) is not None:
        assert batch not in tried
        tried.append(batch)
        search.tell(batch, costs[batch])
    assert tried == list(dict.fromkeys(asked))
    if whole is None:
        assert search.best is None
    else:
        assert search.best is not None
        assert costs[search.best] == whole.value


def test_an_empty_search_is_over():
    assert BatchSearch([]).next() is None
    assert BatchSearch([]).best is None
