"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def learnat_data() -> Path:
    """The folder with the real benchmarks (``spider/``, ``bird/``, ``parity/``); tests that need it skip without it."""
    root = os.environ.get("LEARNAT_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("LEARNAT_DATA is not set to a folder with spider/ and bird/: real-data tests are skipped")
    return Path(root)
