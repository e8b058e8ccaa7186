"""Checks of configured numbers and addresses, with messages that name the key and what it takes."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from learnat.errors import LearnatError


def is_count(value: object, least: int = 1, most: int | None = None) -> bool:
    """Whether ``value`` is a whole number from ``least`` (to ``most``); true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most)


def check_count(key: str, value: object, most: int | None = None, optional: bool = False, least: int = 1) -> None:
    """Raise ``LearnatError`` unless ``value`` is a whole number from ``least`` (to ``most``), or None where allowed."""
    if value is None and optional:
        return
    if not is_count(value, least, most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise LearnatError(f"{key}={value} must be a whole number {bounds}{', or null for no limit' * optional}.")


def check_flag(key: str, value: object) -> None:
    """Raise ``LearnatError`` unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise LearnatError(f"{key}={'null' if value is None else value} must be true or false.")


def check_number(key: str, value: object, least: float, below: float = math.inf) -> None:
    """Raise ``LearnatError`` unless ``value`` is a number in [``least``, ``below``)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < below:
        bounds = f"of at least {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"
        raise LearnatError(f"{key}={value} must be a number {bounds}.")


def check_positive(key: str, value: object) -> None:
    """Raise ``LearnatError`` unless ``value`` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise LearnatError(f"{key}={value} must be a number above 0.")


def check_seed(key: str, value: object) -> None:
    """Raise ``LearnatError`` unless ``value`` is a whole number that NumPy and PyTorch, too, take as a seed."""
    check_count(key, value, least=0, most=2**32 - 1)


def check_share(key: str, value: object) -> None:
    """Raise ``LearnatError`` unless ``value`` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise LearnatError(f"{key}={value} must be a number from 0 to 1.")


def check_address(key: str, value: object) -> None:
    """Raise ``LearnatError`` unless ``value`` is a server's address, without a password."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts is not None and parts.username is not None:
            raise LearnatError(
                f"{key} holds a user's name or password, and would be written into the run folder: leave it out. A key "
                "belongs into an environment variable, which api_key_env names."
            )
        if parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0:
            return
    except ValueError:  # a port that is no number
        pass
    raise LearnatError(f"{key}={value!r} is no server's address: write it as in http://localhost:8000/v1.")


def name_of(key: str, value: object, what: str) -> str:
    """``value`` as a text: what YAML reads as a number is a name, too.

    Raises ``LearnatError`` for what is no name of one thing; ``what`` says which it should be.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise LearnatError(f"{key}={shown(value)} must be {what}.")
    return value


def shown(value: object) -> str:
    """``value`` as a command line has it."""
    return "null" if value is None else str(value) or "''"


def check_variable(key: str, value: object) -> None:
    """Raise ``LearnatError``, without telling ``value``, unless it is None or an environment variable's name."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII)):
        raise LearnatError(
            f"{key} is the name of an environment variable that holds the key, such as OPENAI_API_KEY, and not the key "
            f"itself, which would be written into the run folder: export OPENAI_API_KEY=…, then {key}=OPENAI_API_KEY."
        )
