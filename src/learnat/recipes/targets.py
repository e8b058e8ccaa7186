"""What the callable that a config names as its ``_target_`` takes."""

from __future__ import annotations

import importlib
import inspect


def takes(target: str, key: str) -> bool:
    """Whether ``target``, a dotted path, has a parameter called ``key``, or passes others on.

    So does one that cannot be imported or read: what is wrong with it is said where it is called.
    """
    module, _, name = target.rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, TypeError, ValueError):
        return True
    return key in parameters or any(item.kind is item.VAR_KEYWORD for item in parameters.values())
