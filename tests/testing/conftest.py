"""The kit itself is tested as others use it: with new instances each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colocate.testing import draw_from
from tests.helpers import SEEDS


@pytest.fixture(autouse=True)
def _all_instances(request: pytest.FixtureRequest) -> Iterator[None]:
    draw_from(None)
    yield
    draw_from(None if request.config.getoption("--deep") else SEEDS)
