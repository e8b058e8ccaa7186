"""evaluate.py on prediction files: what it writes, for the benchmark's usual metrics and for those asked for."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.evaluate import evaluate

CONF = Path(__file__).parents[2] / "conf"
GOLD = [
    "SELECT name FROM singer WHERE age > 20",
    "SELECT count(*) FROM singer",
    "SELECT name FROM singer WHERE id IN (SELECT id FROM singer WHERE age < 40)",
]
TABLES = {
    "db_id": "music",
    "table_names_original": ["singer"],
    "table_names": ["singer"],
    "column_names_original": [[-1, "*"], [0, "id"], [0, "name"], [0, "age"]],
    "column_names": [[-1, "*"], [0, "id"], [0, "name"], [0, "age"]],
    "column_types": ["text", "number", "text", "number"],
    "primary_keys": [1],
    "foreign_keys": [],
}


def database(path: Path, ages: list[int]) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
        connection.executemany("INSERT INTO singer VALUES (?, ?, ?)", [(i, f"n{i}", age) for i, age in enumerate(ages)])
        connection.commit()


@pytest.fixture
def spider(tmp_path: Path) -> Path:
    root = tmp_path / "spider"
    database(root / "database/music/music.sqlite", [30, 50])
    database(tmp_path / "suite/music/music0.sqlite", [10, 30, 50])
    (root / "dev.json").write_text(json.dumps([{"db_id": "music", "query": sql, "question": "?"} for sql in GOLD]))
    (root / "tables.json").write_text(json.dumps([TABLES]))
    return root


def predictions(folder: Path, name: str, *sql: str) -> Path:
    path = folder / name
    path.write_text("\n".join(sql) + "\n", encoding="utf-8")
    return path


def run(folder: Path, root: Path, file: Path | str, *overrides: str) -> dict[str, Any]:
    (folder / "run").mkdir(exist_ok=True)
    given = ["data=spider", f"data.root={root}", f"predictions='{file}'", f"run_dir={folder / 'run'}", "workers=1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg: DictConfig = compose("evaluate", [*given, *overrides])
    OmegaConf.resolve(cfg)
    evaluate(cfg)
    return json.loads((folder / "run/metrics.json").read_text())


def test_a_prediction_file_is_scored_by_every_metric(tmp_path: Path, spider: Path) -> None:
    file = predictions(tmp_path, "mine.sql", "SELECT name FROM singer", "select COUNT(*) from singer", "SELECT 1")
    metrics = run(tmp_path, spider, file, f"data.test_suite={tmp_path / 'suite'}")
    assert metrics["ex"] == {"all": 2 / 3, "easy": 1.0, "hard": 0.0}
    assert metrics["em"] == {"all": 1 / 3, "easy": 0.5, "hard": 0.0}
    assert metrics["ts"] == {"all": 1 / 3, "easy": 0.5, "hard": 0.0}
    assert metrics["features"]["subquery"]["ex"]["value"] == 0.0
    counted = metrics["features"]["aggregate"]["em"]
    assert (counted["value"], counted["questions"]) == (1.0, 1)
    assert counted["interval"] == pytest.approx([0.2065, 1.0], abs=1e-4)
    of_metric = metrics["provenance"]["metrics"]
    assert of_metric["ts"]["comparison"] == "spider_bag on 1 databases"
    assert len({of_metric["ex"]["database_hash"], of_metric["ts"]["database_hash"]}) == 2
    for of_one in of_metric.values():
        assert {"evaluator", "comparison", "database_hash", "timed_out"} <= set(of_one)
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert [(row["index"], row["correct"], row["ex"], row["em"], row["ts"]) for row in rows] == [
        (0, True, 1.0, 0.0, 0.0),
        (1, True, 1.0, 1.0, 1.0),
        (2, False, 0.0, 0.0, 0.0),
    ]
    page = (tmp_path / "run/table.md").read_text()
    assert page.count("\n## ") == 3 and page.startswith("## EX, %")
    assert (tmp_path / "run/table.tex").read_text().count(r"\begin{tabular}") == 4


def test_gold_against_gold_is_one(tmp_path: Path, spider: Path) -> None:
    file = predictions(tmp_path, "gold.sql", *(f"{sql}\tmusic" for sql in GOLD))
    suite = f"data.test_suite={tmp_path / 'suite'}"
    metrics = run(tmp_path, spider, file, suite, "metrics=[em,ts,soft_f1,ves,r_ves]", "timing_iterations=3")
    for name in ("ex", "em", "ts", "soft_f1"):
        assert set(metrics[name].values()) == {1.0}
    assert 0.5 < metrics["ves"]["all"] < 2
    assert 0.5 < metrics["r_ves"]["all"] <= 1.25**0.5


def test_two_files_are_compared(tmp_path: Path, spider: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = predictions(tmp_path, "mine.sql", *GOLD)
    theirs = predictions(tmp_path, "theirs.sql", GOLD[0], "SELECT 1", "SELECT 2")
    run(tmp_path, spider, mine, f"compare_with={theirs}", "ex_mode=ordered")
    found = json.loads((tmp_path / "run/comparison.json").read_text())
    assert found["with"] == str(theirs)
    assert (found["ex"]["accuracy_a"], found["ex"]["accuracy_b"]) == (pytest.approx(1 / 3), 1.0)
    assert (found["em"]["only_a"], found["em"]["only_b"], found["em"]["p_value"]) == (0, 2, 0.5)
    out = capsys.readouterr().out
    assert "exact McNemar p = 0.5 (2 gained, 0 lost); no difference shown (p ≥ 0.05)" in " ".join(out.split())
    assert "comparison ordered" in " ".join(out.split())


def test_mistakes_are_told_in_one_message(tmp_path: Path, spider: Path) -> None:
    file = predictions(tmp_path, "mine.sql", *GOLD)
    for overrides, message in (
        (["metrics=[em,rves]"], "There is no metric 'rves'"),
        (["ex_mode=bag"], "Unknown comparison mode 'bag'"),
        (["metrics=[ts]"], "data.test_suite=FOLDER"),
        (["data.test_suite=nowhere"], r"\(data\.test_suite\)"),
        (["ex_mode=3"], "Unknown comparison mode 3"),
        (["executor.timeout_s=-1"], "executor.timeout_s=-1 must be"),
        (["compare_with=nowhere.sql"], "No prediction file at nowhere.sql"),
    ):
        with pytest.raises(Exception, match=message) as caught:
            run(tmp_path, spider, file, *overrides)
        error: BaseException | None = caught.value
        while error is not None and not isinstance(error, LearnatError):
            error = error.__cause__
        assert isinstance(error, LearnatError)


def test_another_splits_file_is_told_by_its_databases(tmp_path: Path, spider: Path) -> None:
    mine = predictions(tmp_path, "mine.sql", *GOLD)
    other = predictions(tmp_path, "other.sql", *(f"{sql}\tfilms" for sql in GOLD))
    for file, compared in ((other, mine), (mine, other)):
        with pytest.raises(LearnatError, match=r"other\.sql: prediction 0 is for database 'films'"):
            run(tmp_path, spider, file, f"compare_with={compared}")


def test_predictions_for_no_question_are_told(tmp_path: Path, spider: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"index": i, "predicted": sql} for i, sql in enumerate([*GOLD, "SELECT 1", "SELECT 2"])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tmp_path, spider, file)
    assert "mine.jsonl: 2 of its 5 predictions are for no question that is scored" in caplog.text


def test_a_file_that_pairs_wrongly_is_refused(tmp_path: Path, spider: Path) -> None:
    mine = predictions(tmp_path, "mine.sql", *GOLD)
    broken = predictions(tmp_path, "broken.sql", GOLD[0].replace(" WHERE", "\nWHERE"), *GOLD[1:])
    for file, compared in ((broken, mine), (mine, broken)):
        with pytest.raises(LearnatError, match=r"broken\.sql holds 4 predictions.* 3 questions.*no\. 2 is .*'WHERE"):
            run(tmp_path, spider, file, f"compare_with={compared}")
    # The whole split's file serves for a part of it; the size of the split is that of its file.
    assert run(tmp_path, spider, mine, "data.limit=1")["ex"]["all"] == 1.0
    with pytest.raises(LearnatError, match=r"holds 2 predictions.* 'dev' has 3 questions, 1 of which are"):
        run(tmp_path, spider, predictions(tmp_path, "two.sql", *GOLD[:2]), "data.limit=1")


def test_answers_that_are_no_text_are_counted(tmp_path: Path, spider: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "bird.json"
    file.write_text(json.dumps({"0": GOLD[0], "1": 0, "2": f"{GOLD[2]}\t----- bird -----\tmusic"}))
    assert run(tmp_path, spider, file)["ex"]["all"] == 2 / 3
    assert "bird.json: 1 of its 3 answers are no text (the first is of question 1), and count as wrong" in caplog.text


def test_the_record_is_of_what_was_read(tmp_path: Path, spider: Path) -> None:
    mine, theirs = predictions(tmp_path, "mine.sql", *GOLD), predictions(tmp_path, "theirs.sql", *["SELECT 1"] * 3)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(mine.read_bytes(),), daemon=True).start()
    assert run(tmp_path, spider, pipe, f"compare_with={theirs}")["ex"]["all"] == 1.0
    of_mine, of_theirs = (hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in (mine, theirs))
    record = json.loads((tmp_path / "run/provenance.json").read_text())
    assert record["predictions"] == f"pipe, {of_mine}" and record["compare_with"] == f"theirs.sql, {of_theirs}"
    assert json.loads((tmp_path / "run/comparison.json").read_text())["with_digest"] == of_theirs


def test_whatever_a_model_wrote_is_reported(tmp_path: Path, spider: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run[v1].jsonl"
    file.write_text("".join(json.dumps({"index": i, "predicted": sql + "\ud800"}) + "\n" for i, sql in enumerate(GOLD)))
    metrics = run(tmp_path, spider, file, "metrics=em")
    assert metrics["ex"]["all"] == 0.0 and "em" in metrics
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert [row["predicted"] for row in rows] == [sql + "\ud800" for sql in GOLD]
    assert "run[v1].jsonl" in capsys.readouterr().out


def test_predictions_that_do_not_run_are_told(tmp_path: Path, spider: Path, caplog: pytest.LogCaptureFixture) -> None:
    fenced = tmp_path / "mine.jsonl"
    lines = [json.dumps({"index": i, "predicted": f"```sql\n{sql}\n```"}) for i, sql in enumerate(GOLD)]
    fenced.write_text("\n".join(lines))
    run(tmp_path, spider, fenced)
    assert "did not run 3; timed out 0" in (tmp_path / "run/table.md").read_text()
    assert "did not run 3; timed out 0" in (tmp_path / "run/table.tex").read_text()
    assert 'mine.jsonl: none of the 3 predictions ran; question 0: near "```sql' in caplog.text
    assert "3 of the 3 predictions begin with a Markdown fence (```)" in caplog.text
    caplog.clear()
    run(tmp_path / "run", spider, predictions(tmp_path, "two.sql", GOLD[0], "SELECT", "nothing"))
    assert "did not run 2" in (tmp_path / "run/run/table.md").read_text()
    assert "predictions ran" not in caplog.text and "fence" not in caplog.text


def test_a_comparison_goes_with_its_scores(tmp_path: Path, spider: Path) -> None:
    mine = predictions(tmp_path, "mine.sql", *GOLD)
    run(tmp_path, spider, mine, f"compare_with={mine}")
    assert (tmp_path / "run/comparison.json").is_file()
    run(tmp_path, spider, mine)
    assert not (tmp_path / "run/comparison.json").exists()


def test_a_run_folder_keeps_the_scores_of_what_it_scored(
    tmp_path: Path, spider: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = predictions(tmp_path, "mine.sql", *GOLD), predictions(tmp_path, "theirs.sql", *["SELECT 1"] * 3)
    first = run(tmp_path, spider, mine)
    left = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    difference = r"predictions \(mine\.sql, [0-9a-f]{12} → theirs\.sql, [0-9a-f]{12}\)"
    with pytest.raises(LearnatError, match=rf"holds a run with other settings: {difference}\. Give another run_dir"):
        run(tmp_path, spider, theirs)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == left
    # The same once more, and the same predictions scored in another way, which is said.
    capsys.readouterr()
    assert run(tmp_path, spider, mine, "workers=2") == first
    assert "replaces" not in capsys.readouterr().out
    moved = tmp_path / "moved"
    moved.symlink_to(spider)
    assert run(tmp_path, moved, mine) == first
    run(tmp_path, spider, mine)
    capsys.readouterr()
    again = run(tmp_path, spider, mine, "metrics=[soft_f1]", "executor.timeout_s=20", f"compare_with={theirs}")
    assert again["soft_f1"]["all"] == 1.0
    said = " ".join(capsys.readouterr().out.split())
    assert "replaces scores made with other settings: compare_with (None → " in said
    run(tmp_path, spider, mine, "data.limit=2")
    assert "data.limit (None → 2)" in " ".join(capsys.readouterr().out.split())
    assert "executor.timeout_s (30 → 20), metrics (None → ['soft_f1'])" in said
    mine.write_text("SELECT 1\n" * 3)
    with pytest.raises(LearnatError, match=r"predictions \(mine\.sql, [0-9a-f]{12} → mine\.sql, [0-9a-f]{12}\)"):
        run(tmp_path, spider, mine)


def test_a_mistake_leaves_no_settings_behind(tmp_path: Path, spider: Path) -> None:
    with pytest.raises(LearnatError):
        run(tmp_path, spider, predictions(tmp_path, "mine.sql", *GOLD), "metrics=[ts]")
    run(tmp_path, spider, predictions(tmp_path, "theirs.sql", *GOLD))


def test_what_to_score_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"predictions=FILE.* checkpoint=.* engine=openai"):
        run(tmp_path, tmp_path / "nowhere", "", "predictions=null")


def test_a_training_run_is_scored_and_compared_by_stage(
    tmp_path: Path, spider: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    sql = {"sft": ["SELECT 1"] * 3, "madpo": GOLD}
    rows = [
        {"index": i, "predicted": text, "db_id": "music", "stage": stage, "split": "dev"}
        for stage in sql
        for i, text in enumerate(sql[stage])
    ]
    (trained / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = ["predictions_stage=madpo", f"compare_with={trained}", "compare_with_stage=sft"]
    assert run(tmp_path, spider, trained, *stages)["ex"]["all"] == 1.0
    assert f"EX, {trained} (sft) → madpo: 0.000 → 1.000" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "run/comparison.json").read_text())["with"] == f"{trained} (sft)"
    with pytest.raises(LearnatError, match=r"stages sft, madpo: .* compare_with_stage="):
        run(tmp_path, spider, trained, *stages[:2])
    with pytest.raises(LearnatError, match=r"predictions_stage=sft .* without predictions"):
        run(tmp_path, spider, "", "predictions=null", "engine=openai", "engine.model=m", "predictions_stage=sft")
