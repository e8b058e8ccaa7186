"""All formats read alike; what is malformed is named with file and line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.evaluation.predictions import Predictions, check_positions, check_predictions, read_predictions

SQL = {0: "SELECT a FROM t", 1: "SELECT b\nFROM t", 2: ""}


def write(folder: Path, text: str) -> Path:
    path = folder / "predictions.txt"
    path.write_text(text, encoding="utf-8")
    return path


def examples(*db_ids: str) -> list[Example]:
    return [Example(i, f"dev/{i}", "dev", db_id, "?", "", "SELECT 1") for i, db_id in enumerate(db_ids)]


@pytest.mark.parametrize(
    "text",
    [
        "".join(json.dumps({"index": i, "predicted": sql, "tokens": 3}) + "\n" for i, sql in SQL.items()),
        "\n\n".join(json.dumps({"predicted": sql, "index": i}) for i, sql in reversed(SQL.items())),
        json.dumps([{"index": i, "predicted": sql} for i, sql in SQL.items()]),
        json.dumps(list(SQL.values()), indent=1),
        json.dumps({str(i): sql for i, sql in SQL.items()}),
        json.dumps({str(i): f"{sql}\t----- bird -----\tshop" for i, sql in SQL.items()}, indent=4),
        "\ufeff" + json.dumps({str(i): f"{sql}\t----- bird -----\tshop" for i, sql in SQL.items()}),
    ],
    ids=["jsonl", "jsonl in disorder", "list of objects", "list of SQL", "object", "BIRD, indented", "BIRD"],
)
def test_json_formats(tmp_path: Path, text: str) -> None:
    assert dict(read_predictions(write(tmp_path, text))) == SQL


def test_one_json_line(tmp_path: Path) -> None:
    assert dict(read_predictions(write(tmp_path, '{"index": 7, "predicted": "SELECT 1"}'))) == {7: "SELECT 1"}
    assert dict(read_predictions(write(tmp_path, '{"7": "SELECT 1"}'))) == {7: "SELECT 1"}


def test_spider_lines(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, "SELECT a FROM t\tshop\r\n\n  SELECT c  \nSELECT d\t\n\n\n"))
    # A model that says nothing at the end has answered, too.
    assert dict(found) == {0: "SELECT a FROM t", 1: "", 2: "SELECT c", 3: "SELECT d", 4: "", 5: ""}
    assert found.databases == {0: "shop"}


def test_what_other_tools_take_for_a_line_end_is_text(tmp_path: Path) -> None:
    lines = [json.dumps({"index": i, "predicted": "SELECT '\u2028\x85'"}, ensure_ascii=False) for i in range(2)]
    assert dict(read_predictions(write(tmp_path, "\n".join(lines)))) == dict.fromkeys(range(2), "SELECT '\u2028\x85'")


def test_bird_names_databases(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, json.dumps({"3": "SELECT 1\t----- bird -----\tshop"})))
    assert found.databases == {3: "shop"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty", "JSON lines"]),
        ('{"index": 0, "predicted": "a"}\n{"index": 1, "predicted": \n', [":2", "not valid JSON"]),
        ('{"index": 0, \n{"index": 1, "predicted": "b"}\n', [":1", "not valid JSON"]),
        ('{"index": 0, "predicted": "a"}\nSELECT 1\n', [":2", "not valid JSON"]),
        ('{"index": 0, "sql": "a"}\n{"index": 1, "sql": "b"}', [":1", "'predicted'", "index, sql"]),
        ('{"index": 0, "predicted": "a"}\n{"predicted": "b"}', [":2", "'index'"]),
        ('{"index": "0", "predicted": "a"}\n{}', [":1", "'0'"]),
        ('{"index": true, "predicted": "a"}\n{}', [":1", "True"]),
        ('{"index": -1, "predicted": "a"}\n{}', [":1", "-1"]),
        ('{"index": 0, "predicted": null}\n{}', [":1", "None"]),
        ('{"index": 0, "predicted": "a"}\n\n{"index": 0, "predicted": "b"}', [":3", "twice", ":1"]),
        ('{"index": 0, "predicted": "a"}\n[1, 2]', [":2", "[1, 2]"]),
        ('[{"index": 0, "predicted": "a"}, 5]', ["entry 1", "5"]),
        ('[{"index": 0,\n "predicted": }]', [":2", "not valid JSON"]),
        ('{"0": "a",\n "0": "b"}', ["'0'", "twice"]),
        ('{"0": "a",\n "one": "b"}', ["'one'"]),
        (json.dumps({"1" * 5000: "a"}), ["no question number"]),
        ('{"index": 0, "predicted": "a"}\n{"index": ' + "1" * 5000 + "}", [":2", "digits"]),
        ("[" * 100_000, ["cannot be read"]),
        ('{"0":' * 100_000, ["cannot be read"]),
        # Whatever stands before the first object, a file of objects is one, and the line that is none is named.
        ('NaN\n{"index": 0, "predicted": "a"}\n{"index": 1, "predicted": "b"}', [":1", "NaN"]),
        ('loading …\n{"index": 0, "predicted": "a"}\n{"index": 1, "predicted": "b"}', [":1", "not valid JSON"]),
        ('\n3\n\n{"index": 0, "predicted": "a"}\n{"index": 1, "predicted": "b"}', [":2", "found 3"]),
        ("S\0E\0L\0", ["is UTF-16 text", "iconv -f UTF-16"]),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(LearnatError) as caught:
        read_predictions(write(tmp_path, text))
    for word in ["predictions.txt", *words]:
        assert word in str(caught.value)


def test_a_nul_in_a_query_is_its_own_mistake(tmp_path: Path) -> None:
    assert dict(read_predictions(write(tmp_path, "SELECT '\0'\nSELECT 2\n"))) == {0: "SELECT '\0'", 1: "SELECT 2"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match="No prediction file"):
        read_predictions(tmp_path / "none.jsonl")
    with pytest.raises(LearnatError, match=r"has no predictions\.jsonl: name a prediction file, or a run folder"):
        read_predictions(tmp_path)
    (tmp_path / "latin").write_bytes("SELECT 'é'".encode("latin-1"))
    with pytest.raises(LearnatError, match="UTF-8"):
        read_predictions(tmp_path / "latin")
    (tmp_path / "wide").write_bytes("SELECT 1".encode("utf-16"))
    with pytest.raises(LearnatError, match=r"wide is UTF-16 text.*iconv -f UTF-16 -t UTF-8"):
        read_predictions(tmp_path / "wide")
    (tmp_path / "mine.gz").write_bytes(gzip.compress(b"SELECT 1"))
    with pytest.raises(LearnatError, match=r"mine\.gz is compressed with gzip: .*gunzip"):
        read_predictions(tmp_path / "mine.gz")
    with pytest.raises(LearnatError, match=r"Cannot read the predictions .*too long"):
        read_predictions("a" * 300)


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    content = b"SELECT 1\nSELECT 2\n"
    (tmp_path / "mine.sql").write_bytes(content)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    expected = hashlib.sha256(content).hexdigest()
    assert [read_predictions(path).digest for path in (tmp_path / "mine.sql", pipe)] == [expected] * 2


def test_what_is_no_text_in_birds_format_is_wrong_and_counted(tmp_path: Path) -> None:
    """As to BIRD's own script, in whose files 0 stands for a question without an answer."""
    found = read_predictions(write(tmp_path, '{"0": "a", "1": 0, "4": ["b"], "7": null}'))
    assert dict(found) == {0: "a", 1: "", 4: "", 7: ""} and found.not_text == (1, 4, 7)


def test_a_file_paired_by_position_has_as_many_as_the_split(tmp_path: Path) -> None:
    sql = ["SELECT a", "SELECT b", "WITH c AS (SELECT 1) SELECT c"]
    for text in ("\n".join(sql), json.dumps(sql)):
        for whole, scored in ((3, 3), (3, 1), (7, 3)):
            check_positions(read_predictions(write(tmp_path, text)), whole, scored, "dev")
        for whole, scored in ((2, 2), (4, 4), (4, 2), (7, 5)):
            with pytest.raises(LearnatError, match=f"predictions.txt holds 3 predictions.* {whole} questions"):
                check_positions(read_predictions(write(tmp_path, text)), whole, scored, "dev")
    broken = read_predictions(write(tmp_path, "SELECT a\nSELECT b\n  FROM c\n\nSELECT d\n\n"))
    with pytest.raises(LearnatError) as caught:
        check_positions(broken, 9, 4, "dev")
    told = str(caught.value)
    assert "holds 6 predictions" in told and "'dev' has 9 questions, 4 of which are scored" in told
    assert "no. 3 is the first that begins like no query: 'FROM c'" in told
    assert "2 are empty, which counts as a prediction: no. 4 is the first" in told
    check_positions(read_predictions(write(tmp_path, "SELECT a\n\nSELECT b\n\n\n")), 3, 3, "dev")
    with pytest.raises(LearnatError, match="holds 4 predictions"):
        check_positions(read_predictions(write(tmp_path, "SELECT a\n\n\nSELECT b\n")), 3, 3, "dev")
    indexed = "".join(json.dumps({"index": i, "predicted": "a"}) + "\n" for i in range(5))
    check_positions(read_predictions(write(tmp_path, indexed)), 3, 3, "dev")
    check_positions(read_predictions(write(tmp_path, '{"0": "a", "9": "b"}')), 3, 3, "dev")


def test_a_tab_in_a_line_is_told_where_it_makes_another_database(tmp_path: Path) -> None:
    tabbed = read_predictions(write(tmp_path, "SELECT a\tFROM t\n"))
    with pytest.raises(LearnatError, match=r"database 'FROM t'.*What follows a tab in a line is its database: write"):
        check_predictions(tabbed, examples("a"), "dev")


def run_folder(folder: Path, *stages: str) -> Path:
    """What train.py leaves: every stage's answers to every split, question 0 of ``split`` answered with its names."""
    rows = [
        {"index": 0, "predicted": f"{stage} {split}", "stage": stage, "split": split}
        for stage in stages
        for split in ("dev_seen", "dev_unseen")
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_of_a_run_one_stages_answers_to_one_split_are_read(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "sft", "madpo")
    for path in (run, run / "predictions.jsonl"):
        found = read_predictions(path, "dev_unseen", "sft")
        assert dict(found) == {0: "sft dev_unseen"} and found.stage == "sft"
    with pytest.raises(LearnatError, match=r"stages sft, madpo: .* one with predictions_stage=madpo"):
        read_predictions(run, "dev_seen")
    with pytest.raises(LearnatError, match=r"stages sft, madpo: .* one with compare_with_stage=madpo"):
        read_predictions(run, "dev_seen", key="compare_with_stage")
    with pytest.raises(LearnatError, match=r"predictions_stage=stf .* Did you mean 'sft'"):
        read_predictions(run, "dev_seen", "stf")
    with pytest.raises(LearnatError, match=r"none for split 'dev', only for: dev_seen, dev_unseen"):
        read_predictions(run, "dev", "sft")


def test_a_run_of_one_stage_needs_no_name(tmp_path: Path) -> None:
    assert dict(read_predictions(run_folder(tmp_path, "sft"), "dev_seen")) == {0: "sft dev_seen"}


def test_others_files_have_no_stages(tmp_path: Path) -> None:
    # A key of their own that is called as one of ours is ignored, like any other.
    path = write(tmp_path, json.dumps({"index": 0, "predicted": "SELECT 1", "split": "validation"}))
    assert dict(read_predictions(path, "dev")) == {0: "SELECT 1"}
    with pytest.raises(LearnatError, match="names no stages: leave predictions_stage=sft out"):
        read_predictions(path, "dev", "sft")


def test_missing_predictions_are_listed() -> None:
    predictions = Predictions("mine.jsonl", {0: "SELECT 1", 9: "SELECT 2"})
    check_predictions(predictions, examples("a"), "dev")
    with pytest.raises(LearnatError, match=r"mine\.jsonl has no prediction for 2 of the 3 questions of 'dev'.* 1, 2"):
        check_predictions(predictions, examples("a", "a", "a"), "dev")
    with pytest.raises(LearnatError, match="1 of the 1"):
        check_predictions({}, examples("a"), "dev")


def test_predictions_for_other_databases_are_refused() -> None:
    predictions = Predictions("mine.sql", {0: "SELECT 1", 1: "SELECT 2"}, {0: "a", 1: "b"})
    check_predictions(predictions, examples("a", "b"), "dev")
    with pytest.raises(LearnatError, match=r"'b'.*'c'.*another split"):
        check_predictions(predictions, examples("a", "c"), "dev")


def test_spiders_own_gold_file(learnat_data: Path) -> None:
    found = read_predictions(learnat_data / "spider/dev_gold.sql")
    questions = json.loads((learnat_data / "spider/dev.json").read_text())
    assert list(found) == list(range(1034))
    assert [found.databases[i] for i in found] == [question["db_id"] for question in questions]


def test_the_recorded_official_files(learnat_data: Path) -> None:
    assert len(read_predictions(learnat_data / "parity/spider_dev_dail_gpt4.json")) == 1034
    assert min(read_predictions(learnat_data / "parity/bird_superhero_qwen7b.json")) == 717
