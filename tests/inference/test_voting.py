"""The vote: who wins, and that samples which cannot change that are not drawn."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks.types import Database
from learnat.inference.candidates import Candidate, CandidateRunner, Place
from learnat.inference.engines.base import Completion
from learnat.inference.voting import Ballot
from learnat.sql.execution import ExecutorPool, Result
from learnat.sql.schema import Column, Schema, Table

FAILED = "failed"


def candidate(sql: str) -> Candidate:
    error = "no such column" if sql == FAILED else None
    return Candidate(Completion(sql, 1, 1, True), (), sql, (), Result((), [(sql,)], error, 0.0, False, False))


def ballot_of(samples: list[str]) -> Ballot:
    ballot = Ballot(lambda first, second: first.sql == second.sql)
    for sample in samples:
        ballot.add(candidate(sample))
    return ballot


samples_of = st.lists(st.sampled_from(["a", "b", "c", FAILED]), min_size=1, max_size=31)


@given(samples_of)
def test_most_votes_win_the_first_seen_of_equals_and_failures_have_none(samples: list[str]) -> None:
    winner = ballot_of(samples).winner.sql
    votes = Counter(sample for sample in samples if sample != FAILED)
    if not votes:
        assert winner == FAILED and ballot_of(samples).votes == 0
        return
    most = [sample for sample in votes if votes[sample] == max(votes.values())]
    assert winner == min(most, key=samples.index)
    assert ballot_of(samples).votes == votes[winner]


@given(samples_of)
def test_drawing_what_is_needed_gives_the_winner_of_all(samples: list[str]) -> None:
    ballot, drawn = ballot_of([]), 0
    while needed := ballot.needed(len(samples) - drawn):
        assert needed <= len(samples) - drawn
        for sample in samples[drawn : drawn + needed]:
            ballot.add(candidate(sample))
        drawn += needed
    assert drawn and ballot.winner.sql == ballot_of(samples).winner.sql
    # As many as if they had been drawn one by one.
    one_by_one = next(n for n in range(len(samples) + 1) if not ballot_of(samples[:n]).needed(len(samples) - n))
    assert drawn == one_by_one


@given(samples_of, st.integers(0, 6))
def test_a_decided_vote_is_decided_whatever_follows_and_an_open_one_is_not(samples: list[str], left: int) -> None:
    ballot = ballot_of(samples)
    needed = ballot.needed(left)
    futures = {ballot_of([*samples, *[rival] * left]).winner.sql for rival in ("a", "b", "c", "new")}
    assert (futures == {ballot.winner.sql}) == (needed == 0)


def test_half_of_the_samples_decide_a_unanimous_vote() -> None:
    assert ballot_of([]).needed(30) == 15
    assert ballot_of(["a"] * 15).needed(15) == 0
    assert ballot_of([]).needed(1) == 1
    with pytest.raises(ValueError, match="no sample"):
        _ = ballot_of([]).winner


@pytest.mark.parametrize(
    ("mode", "votes"),
    [("spider_bag", 2), ("bird_set", 2), ("ordered", 1)],
    ids=lambda value: str(value),
)
def test_samples_agree_under_the_benchmarks_comparison_mode(tmp_path: Path, mode: str, votes: int) -> None:
    path = tmp_path / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE singer (name, country)")
        connection.executemany("INSERT INTO singer VALUES (?, ?)", [("Zoe", "France"), ("Xaver", "Chile")])
    texts = [
        "SELECT name, country FROM singer",
        "SELECT country, name FROM singer",  # equal in spider_bag, which lets columns change places
        "SELECT name, country FROM singer ORDER BY name",  # equal in bird_set, which does not look at the order of rows
        "SELECT name, country FROM singers",  # does not run
        "",
    ]
    with ExecutorPool(1) as pool:
        runner = CandidateRunner(pool, mode, timeout_s=5)
        candidates = runner.run([(Place(path, True), Completion(text, 1, 1, True)) for text in texts])
    assert [candidate.ran for candidate in candidates] == [True, True, True, False, False]
    ballot = Ballot(runner.agree)
    for sample in candidates:
        ballot.add(sample)
    assert ballot.votes == votes and ballot.winner == candidates[0]
    pairs = itertools.permutations(candidates[:3], 2)
    assert all(runner.agree(first, second) == runner.agree(second, first) for first, second in pairs)


def results_of(pool: ExecutorPool, path: Path, *texts: str) -> tuple[CandidateRunner, list[Candidate]]:
    runner = CandidateRunner(pool, "spider_bag", timeout_s=5)
    return runner, runner.run([(Place(path, True), Completion(text, 1, 1, True)) for text in texts])


def test_an_answer_without_order_does_not_unite_those_that_contradict_one_another(tmp_path: Path) -> None:
    path = tmp_path / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE singer (name)")
        connection.executemany("INSERT INTO singer VALUES (?)", [("Zoe",), ("Ann",), ("Mia",)])
    either, rising, falling = (f"SELECT name FROM singer{end}" for end in ("", " ORDER BY name", " ORDER BY name DESC"))
    with ExecutorPool(1) as pool:
        for texts in ([either] + [rising] * 3 + [falling] * 2, [falling] * 2 + [rising] * 3 + [either]):
            runner, candidates = results_of(pool, path, *texts)
            ballot = Ballot(runner.agree)
            for sample in candidates:
                ballot.add(sample)
            assert (ballot.winner.sql, ballot.votes) == (rising, 3)


def test_results_too_large_to_be_kept_vote_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnat.inference.candidates.ROWS_KEPT", 50)
    path = tmp_path / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE n (i)")
        connection.executemany("INSERT INTO n VALUES (?)", [(i,) for i in range(100)])
    texts = ["SELECT i FROM n", "SELECT 99 - i FROM n", "SELECT i + 1 FROM n", "SELECT i FROM n LIMIT 50"]
    with ExecutorPool(1) as pool:
        runner, candidates = results_of(pool, path, *texts)
    assert all(each.ran and each.found_rows for each in candidates)
    assert [len(each.result.rows) for each in candidates if each.result] == [0, 0, 0, 50]
    assert [runner.agree(candidates[0], each) for each in candidates] == [True, True, False, False]


@pytest.mark.parametrize(
    ("column", "sql"),
    [("value_points", "SELECT value_points FROM t"), ("Value", "SELECT value FROM t"), ("points", "SELECT value")],
)
def test_value_is_a_placeholder_where_nothing_is_called_so(tmp_path: Path, column: str, sql: str) -> None:
    path = tmp_path / "t.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE t ({column})")
        connection.execute("INSERT INTO t VALUES (1)")
    database = Database("t", path, Schema((Table("t", (Column(column),)),)))
    with ExecutorPool(1) as pool:
        runner = CandidateRunner(pool, "spider_bag", timeout_s=5)
        [candidate] = runner.run([(runner.place(database), Completion(sql, 1, 1, True))])
    assert candidate.result is not None and candidate.result.rows == [(1,)], candidate.result
