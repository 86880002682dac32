"""The matrix by runs equals plain enumeration, for every pair, whatever binds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.classes import classify
from colocate.configure import Configurator
from colocate.configure.one_to_one import Pairs, enumerated, pair_worth, tolerated_slowdown
from colocate.configure.pairs import pairs_of, worth_of_pairs
from colocate.instance import Instance
from colocate.models.slo import slo_model
from colocate.objectives.base import objective
from colocate.schema import TOLERANCE, Component
from colocate.task_facts import facts_at, task_facts
from colocate.testing import any_instance


def configurators(stated: Instance) -> list[Configurator]:
    classes = classify(stated)
    facts = task_facts(stated, classes.tasks.representative)
    slo, value = slo_model(stated.slo_model), objective(stated.objective)
    return [Configurator(stated, classes, g, slo, value, facts) for g in classes.gpus]


def draw_pairs(seed: int) -> Pairs:
    """Small numbers on a coarse grid, so that ties and exact fits are common."""
    rng = np.random.default_rng(seed)
    n_services, n_tasks, kinds, batches, shares = rng.integers(1, 7, size=5).tolist()
    tolerated = rng.integers(0, 8, (n_services, batches, shares)) / 4.0
    tolerated[rng.random(tolerated.shape) < 0.1] = np.inf
    high = 1 + rng.integers(0, 4, (kinds, n_tasks)) / 4.0
    high[rng.random(high.shape) < 0.1] = rng.choice([np.nan, np.inf])
    memory = rng.integers(1, 6, (n_services, batches)).astype(float)
    memory[rng.random(memory.shape) < 0.1] = np.inf
    room = float(rng.choice([4.0, 7.0, 100.0]))
    tables = rng.integers(-2, 5, (kinds, shares, n_tasks)) / 2.0
    if rng.random() < 0.6:
        falls = np.sort(tables, axis=1)[:, ::-1]
        keep = rng.random(n_tasks) < 0.8
        tables[:, :, keep] = falls[:, :, keep]
    tables[rng.random(tables.shape) < 0.1] = -np.inf
    return Pairs(
        tolerated,
        memory,
        rng.integers(0, kinds, n_services),
        high,
        rng.integers(1, 4, n_tasks).astype(float),
        room,
        lambda kind: tables[kind],
    )


def plain(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Every pair, batch and share in turn; and the pairs in which memory excludes a batch."""
    shape = pairs.kind.size, pairs.task_memory.size
    found, binds = np.full(shape, -math.inf), np.zeros(shape, dtype=bool)
    for s, t in itertools.product(range(shape[0]), range(shape[1])):
        kind = int(pairs.kind[s])
        high = float(pairs.high[kind, t])
        for b, q in itertools.product(*map(range, pairs.tolerated.shape[1:])):
            needs = float(pairs.service_memory[s, b] + pairs.task_memory[t])
            if needs > pairs.room + TOLERANCE * max(1.0, pairs.room):
                binds[s, t] |= math.isfinite(needs)
                continue
            if math.isfinite(high) and high <= pairs.tolerated[s, b, q]:
                found[s, t] = max(found[s, t], float(pairs.worth(kind)[q, t]))
    return found, binds


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_runs_equal_enumeration(seed: int) -> None:
    """To the bit, in both widths; and what was enumerated is counted."""
    pairs = draw_pairs(seed)
    truth, binds = plain(pairs)
    for dtype in (np.float64, np.float32):
        found = pair_worth(pairs, dtype)
        assert found.worth.dtype == dtype
        assert np.array_equal(found.worth, truth.astype(dtype))
        assert np.array_equal(enumerated(pairs, dtype), truth.astype(dtype))
    rises = sum(
        int((np.diff(np.nan_to_num(pairs.worth(int(k)), neginf=-9), axis=0) > 0).any(axis=0).sum())
        for k in pairs.kind
    )
    assert found.not_monotone == rises
    assert found.memory_binds <= binds.sum()


def test_a_matrix_can_be_written_again() -> None:
    first, second = draw_pairs(1), draw_pairs(1)
    found = pair_worth(first)
    again = pair_worth(second, out=np.full_like(found.worth, np.nan))
    assert np.array_equal(found.worth, again.worth)


def test_nothing_is_enumerated_where_nothing_binds() -> None:
    pairs = Pairs(
        np.array([[[0.0, 1.5, 2.5]]]),
        np.array([[1.0]]),
        np.array([0]),
        np.array([[2.0, 1.0, 3.0]]),
        np.ones(3),
        16.0,
        lambda _: np.array([[9.0, 9.0, 9.0], [6.0, 6.0, 6.0], [3.0, 3.0, 3.0]]),
    )
    found = pair_worth(pairs)
    assert found.worth.tolist() == [[3.0, 6.0, -math.inf]]
    assert (found.memory_binds, found.not_monotone) == (0, 0)


def test_memory_that_excludes_the_quick_batch_is_seen() -> None:
    """The large batch bears more, but does not fit beside the heavy task."""
    pairs = Pairs(
        np.array([[[1.0, 1.0], [2.0, 2.0]]]),
        np.array([[1.0, 8.0]]),
        np.array([0]),
        np.array([[1.5, 1.5]]),
        np.array([2.0, 8.0]),
        10.0,
        lambda _: np.array([[2.0, 2.0], [1.0, 1.0]]),
    )
    found = pair_worth(pairs)
    assert found.worth.tolist() == [[2.0, -math.inf]]
    assert found.memory_binds == 1


@pytest.mark.parametrize("name", ["fill", "mudi", "queue"])
def test_what_is_tolerated_is_where_the_slo_ends(name: str) -> None:
    """A hair less is allowed by the SLO model itself, a hair more is not."""
    slo = slo_model(Component(name=name, params={}))
    rng = np.random.default_rng(3)
    n = 40
    batch = np.tile([1.0, 4.0, 16.0], (n, 1))
    rate = rng.uniform(20, 400, (n, 3, 5))
    rps, slo_ms = rng.uniform(1, 60, n), rng.uniform(20, 900, n)
    bears = tolerated_slowdown(slo, batch, rate, rps, slo_ms, 99.0)
    some = 0
    for hair, wanted in ((1 - 1e-12, True), (1 + 1e-12, False)):
        tau = batch[:, :, None] * bears * hair / rate
        allowed = slo.allowed(
            batch[:, :, None], tau, rps[:, None, None], slo_ms[:, None, None], 99.0
        )
        assert (allowed[bears > 0] == wanted).all()
        some += int((bears > 0).sum())
    assert some > 100
    shortest = slo.allowed(batch, np.full((n, 3), 1e-9), rps[:, None], slo_ms[:, None], 99.0)
    assert np.array_equal((bears > 0).all(axis=2), shortest)


@settings(max_examples=60)
@given(any_instance())
def test_the_matrix_is_what_the_columns_of_the_pairs_are_worth(stated: Instance) -> None:
    """Value, batch and share of the settings of every pair, and where there is no setting."""
    for at in configurators(stated):
        services = [s for s, speed in enumerate(at.services) if speed is not None]
        tasks = [t for t, speed in enumerate(at.tasks) if speed is not None and not at.is_gang[t]]
        pairs = np.array(list(itertools.product(services, tasks)), dtype=np.int64).reshape(-1, 2)
        asked = np.array(services, dtype=np.int64), np.array(tasks, dtype=np.int64)
        if at.variants.is_choice or (len(pairs) and at.coupled(pairs, 1).any()):
            with pytest.raises(ValueError, match="several batches"):
                worth_of_pairs(at, *asked)
            continue
        if at.share_counts.any():
            continue  # such tasks have more than one setting
        found = worth_of_pairs(at, *asked)
        chosen = at.settings(pairs, 1)
        value = np.full(len(pairs), -np.inf)
        task = pairs[chosen.set_index, 1]
        value[chosen.set_index] = at.value.placed_value(facts_at(at.facts, task), chosen.rate[:, 1])
        assert np.array_equal(found.worth.ravel(), value)
        assert np.array_equal(enumerated(pairs_of(at, *asked)).ravel(), value)
