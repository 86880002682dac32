"""A node in each dialect, cleaned away with everything that was started on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.executor.mps.bench import Node
from tests.fakes.double import short_folder


@pytest.fixture(params=["v2", "v3"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with short_folder() as folder:
        made = Node(folder, request.param)
        yield made
        made.close()


@pytest.fixture
def node_v2() -> Iterator[Node]:
    with short_folder() as folder:
        made = Node(folder, "v2")
        yield made
        made.close()
