"""What a decomposition costs, from the trees of a sweep."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.errors import LearnatError
from learnat.reporting import search_cost
from learnat.reporting.search_cost import Cost, read_cost, read_sweep, tabulate
from learnat.synthesis.tree import Node, SearchTree, TreeStats, tree_to_json

calls = st.lists(st.integers(1, 20), max_size=12)


@given(calls, calls.filter(bool), st.floats(0.01, 1.0))
def test_a_smaller_budget_is_read_off_the_calls_of_a_larger_one(
    unsolved: list[int], solved: list[int], share: float
) -> None:
    cost = Cost(tuple(sorted(solved)), tuple(sorted(unsolved)), 0, 0, frozenset())
    budget = cost.budget_for(share)

    def reached(limit: int) -> int:
        return sum(needed <= limit for needed in solved)

    if budget is None:
        assert len(solved) / cost.questions < share
        return
    assert reached(budget) / cost.questions >= share > reached(budget - 1) / cost.questions
    spent = sum(min(needed, budget) for needed in [*solved, *unsolved])
    assert cost.calls_per_solved(budget) == pytest.approx(spent / reached(budget))
    assert cost.calls_per_solved(20) == pytest.approx(cost.calls_per_solved())


def test_a_run_that_solves_nothing_costs_without_end() -> None:
    cost = Cost((), (3, 4), 7, 2, frozenset())
    assert cost.calls_per_solved() == cost.calls_per_solved(2) == float("inf")
    assert cost.budget_for(0.01) is None and cost.share == 0.0


def tree(example: int, calls: int, solved: bool) -> SearchTree:
    nodes = tuple(Node(i + 1, 0, "", "SELECT 1", True, solved, None, 1.0, 1.0, 1, 1.0, "x") for i in range(2))
    stats = TreeStats(solved, 1, calls, calls, 0, 0, 0, 0.1)
    return SearchTree(1, f"dev/{example}", "db", "?", "", "SELECT 1", nodes, stats)


def write_job(sweep: Path, number: int, overrides: list[str], needed: list[int], spent: int) -> None:
    """A job that solved a question for each number of calls in ``needed``, and others of four not, for ``spent``."""
    (sweep / str(number) / ".hydra").mkdir(parents=True)
    (sweep / str(number) / ".hydra" / "overrides.yaml").write_text("".join(f"- {line}\n" for line in overrides))
    trees = [tree(i, calls, True) for i, calls in enumerate(needed)]
    trees += [tree(i, spent, False) for i in range(len(needed), 4)]
    (sweep / str(number) / "trees.jsonl").write_text("".join(tree_to_json(t) + "\n" for t in trees))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for number, (pruning, seed, needed) in enumerate(
        [("none", 1, [2, 4, 10]), ("none", 2, [2, 4, 6]), ("ast", 1, [1, 1, 1, 3]), ("ast", 2, [1, 1, 1, 1])]
    ):
        write_job(tmp_path, number, ["data=spider", f"pruning={pruning}", f"seed={seed}"], needed, 12)
    return tmp_path


def test_seeds_stand_together_and_what_varies_names_the_rows(sweep: Path) -> None:
    groups = read_sweep(sweep)
    assert list(groups) == [(("pruning", "none"),), (("pruning", "ast"),)]
    header, rows = tabulate(groups)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["solved"] for row in table] == ["0.7500", "1.0000"]
    assert [row["runs"] for row in table] == ["2", "2"]
    assert table[0]["calls/solved"] == f"{(28 / 3 + 24 / 3) / 2:.2f}"
    # Half of four questions is two, reached with 4 calls each: 2 + 4 + 4 + 4 of them.
    assert table[0]["calls/solved at 50%"] == "7.00"
    assert table[0]["calls/solved at 80%"] == "" and table[1]["calls/solved at 80%"] != ""
    assert read_cost(sweep / "0" / "trees.jsonl").branching == 2.0


def test_the_command_writes_table_and_plot(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["search_cost", str(sweep), "-o", str(tmp_path / "out")])
    search_cost.main()
    with (tmp_path / "out" / "cost.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 3
    assert "<svg" in (tmp_path / "out" / "cost.svg").read_text(encoding="utf-8")
    assert "cost.csv" in capsys.readouterr().out


def test_a_folder_that_is_no_sweep_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["search_cost", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        search_cost.main()
    assert end.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err
    write_job(tmp_path, 0, ["seed=1"], [], 1)
    (tmp_path / "0" / "trees.jsonl").write_text("")
    with pytest.raises(LearnatError, match="holds no search tree"):
        read_sweep(tmp_path)


def test_a_failed_job_is_named(sweep: Path) -> None:
    for number in ("1", "3"):
        (sweep / number / "error.txt").write_text("The server does not answer.\n")
    with pytest.raises(LearnatError, match=rf"Failed, .*: {sweep / '1'}, {sweep / '3'}\. Run the sweep again"):
        read_sweep(sweep)


def test_jobs_with_other_questions_are_named(sweep: Path) -> None:
    trees = sweep / "2" / "trees.jsonl"
    trees.write_text("".join(trees.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(LearnatError, match=rf"of 4 questions: {sweep / '2'} \(3\)\. Where a job was interrupted"):
        read_sweep(sweep)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_message(
    sweep: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["search_cost", str(sweep), "-o", str(sweep / out)])
    with pytest.raises(SystemExit) as end:
        search_cost.main()
    assert end.value.code == 2
    assert f"{sweep / out}: no table can be written there" in capsys.readouterr().err
