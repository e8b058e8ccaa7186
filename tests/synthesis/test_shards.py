"""Shards: equal parts that make up the whole, and a merge that equals one machine's run or is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.errors import LearnatError
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.base import Proposer
from learnat.synthesis.pruning import Included, Parses, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.shard import Question, Shard
from learnat.synthesis.shards import main, merge
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, read_trees, tree_to_json

QUESTIONS = 11
COUNT = 3


# --- the parts -------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcdefg")), st.integers(1, 12))
def test_shards_are_equal_parts_of_the_whole(databases: list[str], count: int) -> None:
    questions = [Question(str(index), db_id, "") for index, db_id in enumerate(databases)]
    parts = [Shard(index, count).of(questions) for index in range(1, count + 1)]
    assert sorted((q for part in parts for q in part), key=questions.index) == questions
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(part == sorted(part, key=questions.index) for part in parts)


@given(st.lists(st.sampled_from("abcdefg")), st.integers(1, 12))
def test_a_cut_parts_one_database_at_most(databases: list[str], count: int) -> None:
    questions = [Question(str(index), db_id, "") for index, db_id in enumerate(databases)]
    met = [{q.db_id for q in Shard(index, count).of(questions)} for index in range(1, count + 1)]
    assert sum(map(len, met)) <= len(set(databases)) + count - 1


@pytest.mark.parametrize("text", ["1/1", "2/8", "8/8"])
def test_a_shard_is_written_as_it_is_read(text: str) -> None:
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize("text", ["0/8", "9/8", "1/0", "3", "a/b", "1/2/3", "-1/2", "0.5", " 1/2", "", 2, True])
def test_anything_else_is_refused_with_the_way_out(text: object) -> None:
    with pytest.raises(LearnatError, match=rf"shard={re.escape(str(text))} is no shard: write i/n .* shard=2/8"):
        Shard.parse(text)


# --- the merge -------------------------------------------------------------------------------------------------------


def make(
    cache: Path,
    folder: Path,
    shard: Shard | None = None,
    seed: int = 1,
    limit: int = QUESTIONS,
    proposer: Proposer | None = None,
) -> Path:
    """One machine's run on the generated benchmark, of all or of a shard; its folder."""
    benchmark = GeneratedBenchmark(
        cache_dir=cache, num_databases=3, num_unseen_databases=1, train_questions=24, dev_questions=12, limit=limit
    )
    rules = (Parses(), Runs(), Included())
    synthesizer = Synthesizer(proposer or AstProposer(), MctsSearch(), rules, AstReward(), seed=seed)
    synthesize(benchmark, "dev_seen", synthesizer, folder, workers=1, shard=shard)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``whole``: one machine's run; ``1``, ``2``, ``3``: the same in shards; ``cache``: the benchmark."""
    root = tmp_path_factory.mktemp("made")
    make(root / "cache", root / "whole")
    for index in range(1, COUNT + 1):
        make(root / "cache", root / str(index), Shard(index, COUNT))
    return root


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> Path:
    """A folder with the three shards, which a test may spoil."""
    for index in range(1, COUNT + 1):
        shutil.copytree(made / str(index), tmp_path / "shards" / str(index))
    return tmp_path / "shards"


def folders(root: Path) -> list[Path]:
    return [root / str(index) for index in range(1, COUNT + 1)]


def without_seconds(folder: Path) -> bytes:
    """``trees.jsonl`` but for the time that searches took."""
    trees = [replace(tree, stats=replace(tree.stats, seconds=0.0)) for tree in read_trees(folder / "trees.jsonl")]
    return "".join(tree_to_json(tree) + "\n" for tree in trees).encode()


def test_merged_shards_are_what_one_machine_makes(made: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = merge(folders(shards)[::-1], out)
    lines = [line for folder in folders(shards) for line in (folder / "trees.jsonl").read_bytes().splitlines(True)]
    assert sorted((out / "trees.jsonl").read_bytes().splitlines(True)) == sorted(lines)
    assert without_seconds(out) == without_seconds(made / "whole")
    for name in ("trees.settings.json", "summary.json"):
        seconds = re.compile(rb'"seconds": [0-9.]+')
        assert seconds.sub(b"", (out / name).read_bytes()) == seconds.sub(b"", (made / "whole" / name).read_bytes())
    assert (summary.questions, summary.trees, summary.solved) == (QUESTIONS, QUESTIONS, 1.0)
    total = sum(json.loads((folder / "summary.json").read_text())["seconds"] for folder in folders(shards))
    assert summary.seconds == pytest.approx(total, abs=0.01)


def test_merging_again_changes_nothing_and_a_whole_run_goes_on_from_it(made: Path, shards: Path) -> None:
    merge(folders(shards), shards)
    before = {path.name: path.read_bytes() for path in shards.glob("*.json*")}
    stamp = (shards / "trees.jsonl").stat().st_mtime_ns
    merge([shards], shards)
    make(made / "cache", shards)
    assert {path.name: path.read_bytes() for path in shards.glob("*.json*")} == before
    assert (shards / "trees.jsonl").stat().st_mtime_ns == stamp


def test_settings_say_which_part_of_how_many_questions(made: Path) -> None:
    settings = json.loads((made / "2" / "trees.settings.json").read_text())
    assert (settings["shard"], settings["questions"]) == ("2/3", QUESTIONS)
    assert "shard" not in json.loads((made / "whole" / "trees.settings.json").read_text())
    assert json.loads((made / "2" / "summary.json").read_text())["questions"] == 4


def test_more_shards_than_questions_leave_some_empty(made: Path, tmp_path: Path) -> None:
    for index in (1, 2, 3):
        make(made / "cache", tmp_path / str(index), Shard(index, 3), limit=2)
    assert (tmp_path / "1" / "trees.jsonl").read_bytes() == b""
    assert merge([tmp_path], tmp_path / "out").trees == 2


def test_one_shard_of_one_is_a_whole(made: Path, tmp_path: Path) -> None:
    merge([make(made / "cache", tmp_path / "only", Shard(1, 1))], tmp_path / "out")
    assert without_seconds(tmp_path / "out") == without_seconds(made / "whole")


class Learning(AstProposer):
    """Takes its questions in rounds, as one does that shows solved ones in later prompts."""

    round_size = 2

    def learn(self, trees: Sequence[SearchTree]) -> None:
        assert len(trees) == 2


def test_shards_that_learned_each_for_itself_do_not_pass_for_one_machine_s_run(made: Path, tmp_path: Path) -> None:
    for index in (1, 2):
        make(made / "cache", tmp_path / str(index), Shard(index, 2), proposer=Learning())
    merge([tmp_path], tmp_path / "out")
    with pytest.raises(LearnatError, match=r"other settings: learned_in_shards "):
        make(made / "cache", tmp_path / "out", proposer=Learning())


def test_a_shard_s_folder_goes_on_with_the_same_shard_only(made: Path, shards: Path) -> None:
    with pytest.raises(LearnatError, match=r"other settings: shard "):
        make(made / "cache", shards / "1", Shard(2, COUNT))
    with pytest.raises(LearnatError, match=r"other settings: questions, split_digest "):
        make(made / "cache", shards / "1", Shard(1, COUNT), limit=9)


def edit_lines(folder: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path = folder / "trees.jsonl"
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def edit_settings(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    path = folder / "trees.settings.json"
    settings = json.loads(path.read_text())
    edit(settings)
    path.write_text(json.dumps(settings))


def refused(arguments: list[Path], tmp_path: Path) -> str:
    """The message of a merge that is refused and writes nothing."""
    with pytest.raises(LearnatError) as caught:
        merge(arguments, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_missing_and_doubled_shards_are_named_together(shards: Path, tmp_path: Path) -> None:
    one, two, _ = folders(shards)
    shutil.copytree(one, shards / "copy")
    message = refused([one, shards / "copy", two, one], tmp_path)
    assert "shard 3/3 is missing" in message
    assert f"shard 1/3 is there 2 times: {one}, {shards / 'copy'}" in message


def test_an_unfinished_shard_is_named_with_what_it_has(shards: Path, tmp_path: Path) -> None:
    edit_lines(shards / "2", lambda lines: lines[:-1])
    (shards / "3" / "trees.jsonl").unlink()
    message = refused([shards], tmp_path)
    assert f"{shards / '2'} (shard 2/3) is unfinished: 3 of 4 questions" in message
    assert f"{shards / '3'} (shard 3/3) is unfinished: 0 of 4 questions" in message


def test_a_torn_last_line_is_named(shards: Path, tmp_path: Path) -> None:
    edit_lines(shards / "1", lambda lines: [*lines[:-1], lines[-1][:40]])
    message = refused([shards], tmp_path)
    assert f"{shards / '1'} (shard 1/3) is unfinished: 2 of 3 questions" in message
    assert f"{shards / '1'} (shard 1/3) has a torn last line" in message


def test_a_torn_line_in_the_middle_is_named(shards: Path, tmp_path: Path) -> None:
    edit_lines(shards / "1", lambda lines: [lines[0], lines[1][:40] + b"\n", *lines[2:]])
    assert f"{shards / '1' / 'trees.jsonl'}:2: not a search tree" in refused([shards], tmp_path)


def test_a_question_twice_or_in_another_shard_is_named(shards: Path, tmp_path: Path) -> None:
    moved: list[bytes] = []
    edit_lines(shards / "1", lambda lines: moved.append(lines[0]) or [*lines[1:], lines[1]])
    edit_lines(shards / "2", lambda lines: [*lines, moved[0]])
    message = refused([shards], tmp_path)
    assert f"{shards / '1'} (shard 1/3) is unfinished: 2 of 3 questions" in message
    assert re.search(r"/1 \(shard 1/3\) holds dev_seen/\d+ twice", message)
    assert re.search(r"/2 \(shard 2/3\) holds dev_seen/\d+, which is no question of this shard", message)


def test_shards_of_other_settings_are_named_with_the_keys(made: Path, shards: Path, tmp_path: Path) -> None:
    shutil.rmtree(shards / "3")
    make(made / "cache", shards / "3", Shard(3, COUNT), seed=2)
    edit_settings(shards / "2", lambda settings: settings.update(code="other", schemas={"new": "a"}))
    message = refused([shards], tmp_path)
    assert f"other settings than {shards / '1'} (shard 1/3)" in message
    assert f"{shards / '2'} (shard 2/3): code\n" in message
    assert f"{shards / '3'} (shard 3/3): synthesizer.seed\n" in message


def test_a_schema_that_shards_saw_differently_is_named(shards: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        edit_settings(shards / name, partial(dict.update, schemas={"music": name}))
    assert f"{shards / '2'} (shard 2/3): schemas.music\n" in refused([shards], tmp_path)


def test_shards_of_other_numbers_and_other_questions_do_not_mix(made: Path, shards: Path, tmp_path: Path) -> None:
    make(made / "cache", tmp_path / "half", Shard(2, 2), limit=9)
    message = refused([shards, tmp_path / "half"], tmp_path)
    assert f"{tmp_path / 'half'} (shard 2/2): questions, shards, split_digest\n" in message


def test_a_folder_that_is_no_shard_is_named(made: Path, shards: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty} is no shard's folder" in refused([empty], tmp_path)
    assert f"{made / 'whole'} holds the trees of a whole split" in refused([made / "whole"], tmp_path)
    (shards / "1" / "trees.split.json").write_text("{}")
    assert f"{shards / '1' / 'trees.split.json'} is damaged" in refused([shards], tmp_path)


def test_other_trees_are_not_overwritten(made: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"1 is itself a shard"):
        merge(folders(shards), shards / "1")
    other = make(made / "cache", tmp_path / "other", seed=2)
    more = make(made / "cache", tmp_path / "more", limit=12)
    before = [(folder / "trees.jsonl").read_bytes() for folder in (other, more)]
    with pytest.raises(LearnatError, match=r"other settings: synthesizer"):
        merge(folders(shards), other)
    with pytest.raises(LearnatError, match=r"holds trees of 1 questions that no shard has \(dev_seen/11, for one\)"):
        merge(folders(shards), more)
    assert [(folder / "trees.jsonl").read_bytes() for folder in (other, more)] == before


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_message(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / name), str(shards)]) == 2
    assert f"{tmp_path / name}: no trees can be written there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trees.settings.json", "trees.split.json"])
def test_a_record_that_is_no_object_is_named(shards: Path, tmp_path: Path, name: str) -> None:
    (shards / "2" / name).write_text('["shard"]')
    assert f"{shards / '2' / name} is damaged, it holds a list" in refused([shards], tmp_path)


def test_the_command_merges_or_says_why_not(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out"), str(shards / "1"), str(shards / "2")]) == 2
    assert "shard 3/3 is missing" in capsys.readouterr().err
    command = [sys.executable, "-m", "learnat.synthesis.shards", str(tmp_path / "out"), str(shards)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "trees.jsonl")
    assert len(list(read_trees(tmp_path / "out" / "trees.jsonl"))) == QUESTIONS
