"""Walks over a config's keys by their dotted paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths, from ``path`` on, and values of ``node`` and all keys below it; a config's own path is empty."""
    if path:
        yield path, node
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from nodes(value, f"{path}.{key}" if path else str(key))


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Those of ``nodes`` that are no mapping with keys of its own."""
    return ((at, value) for at, value in nodes(node, path) if not (isinstance(value, Mapping) and value))
