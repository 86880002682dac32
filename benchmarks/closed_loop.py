"""Guard and tuner in closed loop against a simulated GPU, beside the plan left as it is.

    python benchmarks/closed_loop.py [--seeds N] [--picture FILE.svg] [--quick]

Each line is one course of events on one GPU: a service beside a training task, for an hour. What is
counted: the share of requests that took longer than the SLO, or were never answered; how long
nothing trained at most, beside the longest calm-down; how often the guard changed its state and the
tuner the settings; how much was trained, over what the plan undisturbed would have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from _measure import Row, show

from colocate.executor.simulated.closed_loop import Figures, run
from colocate.executor.simulated.example import example_instance
from colocate.executor.simulated.scenario import Scenario

HOUR = Scenario(name="", seconds=3600.0)
SCENARIOS = (
    replace(HOUR, name="nothing happens"),
    replace(HOUR, name="3x burst, 20 s ramps", burst_at=600.0, ramp_s=20.0),
    replace(HOUR, name="3x burst, a step", burst_at=600.0),
    replace(HOUR, name="25 % slower", drift_at=1500.0),
    replace(HOUR, name="crash", crash_at=2700.0),
    replace(HOUR, name="crash loop", crash_at=2700.0, crash_again_s=25.0, crashes=12),
    replace(
        HOUR,
        name="burst (ramps), drift, crash",
        burst_at=600.0,
        ramp_s=20.0,
        drift_at=1500.0,
        crash_at=2700.0,
    ),
    replace(
        HOUR,
        name="burst (step), drift, crash",
        burst_at=600.0,
        drift_at=1500.0,
        crash_at=2700.0,
    ),
)


def table(scenarios: Sequence[Scenario], seeds: int) -> list[Row]:
    """Return a row for each scenario; where there are several seeds, the worst of each number."""
    instance = example_instance()
    rows: list[Row] = []
    for scenario in scenarios:
        fixed = [run(instance, scenario, guarded=False, seed=s) for s in range(seeds)]
        kept = [run(instance, scenario, guarded=True, seed=s) for s in range(seeds)]
        rows.append(_row(scenario.name, fixed, kept))
    return rows


def _row(name: str, fixed: Sequence[Figures], kept: Sequence[Figures]) -> Row:
    return {
        "scenario": name,
        "fixed over SLO %": round(max(f.over_pct for f in fixed), 2),
        "guard+tuner over SLO %": round(max(f.over_pct for f in kept), 2),
        "longest idle s": round(max(f.longest_idle_s for f in kept), 1),
        "calm-down s": kept[0].calm_most_s,
        "state changes": max(f.state_changes for f in kept),
        "setting changes": max(f.setting_changes for f in kept),
        "fixed trained": round(min(float(f.trained) for f in fixed), 3),
        "trained": round(min(float(f.trained) for f in kept), 3),
    }


def picture(path: Path) -> None:
    """Write the course of the hardest scenario: load, requests over the SLO, training."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "closed-loop"
    from matplotlib import pyplot as plt

    scenario = SCENARIOS[-1]
    runs = {
        "plan as it is": run(example_instance(), scenario, guarded=False),
        "guard and tuner": run(example_instance(), scenario, guarded=True),
    }
    figure, axes = plt.subplots(3, 1, figsize=(8, 6), sharex=True, layout="constrained")
    for (name, found), colour in zip(runs.items(), ("#b0561f", "#1f6fb0"), strict=True):
        minutes = [t / 60 for t, _, _, _ in found.course]
        late = _smooth([100 * part for _, _, part, _ in found.course])
        trained = _smooth([rate for _, _, _, rate in found.course])
        axes[1].plot(minutes, late, color=colour, label=f"{name}: {found.over_pct:.2f} %")
        axes[2].plot(minutes, trained, color=colour, label=name)
        if name == "plan as it is":
            axes[0].plot(minutes, _smooth([n for _, n, _, _ in found.course]), color="#555555")
    axes[0].set_ylabel("requests/s")
    axes[1].set_ylabel("over the SLO, %")
    axes[2].set_ylabel("training, samples/s")
    axes[2].set_xlabel("minutes")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _smooth(values: Sequence[float], window: int = 10) -> list[float]:
    return [
        sum(values[max(0, i - window + 1) : i + 1]) / min(window, i + 1) for i in range(len(values))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, with other arrivals")
    parser.add_argument("--picture", type=Path, help="SVG of the hardest scenario (matplotlib)")
    parser.add_argument("--quick", action="store_true", help="ten minutes in place of an hour")
    chosen = parser.parse_args()
    scenarios = SCENARIOS
    if chosen.quick:
        scenarios = tuple(
            replace(
                s,
                seconds=600.0,
                burst_at=None if s.burst_at is None else 60.0,
                burst_s=60.0,
                drift_at=None if s.drift_at is None else 200.0,
                crash_at=None if s.crash_at is None else 450.0,
            )
            for s in SCENARIOS
        )
    show("closed loop, one GPU", table(scenarios, chosen.seeds))
    if chosen.picture is not None:
        picture(chosen.picture)


if __name__ == "__main__":
    main()
