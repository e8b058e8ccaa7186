"""The benchmark of scoring says why it measures nothing, and times whole processes in turn."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/evaluation.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_evaluation", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_data_it_says_so(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEARNAT_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["evaluation.py"])
    script.main()
    assert "skipped: LEARNAT_DATA names no folder with spider/" in capsys.readouterr().out


def test_commands_are_timed_with_their_children(script: ModuleType) -> None:
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    found = script.in_turn({"busy": [sys.executable, "-c", busy], "idle": [sys.executable, "-c", ""]})
    assert found["busy"].cpu_seconds >= 0.3 > 0
    assert found["busy"].seconds >= 0.3
    assert found["busy"].cpu_seconds > found["idle"].cpu_seconds
    with pytest.raises(SystemExit, match="failed"):
        script.timed([sys.executable, "-c", "raise SystemExit(3)"])
