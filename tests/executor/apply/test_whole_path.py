"""The whole path, from a solved plan to real processes and back, on the MPS double."""

from __future__ import annotations

import pytest

from tests.executor.apply.real_node import real_node


@pytest.mark.parametrize("dialect", ["v2", pytest.param("v3", marks=pytest.mark.deep)])
def test_eight_gpus_there_and_back(dialect):
    with real_node(dialect, gpus=8) as node:
        request = node.request(tasks=2)
        assert len(request.units) == 10
        operator = node.operator(request.launch)
        from colocate.executor.apply.export_state import state_text

        before = state_text(operator.look().observed)
        assert operator.check(request)

        outcome = operator.apply(request)
        assert outcome.steps
        assert operator.check(request) == ()
        assert operator.check() == ()
        seen = operator.look().observed
        assert sorted(seen.units) == sorted(unit.key for unit in request.units)
        assert all(unit.member for unit in seen.units.values())

        said = len(node.double.changes())
        again = node.operator(request.launch).apply(request)
        assert again.steps == ()
        assert node.double.changes()[said:] == []

        back = node.operator().rollback()
        assert back.steps
        assert state_text(operator.look().observed) == before
        assert node.double.daemons() == []
        assert node.left() == []
