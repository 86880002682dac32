"""What the tasks of a column are worth, less their prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from colocate.objectives.base import Objective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.judge.classes import TaskClass

    Floats = NDArray[np.float64]

__all__ = ["value_of_task", "worth_of_task"]


def worth_of_task(objective: Objective, task: TaskClass, rate: Floats) -> Floats:
    """Return the reduced value of one worker at each rate, without the price of its share."""
    value = value_of_task(objective, task, rate)
    ends = {end for low, high, _ in task.charges for end in (low, high)}
    for end in ends:
        if 0 < end < np.inf:
            # What is charged for more progress must not make less worth more: nothing may fall as
            # the rate grows. The best up to where charges change holds beyond it.
            before = value_of_task(objective, task, np.array([end]))[0]
            value = np.where(rate > end, np.maximum(value, before), value)
    if task.gang_size == 1:
        return np.asarray(value - task.task_price)
    return _worker_pay(task, rate, value)


def value_of_task(objective: Objective, task: TaskClass, rate: Floats) -> Floats:
    """Return what a task is worth at each rate, less what its box charges for its progress."""
    value = objective.placed_value(task.facts, rate.ravel()).reshape(rate.shape)
    for low, high, charge in task.charges:
        value = value - np.where((rate > low) & (rate <= high), charge, 0.0)
    return np.asarray(value)


def _worker_pay(task: TaskClass, rate: Floats, value: Floats) -> Floats:
    """Return eta: what a gang pays a worker at each rate.

    That is the price of the highest level reached, but at least an even part of the gang's value
    beyond the gang's own price, so that no gang is worth more than it pays. It never falls as the
    rate grows, as the argument of the bound needs.
    """
    even = (value - task.gang_price) / task.gang_size
    if not task.levels:
        return even
    rates, prices = np.array(task.levels).T
    listed = np.concatenate(([-np.inf], prices))[np.searchsorted(rates, rate, side="right")]
    return np.maximum(even, listed)
