"""Looking the least share up gives what trying every percentage gives, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.classes import classify
from colocate.configure import Configurator
from colocate.configure.least import LeastShares, steps_of
from colocate.configure.longest import longest_batch_time
from colocate.instance import Instance
from colocate.models.slo import SloModel, slo_model
from colocate.models.slo_fill import FillModel
from colocate.objectives.base import objective
from colocate.schema import Component
from colocate.task_facts import task_facts
from colocate.testing import any_instance
from tests.helpers import instance


def configurators(stated: Instance, slo: SloModel | None = None) -> list[Configurator]:
    classes = classify(stated)
    facts = task_facts(stated, classes.tasks.representative)
    model = slo_model(stated.slo_model) if slo is None else slo
    value = objective(stated.objective)
    return [Configurator(stated, classes, g, model, value, facts) for g in classes.gpus]


def edges(least: LeastShares, service: int, drawn: np.random.Generator) -> np.ndarray:
    """Slowdowns where some percentage just holds, a hair beside them, and others."""
    bears = least.borne(service)
    assert bears is not None
    at = bears[bears > 0]
    further = 1 + drawn.exponential(0.5, 20)
    return np.concatenate(
        [at, np.nextafter(at, 0.0), np.nextafter(at, np.inf), further, [1.0, np.inf, np.nan]]
    )


@settings(max_examples=60)
@given(any_instance(), st.integers(0, 1000))
def test_looking_up_is_trying(stated: Instance, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    for at in configurators(stated):
        least = LeastShares(at)
        for s, speed in enumerate(at.services):
            if speed is None:
                continue
            slowdown = edges(least, s, drawn)
            assert np.array_equal(least.by_batch(s, slowdown), least._trying(s, slowdown))
            # Beside memory that leaves room for all batches, some, exactly one more, or none.
            room = at.gpu.memory_gib
            held = np.concatenate([[0.0, room, np.inf], room - speed.memory_gib])
            memory = drawn.choice(held, slowdown.size)
            for gib in (memory, np.zeros(slowdown.size)):
                found = least.beside(s, slowdown, gib)
                tried = least._trying_beside(s, slowdown, gib)
                none = tried[2] < 0
                assert np.array_equal(found[2], tried[2])
                for one, other in zip(found[:2], tried[:2], strict=True):
                    assert np.array_equal(one[~none], other[~none])
        assert not least.tried


class FitfulModel(FillModel):
    """Against its contract, it dislikes some times of a batch and likes longer ones."""

    def allowed(self, *asked: Any) -> np.ndarray:
        batch, tau_hi, *_ = asked
        with np.errstate(invalid="ignore"):
            return np.asarray(super().allowed(*asked) & ((tau_hi * 64 / batch) % 2 >= 0.7))


def test_a_model_that_is_not_monotone_is_tried() -> None:
    stated = instance(services=[{"id": "x", "profile": "net", "rate_rps": 10.0, "slo_ms": 900.0}])
    (at,) = configurators(stated, FitfulModel(FitfulModel.Params()))
    least = LeastShares(at)
    slowdown = np.linspace(1, 3, 50)
    found = least.by_batch(0, slowdown)
    assert least.tried == {0}
    assert (found >= 0).any()
    assert (np.diff(found[:, 0]) < 0).any(), "more slowdown, and a smaller share: not monotone"
    speed = at.services[0]
    assert speed is not None
    for i, row in enumerate(found):
        for b, batch in enumerate(speed.batch.astype(float)):
            tau = batch * slowdown[i] / speed.rate_lo[b]
            one, limit = np.asarray(10.0), np.asarray(900.0)
            allowed = at.slo.allowed(np.asarray(batch), tau, one, limit, 99.0)
            assert row[b] == (np.flatnonzero(allowed)[0] if allowed.any() else -1)
    alone = at.settings(np.array([[0]]), 1)
    assert alone.size == (least.by_batch(0, np.ones(1)) >= 0).any()


@pytest.mark.parametrize("name", ["fill", "mudi", "queue"])
def test_the_longest_time_is_the_last_number_that_is_allowed(name: str) -> None:
    slo = slo_model(Component(name=name, params={}))
    drawn = np.random.default_rng(0)
    batch = drawn.integers(1, 64, 500).astype(float)
    rate, slo_ms = drawn.uniform(1, 200, 500), drawn.uniform(5, 2000, 500)
    longest = longest_batch_time(slo, batch, rate, slo_ms, 99.0)
    some = longest > 0
    assert some.sum() > 100
    assert slo.allowed(batch, longest, rate, slo_ms, 99.0)[some].all()
    beyond = np.nextafter(longest, np.inf)
    assert not slo.allowed(batch, beyond, rate, slo_ms, 99.0).any()


def test_steps_take_least_first_and_the_first_batch_of_equals() -> None:
    bears = np.array([[0.0, 2.0, 3.0, 3.0], [1.0, 2.0, 4.0, 5.0]])
    found = steps_of(bears, np.array([10, 20, 20, 30]))
    assert found.bears.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert found.batch.tolist() == [1, 0, 0, 1, 1, 0]
    assert found.grid.tolist() == [0, 1, 2, 2, 3, -1]
    assert found.takes.tolist() == [10, 20, 20, 20, 30, -1]


def test_what_was_tried_is_said() -> None:
    """By the configurator, and by the result where slowdowns depend on the knobs."""
    stated = instance(services=[{"id": "x", "profile": "net", "rate_rps": 10.0, "slo_ms": 900.0}])
    (fitful,) = configurators(stated, FitfulModel(FitfulModel.Params()))
    fitful.settings(np.array([[0]]), 1)
    (note,) = fitful.notes()
    assert "every percentage was tried for x" in note
    assert co.solve(stated, "greedy").notes == ()
    table = {
        "victim_batch": [1],
        "neighbour_batch": [8],
        "victim_share_pct": [50.0],
        "neighbour_share_pct": [25.0, 75.0],
        "slowdown": [1.1, 1.2],
    }
    pair = {"gpu_type": "A", "victim": "net", "neighbour": "train", "table": table}
    coupled = stated.replace(
        interference=co.Interference.model_validate({"default_slowdown": 1.1, "pairs": [pair]})
    )
    (note,) = co.solve(coupled, "greedy").notes
    assert "every combination of them was tried in 1 set of" in note
