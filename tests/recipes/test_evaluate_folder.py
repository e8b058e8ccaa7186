"""evaluate.py overwrites nobody's files, shares its run folder with nobody, and names a mistake in what it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tests.inference.music import Music

from learnat.errors import LearnatError
from learnat.recipes.evaluate import evaluate
from learnat.recipes.evaluation_folder import LOCK_FILE
from learnat.recipes.provenance import keep_settings, write_provenance

CONF = Path(__file__).parents[2] / "conf"
SQL = ["SELECT name FROM singer WHERE age > 40", "SELECT name FROM singer", "SELECT 1"]


@pytest.fixture(autouse=True)
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three questions; the folder that the test works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("learnat.recipes.evaluate.instantiate", lambda config: Music(tmp_path))
    return tmp_path


def score(file: str | None, *overrides: str, run_dir: str = "run") -> dict[str, Any]:
    Path(run_dir).mkdir(exist_ok=True)
    given = [f"predictions={'null' if file is None else file}", f"run_dir={run_dir}", "workers=1", "metrics=[]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", [*given, "cache_dir=cache", *overrides])
    OmegaConf.resolve(cfg)
    evaluate(cfg)
    return json.loads((Path(run_dir) / "metrics.json").read_text())


def write(path: str) -> Path:
    Path(path).parent.mkdir(exist_ok=True)
    rows = [{"index": i, "predicted": text} for i, text in enumerate(SQL, start=4)]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(path)


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != LOCK_FILE}


@pytest.mark.parametrize("given", ["mine", "mine/predictions.jsonl", "mine/../mine/predictions.jsonl", "link"])
@pytest.mark.parametrize("key", ["predictions", "compare_with"])
def test_a_run_folder_that_would_overwrite_its_input_is_refused(given: str, key: str) -> None:
    write("mine/predictions.jsonl")
    write("other.jsonl")
    Path("link").symlink_to("mine/predictions.jsonl")
    before = contents("mine")
    others = [] if key == "predictions" else [f"compare_with={given}"]
    with pytest.raises(LearnatError, match=rf"would overwrite {key}={given}.*: give another run_dir"):
        score(given if key == "predictions" else "other.jsonl", *others, run_dir="mine")
    assert contents("mine") == before


@pytest.mark.parametrize("config", [{"shard": None, "data": {"split": "train"}}, {"warm_start": {"loss": None}}])
def test_a_run_folder_with_another_commands_record_is_refused(config: dict[str, Any]) -> None:
    Path("run").mkdir()
    write_provenance(Path("run"), OmegaConf.create(config))
    record = json.loads(Path("run/provenance.json").read_text())
    record["command"] = ["/somewhere/synthesize.py", "data=generated"]
    Path("run/provenance.json").write_text(json.dumps(record))
    before = contents("run")
    with pytest.raises(LearnatError, match=r"run holds a run of synthesize\.py.*Give another run_dir"):
        score(str(write("mine.jsonl")))
    assert contents("run") == before
    # Its own are gone on with, and so is a record that a kill left unfinished.
    score("mine.jsonl", run_dir="own")
    score("mine.jsonl", run_dir="own")
    Path("own/provenance.json").write_text("")
    score("mine.jsonl", run_dir="own")


def test_what_a_kill_left_of_the_settings_is_one_message() -> None:
    write("mine.jsonl")
    score("mine.jsonl")
    for text in ("", "[]", '{"predictions": ', "\0"):
        Path("run/settings.json").write_text(text)
        with pytest.raises(LearnatError, match=r"settings\.json cannot be read.*Give another run_dir.*delete"):
            score("mine.jsonl")
        assert Path("run/settings.json").read_text() == text


def test_settings_and_record_are_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.create({"a": 1})
    for number, written in enumerate((keep_settings, write_provenance)):
        folder = Path(f"kept{number}")
        folder.mkdir()
        written(folder, config)
        before = contents(str(folder))

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", killed)
            with pytest.raises(KeyboardInterrupt):
                written(folder, config)
        assert before.items() <= contents(str(folder)).items()


def test_two_processes_do_not_work_in_one_folder() -> None:
    write("mine.jsonl")
    Path("run").mkdir()
    code = (
        "import sys; from filelock import FileLock; "
        f"lock = FileLock('run/{LOCK_FILE}'); lock.acquire(); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        with pytest.raises(LearnatError, match=r"run: another evaluate\.py writes here.*give another run_dir"):
            score("mine.jsonl")
        assert contents("run") == {}
        other.communicate()
    score("mine.jsonl")
    with FileLock(f"run/{LOCK_FILE}", timeout=0):  # it was let go of
        pass


def test_predictions_and_a_servers_model_are_not_scored_at_once() -> None:
    write("mine.jsonl")
    with pytest.raises(LearnatError, match=r"predictions=FILE asks no model.*leave engine=… out"):
        score("mine.jsonl", "engine=openai", "engine.model=m")
    assert contents("run") == {}


def test_names_of_digits_are_names() -> None:
    write("5")
    write("7/predictions.jsonl")
    assert score("5", "compare_with=7")["ex"]["all"] == pytest.approx(1 / 3)
    assert json.loads(Path("run/comparison.json").read_text())["with"] == "7"
    score("5", "compare_with=7", "data.split=3", run_dir="another")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["predictions=[mine.jsonl]"], r"predictions=\['mine\.jsonl'\] must be one file or run folder"),
        (["predictions=true"], r"predictions=True must be one file or run folder.*\./NAME"),
        (["predictions=2.5"], r"predictions=2\.5 must be one file"),
        (["predictions={a: 1}"], "must be one file"),
        (["compare_with=true"], r"compare_with=True must be one file"),
        (["compare_with=5"], "No prediction file at 5"),
        (["predictions=null", "checkpoint=[a,b]"], r"checkpoint=\['a', 'b'\] must be one folder.* -m checkpoint="),
        (["predictions=null", "checkpoint=5"], "5 is not a LearNAT checkpoint"),
        (["metrics=5"], r"metrics=5 must be names of metrics, as in metrics=\[em,ts\]"),
        (["metrics=[5]"], r"metrics=\[5\] must be names"),
        (["data.split=null"], r"data\.split=null must be one split"),
        (["data.split=''"], r"data\.split='' must be one split"),
        (["data.split=[a,b]"], r"data\.split=\['a', 'b'\] must be one split.* -m data\.split="),
        ([f"predictions={'a' * 300}"], "too long"),
        (["predictions=null", f"checkpoint={'a' * 300}"], "not a LearNAT checkpoint"),
    ],
)
def test_what_is_given_is_named_where_it_is_wrong(overrides: list[str], message: str) -> None:
    write("mine.jsonl")
    with pytest.raises(LearnatError, match=message):
        score("mine.jsonl", *overrides)
