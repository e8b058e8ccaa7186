"""The generated benchmark: deterministic, sound, varied as promised, and free of leaks."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from learnat.benchmarks.generated import GeneratedBenchmark, Parameters, questions, write
from learnat.benchmarks.generated.families import FAMILIES
from learnat.benchmarks.generated.questions import difficulty, masked_template, token_key
from learnat.errors import LearnatError
from learnat.sql.canonical import canonicalize

SPLITS = ("train", "dev_seen", "dev_unseen")


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> GeneratedBenchmark:
    """The default benchmark, whole."""
    return GeneratedBenchmark(cache_dir=tmp_path_factory.mktemp("cache"))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _run(benchmark: GeneratedBenchmark, db_id: str, sql: str) -> list[tuple[object, ...]]:
    path = benchmark.database(db_id).path
    assert path is not None
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    small: dict[str, Any] = {"num_databases": 3, "num_unseen_databases": 2, "train_questions": 60, "dev_questions": 20}
    script = (
        "import sys; from pathlib import Path; from learnat.benchmarks.generated import Parameters, write; "
        f"write(Path(sys.argv[1]), Parameters(**{small!r}))"
    )
    folders = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", script, str(folder)], check=True, env=environment)
        folders.append(folder)
    assert _files(folders[0]) == _files(folders[1])
    other = tmp_path / "other"
    other.mkdir()
    write(other, Parameters(seed=1, **small))
    assert _files(other)["train.json"] != _files(folders[0])["train.json"]


def test_sizes_of_the_default(default: GeneratedBenchmark) -> None:
    assert len(default.examples("train")) == 2000
    assert all(len(default.examples(split)) >= 300 for split in SPLITS[1:])
    databases = {split: {example.db_id for example in default.examples(split)} for split in SPLITS}
    assert len(databases["train"]) == 8
    assert databases["dev_seen"] == databases["train"]
    assert not databases["dev_unseen"] & databases["train"]
    assert default.ex_mode == "spider_bag"
    assert {example.difficulty for example in default.examples("train")} == set(default.difficulties)


def test_every_gold_runs_and_few_return_nothing(default: GeneratedBenchmark) -> None:
    for split in SPLITS:
        examples = default.examples(split)
        results = [_run(default, example.db_id, example.gold_sql) for example in examples]
        empty = sum(not rows for rows in results)
        assert empty / len(examples) < 0.02
        assert not any(rows == [(None,)] for rows in results)
    assert default.manifest["statistics"]["train"]["empty"] > 0


def test_a_third_joins_and_a_sixth_nests(default: GeneratedBenchmark) -> None:
    for split in SPLITS:
        sql = [example.gold_sql for example in default.examples(split)]
        assert sum(" JOIN " in text for text in sql) / len(sql) > 1 / 3
        assert sum("(SELECT" in text for text in sql) / len(sql) > 1 / 6
        constructs: tuple[str, ...] = (
            "HAVING",
            "LIMIT",
            "DISTINCT",
            "BETWEEN",
            "LIKE",
            "IS NULL",
            "EXISTS",
            "NOT IN",
            "strftime",
        )
        constructs += ("UNION", "INTERSECT", "EXCEPT", " - ", " OR ")
        missing = [word for word in constructs if not any(word in text for text in sql)]
        assert split != "train" or not missing


def test_practice_is_new_and_changes_nothing_else(default: GeneratedBenchmark, tmp_path: Path) -> None:
    practice = default.examples("practice")
    trained = default.examples("train")
    assert len(practice) == 480
    assert {example.db_id for example in practice} == {example.db_id for example in trained}
    assert not {(e.db_id, e.question) for e in practice} & {(e.db_id, e.question) for e in trained}
    asked = {(example.db_id, token_key(example.gold_sql)) for example in practice}
    assert len(asked) == 480
    assert not asked & {(example.db_id, token_key(example.gold_sql)) for example in trained}
    of_dev = {token_key(example.gold_sql) for split in SPLITS[1:] for example in default.examples(split)}
    assert not {key for _, key in asked} & of_dev

    without = GeneratedBenchmark(cache_dir=tmp_path, practice_questions=1)
    before, after = _files(without.root), _files(default.root)
    assert {name for name in after if after[name] != before[name]} == {"practice.json", "manifest.json"}


def test_no_dev_query_is_trained_on(default: GeneratedBenchmark) -> None:
    train = default.examples("train")
    for split in SPLITS[1:]:
        dev = default.examples(split)
        assert not {token_key(item.gold_sql) for item in dev} & {token_key(item.gold_sql) for item in train}
        assert not {(item.db_id, item.question) for item in dev} & {(item.db_id, item.question) for item in train}
        shared = {masked_template(item.gold_sql) for item in train}
        overlap = sum(masked_template(item.gold_sql) in shared for item in dev) / len(dev)
        assert default.manifest["statistics"][split]["template_in_train"] == pytest.approx(overlap, abs=1e-4)


def test_it_is_said_how_much_of_dev_is_like_train(
    default: GeneratedBenchmark, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        GeneratedBenchmark(default.root)
    shares = [default.manifest["statistics"][split]["template_in_train"] for split in ("dev_seen", "dev_unseen")]
    seen, unseen = (f"{100 * share:.1f} %" for share in shares)
    assert f"questions whose masked SQL template occurs in train: dev_seen {seen}, dev_unseen {unseen}" in caplog.text


def test_the_manifest_is_no_split(default: GeneratedBenchmark) -> None:
    with pytest.raises(LearnatError, match=r"that are there: dev_seen, dev_unseen, practice, train \("):
        default.examples("dev_sen")


def test_no_dev_query_is_trained_on_by_canonical_form(default: GeneratedBenchmark) -> None:
    def canonical(split: str) -> list[str]:
        examples = default.examples(split)
        return [canonicalize(item.gold_sql, default.database(item.db_id).schema) for item in examples]

    train = canonical("train")
    assert len(set(train)) == len(train)
    for split in SPLITS[1:]:
        assert not set(canonical(split)) & set(train)


def test_one_wording_has_one_meaning(default: GeneratedBenchmark) -> None:
    for split in SPLITS:
        seen: dict[tuple[str, str], str] = {}
        for item in default.examples(split):
            key = (item.db_id, item.question)
            assert seen.setdefault(key, item.gold_sql) == item.gold_sql


def test_values_in_questions_occur_in_the_rows(default: GeneratedBenchmark) -> None:
    for item in default.examples("dev_seen"):
        path = default.database(item.db_id).path
        assert path is not None
        with closing(sqlite3.connect(path)) as connection:
            dump = "\n".join(connection.iterdump())
        for operator, value in re.findall(r"(\S+) '([^']*)'", item.gold_sql):
            assert value.strip("%") in item.question
            assert operator in (">", "<") or value.strip("%") in dump  # a bound need not occur in the rows


def test_no_tie_decides_what_a_limit_keeps_or_how_rows_are_ordered(default: GeneratedBenchmark) -> None:
    for item in default.examples("train"):
        found = re.search(r" ORDER BY (.+) (?:ASC|DESC)(?: LIMIT (\d+))?$", item.gold_sql)
        if found is None:
            continue
        key, limit = found.group(1), int(found.group(2) or 0)
        body = re.sub(r" LIMIT \d+$", "", item.gold_sql)
        keys = [row[0] for row in _run(default, item.db_id, body.replace("SELECT ", f"SELECT {key}, ", 1))]
        compared = keys[: limit + 1] if limit else keys
        assert len(compared) == len(set(compared)), item.gold_sql


def test_evidence_explains_words_that_the_schema_does_not(default: GeneratedBenchmark) -> None:
    explained = [item for item in default.examples("train") if item.evidence]
    assert len(explained) > 0.05 * len(default.examples("train"))
    for item in explained:
        for piece in item.evidence.split("; "):
            term = re.split(r" means | refers to | = ", piece)[0]
            assert term in item.question


def test_constructs_are_worded_in_several_ways(default: GeneratedBenchmark) -> None:
    rows = json.loads((default.root / "train.json").read_text())
    families: dict[str, set[str]] = {}
    for row in rows:
        families.setdefault(row["family"], set()).add(" ".join(row["question"].split()[:2]))
    assert len(families) >= 20
    assert all(len(openings) >= 3 for openings in families.values())


def test_databases_have_two_to_six_tables_that_hang_together(default: GeneratedBenchmark) -> None:
    for db_id in {item.db_id for split in SPLITS for item in default.examples(split)}:
        database = default.database(db_id)
        assert 2 <= len(database.schema.tables) <= 6
        assert len(database.schema.foreign_keys) >= len(database.schema.tables) - 2
        assert all(table.primary_key for table in database.schema.tables)
        assert database.path is not None
        with closing(sqlite3.connect(database.path)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        described = database.path.parent / "database_description"
        assert {path.stem for path in described.iterdir()} == {table.name for table in database.schema.tables}


def test_names_are_no_sql_keywords() -> None:
    import sqlglot

    from learnat.benchmarks.generated.domains import HELD_OUT, TRAINING

    for domain in TRAINING + HELD_OUT:
        for table in domain.tables:
            for column in table.columns:
                sql = f"SELECT {table.name}.{column.names[0]}, {column.names[-1]} FROM {table.names[-1]}"
                assert sqlglot.parse_one(sql, dialect="sqlite").sql("sqlite") == sql


def test_words_for_columns_are_unambiguous() -> None:
    from learnat.benchmarks.generated.domains import HELD_OUT, TRAINING

    assert len(TRAINING + HELD_OUT) >= 14
    for domain in TRAINING + HELD_OUT:
        nouns = [name for table in domain.tables for name in table.names]
        assert len(nouns) == len(set(nouns)), domain.name
        for table in domain.tables:
            phrases = [
                phrase
                for column in table.columns
                if column.kind != "ref"
                for phrase in {*column.words, *(name.replace("_", " ") for name in column.names)}
            ]
            assert len(phrases) == len(set(phrases)), (domain.name, table.name)


def test_a_folder_is_reused_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    small: dict[str, Any] = {"num_databases": 2, "num_unseen_databases": 1, "train_questions": 20, "dev_questions": 10}
    first = GeneratedBenchmark(cache_dir=tmp_path, **small)
    written = (first.root / "manifest.json").stat().st_mtime_ns
    again = GeneratedBenchmark(cache_dir=tmp_path, **small)
    assert again.root == first.root
    assert (again.root / "manifest.json").stat().st_mtime_ns == written
    (first.root / "manifest.json").unlink()
    (first.root / "train.json").write_text("[]")
    repaired = GeneratedBenchmark(cache_dir=tmp_path, **small)
    assert len(repaired.examples("train")) == 20
    by_root = GeneratedBenchmark(root=first.root, limit=5)
    assert [item.example_id for item in by_root.examples("train")] == [f"train/{index}" for index in range(5)]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("unseen_domains", ["new", "known"])
def test_scales_to_many_databases_and_renames_them(tmp_path: Path, unseen_domains: str) -> None:
    benchmark = GeneratedBenchmark(
        cache_dir=tmp_path,
        num_databases=40,
        num_unseen_databases=6,
        train_questions=800,
        dev_questions=80,
        unseen_domains=unseen_domains,
        rename=0.5,
    )
    train = {token_key(item.gold_sql) for item in benchmark.examples("train")}
    assert len({item.db_id for item in benchmark.examples("train")}) == 40
    assert all(len(benchmark.examples(split)) == 80 for split in SPLITS[1:])
    assert not train & {token_key(item.gold_sql) for split in SPLITS[1:] for item in benchmark.examples(split)}
    unseen = {item.db_id.rstrip("_0123456789") for item in benchmark.examples("dev_unseen")}
    seen = {item.db_id.rstrip("_0123456789") for item in benchmark.examples("train")}
    assert unseen <= seen if unseen_domains == "known" else not unseen & seen
    words = {
        table.name
        for db_id in ("library", "library_2", "library_3")
        for table in benchmark.database(db_id).schema.tables
    }
    assert len(words) > 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_databases": 0}, "num_databases=0"),
        ({"unseen_domains": "knwon"}, "Did you mean 'known'"),
        ({"rename": 2.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_generated_says_why(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=re.escape(message)):
        GeneratedBenchmark(cache_dir=tmp_path, **options)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_every_key_of_the_config_reaches_the_generator(tmp_path: Path) -> None:
    data = OmegaConf.load(Path(__file__).parents[2] / "conf" / "data" / "generated.yaml")
    small = {"num_databases": 3, "num_unseen_databases": 1, "train_questions": 30, "dev_questions": 6, "seed": 5}
    small["practice_questions"] = 4
    assert isinstance(data, DictConfig)
    config = OmegaConf.create({"cache_dir": str(tmp_path), "data": OmegaConf.merge(data, small, {"limit": 7})})
    benchmark = instantiate(config.data.benchmark)
    assert isinstance(benchmark, GeneratedBenchmark)
    assert benchmark.manifest["parameters"] == {**small, "unseen_domains": "new", "rename": 0.0}
    assert len(benchmark.examples("train")) == 7
    assert benchmark.root.parent == tmp_path
    defaults = asdict(Parameters())
    assert defaults == {key: data[key] for key in defaults}


def test_more_questions_than_a_database_yields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "FAMILIES", {"own_group": FAMILIES["own_group"]})
    with pytest.raises(LearnatError, match=re.escape("Raise data.num_databases")):
        GeneratedBenchmark(cache_dir=tmp_path, num_databases=1)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_root_that_was_not_generated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=re.escape("manifest.json")):
        GeneratedBenchmark(root=tmp_path)


@pytest.mark.parametrize(
    ("sql", "template", "level"),
    [
        ("SELECT name FROM author WHERE country = 'Chile'", "SELECT _ FROM _ WHERE _ = ?", "simple"),
        (
            "SELECT a.name FROM a JOIN b ON a.b_id = b.b_id GROUP BY a.name",
            "SELECT _ FROM _ JOIN _ ON _ = _ GROUP BY _",
            "moderate",
        ),
        (
            "SELECT n FROM a WHERE a_id IN (SELECT a_id FROM c GROUP BY a_id HAVING COUNT(*) > 2)",
            "SELECT _ FROM _ WHERE _ IN ( SELECT _ FROM _ GROUP BY _ HAVING COUNT ( * ) > ? )",
            "challenging",
        ),
    ],
)
def test_templates_and_levels(sql: str, template: str, level: str) -> None:
    assert masked_template(sql) == template
    assert difficulty(sql) == level
