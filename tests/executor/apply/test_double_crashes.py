"""kill -9 of the real thing: real processes and daemons (the MPS double), real state on disk."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterable

import pytest

from colocate.executor.apply.export_state import state_text
from colocate.executor.apply.status import standing_of
from tests.executor.apply.real_node import RealNode, real_node


def killed_at(node: RealNode, n: int, *words: str) -> bool:
    """Run until the n-th moment; say whether it came to that."""
    process = node.start(
        *(str(node.root), str(node.double.binary), node.dialect, str(n), *words),
        python=["-m", "tests.executor.apply.killed"],
    )
    err = process.communicate(timeout=600)[1]
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode != 0


def converges(dialect: str, moments: Iterable[int]) -> None:
    """Crash on the way from a first plan to a second, at each moment; then go on, and go back."""
    with real_node(dialect, gpus=1) as node:
        node.root.mkdir(mode=0o700)
        first = node.request(tasks=1)
        second = node.request(node.launch(env={"VERSION": "2"}), tasks=1, slo_ms=150.0)
        plan, _, instance, _, launch = node.files(
            node.launch(env={"VERSION": "2"}), tasks=1, slo_ms=150.0
        )
        operator = node.operator(first.launch)
        operator.apply(first)
        before = state_text(operator.look().observed)
        for n in moments:
            crashed = killed_at(node, n, plan, instance, launch)
            operator = node.operator(second.launch)
            standing = standing_of(node.root, operator.look())
            change = standing.situation.unfinished
            if change is not None:
                assert standing.word == "cut_off"
                node.operator().rollback()
                assert state_text(operator.look().observed) == before
                killed_at(node, n, plan, instance, launch)
                assert node.operator(second.launch).look().unfinished is not None
            node.operator(second.launch).apply(second)
            assert node.operator().check(second) == ()
            if not crashed:
                break
            node.operator().rollback()
            assert state_text(operator.look().observed) == before


def test_killed_once_on_the_way():
    """In the middle: the new service has just taken the requests from the old one."""
    converges("v2", [22])


@pytest.mark.deep
@pytest.mark.parametrize("time", range(20))
@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_killed_at_every_moment(dialect, time):
    converges(dialect, itertools.count())
