"""How the tests run: hypothesis profiles, and which slow or GPU tests take part."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is imported: threads of the linear algebra library would only wait for each other on
# the small matrices here, and make the tests several times slower.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A wall-clock deadline per example would make slow machines fail, so none is set.
settings.register_profile(
    "ci",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=2000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--deep",
        action="store_true",
        help="run the slow tests too, and many more examples of each property",
    )


def pytest_configure(config: pytest.Config) -> None:
    chosen_by_hand = config.getoption("--hypothesis-profile", default=None)
    if config.getoption("--deep") and not chosen_by_hand:
        settings.load_profile("deep")
    if not config.getoption("--deep"):
        # Not before the variables above are set.
        from colocate.testing import draw_from
        from tests.helpers import SEEDS

        draw_from(SEEDS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips: dict[str, pytest.MarkDecorator] = {}
    if not config.getoption("--deep"):
        skips["deep"] = pytest.mark.skip(reason="slow; run with --deep")
    if any("gpu" in item.keywords for item in items) and not _gpu_is_present():
        skips["gpu"] = pytest.mark.skip(reason="no NVIDIA GPU on this machine")
    for item in items:
        for name, skip in skips.items():
            if item.get_closest_marker(name):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _count_plans(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send along with a test's report how many plans it had judged."""
    from tests import counting

    yield
    counted = counting.take()
    if counted:
        request.node.user_properties.append(("plans", counted))


_judged: dict[str, list[int]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "teardown":
        return
    for name, counted in report.user_properties:
        if name == "plans" and isinstance(counted, dict):
            for solver, numbers in counted.items():
                so_far = _judged.setdefault(solver, [0, 0])
                for i, n in enumerate(numbers):
                    so_far[i] += n


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _judged:
        told = (f"{name} {bad} of {n}" for name, (n, bad) in sorted(_judged.items()))
        terminalreporter.write_line(f"invalid plans: {', '.join(told)}")


def _gpu_is_present() -> bool:
    nvidia_smi = shutil.which("nvidia-smi")
    if nvidia_smi is None:
        return False
    try:
        listed = subprocess.run(
            [nvidia_smi, "-L"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout
