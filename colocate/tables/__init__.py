"""Measurements: the profile table, how it is read and written, and others' files as such tables."""

from colocate.tables.columns import COLUMNS, Column
from colocate.tables.table import Neighbour, ProfileTable

__all__ = ["COLUMNS", "Column", "Neighbour", "ProfileTable"]
