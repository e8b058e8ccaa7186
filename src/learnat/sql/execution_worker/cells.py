"""Cells of engines with more types than SQLite's five."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

_SCALARS = (str, int, float, Decimal, bytes, date, time, timedelta, UUID, type(None))


def hashable(cell: Any) -> Any:
    """A cell as rows are compared by: lists and structs as tuples, types of a driver's own as text."""
    if isinstance(cell, _SCALARS):
        return cell
    if isinstance(cell, (list, tuple)):
        return tuple(map(hashable, cell))
    if isinstance(cell, dict):
        return tuple((hashable(key), hashable(value)) for key, value in cell.items())
    return str(cell)
