"""What to measure next: the runs whose outcome could change the plan most."""

from colocate.advice.next_measurements import Advice, next_measurements
from colocate.advice.runs import Run, Tenant, queries

__all__ = ["Advice", "Run", "Tenant", "next_measurements", "queries"]
