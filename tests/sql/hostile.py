"""Statements that mean harm, generated from a seed: families of attacks, each in many variants.

``{other}`` in a text stands for a path beside the database.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.sql.hostile_load import ENDLESS, HEAVY, Family, one_instruction
from tests.sql.hostile_text import REFUSED

Outcome = Literal["error", "timeout", "bounded"]


@dataclass(frozen=True)
class Statement:
    """``expected``: an error, a time-out, or anything that ends in time and within the caps."""

    family: str
    sql: str
    expected: Outcome


def statements(seed: int, count: int) -> list[Statement]:
    """``count`` statements, a fixed number of the endless ones among them, in random order."""
    rng = random.Random(seed)
    found = [Statement(family, make(rng), "timeout") for family, make in ENDLESS.items() for _ in range(5)]
    found += [Statement("uninterruptible", one_instruction(rng), "timeout") for _ in range(4)]
    # What is refused at once comes three times as often as what may use up its time.
    quick: list[tuple[str, Family, Outcome]] = 3 * [(family, make, "error") for family, make in REFUSED.items()]
    quick += [(family, make, "bounded") for family, make in HEAVY.items()]
    while len(found) < count:
        family, make, outcome = quick[len(found) % len(quick)]
        sql = make(rng)
        # Prose with a statement behind it would be a statement.
        found.append(
            Statement(family, disguised(sql, rng) if outcome == "error" and family != "prose" else sql, outcome)
        )
    rng.shuffle(found)
    return found


def disguised(sql: str, rng: random.Random) -> str:
    """The statement with noise around it that must not get it past a guard."""
    before = rng.choice(["", "", "  \n\t", "-- harmless\n", "/* SELECT 1 */ ", ";", "\ufeff"])
    after = rng.choice(["", "", ";", " -- done", ";;", "; SELECT 1", "\n"])
    text = before + sql + after
    return text.swapcase() if rng.random() < 0.2 and "{other}" not in text else text


def invalid_bytes(seed: int, count: int) -> Iterator[bytes]:
    """Statements that are bytes and no UTF-8, as a caller that read a file wrongly would pass them."""
    rng = random.Random(seed)
    for _ in range(count):
        yield b"SELECT '" + bytes(rng.randint(128, 255) for _ in range(rng.randint(1, 30))) + b"' FROM item"
