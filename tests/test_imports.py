"""What imports what: rooms depend one way, and SQL and synthesis work without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "learnat"
# A room may import from its own level's rooms to the left of it and from all levels below.
LEVELS = [
    {"errors"},
    {"sql"},
    {"benchmarks"},
    {"synthesis"},
    {"training", "inference"},
    {"evaluation"},
    {"reporting"},
    {"recipes"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def imported_rooms(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "learnat" else []
            modules = names or [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        found.update(module.split(".")[1] for module in modules if module.startswith("learnat."))
    found.discard("__version__")
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(SOURCE).with_suffix("").parts[0]
    if room == "__init__":
        assert not imported_rooms(path)
        return
    assert room in LEVEL, f"{room} has no place in the order of rooms"
    above = {other for other in imported_rooms(path) - {room} if LEVEL[other] > LEVEL[room]}
    assert not above, f"{room} imports from {above}"


@pytest.mark.parametrize(
    "modules",
    [
        "learnat.sql, learnat.synthesis",
        "learnat.benchmarks.spider, learnat.benchmarks.bird, learnat.benchmarks.generated",
        "learnat.training.prompts",
        "learnat.inference.answers, learnat.inference.engines.openai, learnat.inference.engines.vllm",
        "learnat.recipes.evaluate",
        "learnat.reporting.trees, learnat.reporting.search_cost",
        "learnat.recipes.app",
    ],
)
def test_imports_without_torch(modules: str) -> None:
    heavy = {"torch", "transformers", "lightning", "peft", "wandb"}
    code = f"import sys, {modules}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
