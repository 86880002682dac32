"""The launch file, as the executor uses it; its format is in `colocate.launch`."""

from __future__ import annotations

from colocate.io import dumps_launch, load_launch, parse_launch
from colocate.launch import LaunchFile, Program

__all__ = ["LaunchFile", "Program", "dumps_launch", "load_launch", "parse_launch"]
