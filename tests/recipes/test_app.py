"""What every command does around its recipe: exit codes, messages, run folder, the table of a sweep."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def run_folder(output: str) -> str:
    """The folder that the last line names."""
    last = output.strip().splitlines()[-1]
    assert last.startswith("Run folder: "), output
    return last.removeprefix("Run folder: ")


def test_a_run_ends_with_its_folder_which_holds_config_log_and_provenance(app: Command, folder: Path) -> None:
    done = app("trainer.max_steps=3", "run_dir=out")
    assert done.returncode == 0, done.stderr
    assert run_folder(done.stdout) == "out"
    record = json.loads((folder / "out" / "provenance.json").read_text())
    assert record["config"]["trainer"]["max_steps"] == 3
    assert record["config"]["run_dir"] == str(folder / "out")
    assert {"hydra-core", "sqlglot", "torch"} <= set(record["packages"])
    assert {"git", "data_hash", "prompt_hash", "sqlite"} <= set(record)
    assert (folder / "out" / "app.log").is_file()
    assert (folder / "out" / ".hydra" / "config.yaml").is_file()


def test_the_default_folder_is_named_by_the_start_time(app: Command) -> None:
    assert run_folder(app().stdout).startswith("runs/app/20")


@pytest.mark.parametrize(
    ("behaviour", "code", "message"),
    [
        ("mistake", 2, "The file x is missing: put it there."),
        ("wrapped", 2, "A wrapped mistake."),
        ("interrupt", 130, "Interrupted."),
    ],
)
def test_a_mistake_is_one_message_without_traceback(app: Command, behaviour: str, code: int, message: str) -> None:
    done = app(f"behaviour={behaviour}")
    assert done.returncode == code
    assert done.stderr.strip() == message
    assert run_folder(done.stdout).startswith("runs/app/")


@pytest.mark.parametrize(
    ("deleted", "key"),
    [("~loss.name", "loss.name"), ("~seed", "seed"), ("~loss", "loss")],
    ids=["below", "key", "group"],
)
def test_a_deleted_key_that_the_recipe_reads_is_one_message(app: Command, deleted: str, key: str) -> None:
    done = app(deleted, "run_dir=out")
    assert done.returncode == 2
    assert done.stderr.strip() == f"{key} is needed here, and was deleted or never set."


def test_two_things_asked_of_hydra_at_once_are_refused(app: Command) -> None:
    done = app("-m", "--cfg=job")
    assert done.returncode == 2
    assert done.stderr == "--multirun and --cfg do not go together: give one of them.\n"


def test_hydra_full_error_keeps_the_traceback(app: Command) -> None:
    done = app("behaviour=mistake", HYDRA_FULL_ERROR="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_bug_shows_its_traceback_and_logs_it(app: Command, folder: Path) -> None:
    done = app("behaviour=bug", "run_dir=out")
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr
    assert "Traceback" in (folder / "out" / "app.log").read_text()


def test_a_value_left_open_is_named(app: Command) -> None:
    done = app("required=???")
    assert done.returncode == 2
    assert "required has no value" in done.stderr


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize("text", ["a ${b} c", r"a \${b}, 'c' \\${d}", "${oc.env:HOME}", "${", "$ {x} ?"])
def test_a_text_reaches_the_recipe_and_its_record_as_it_is(
    app: Command, folder: Path, flags: list[str], text: str
) -> None:
    done = app(*flags, f"text={text}", "behaviour=echo", "run_dir=out", "hydra.sweep.dir=out")
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith("[20")]
    assert printed[:3] == [text] * 3
    [path] = (folder / "out").rglob("provenance.json")
    config = json.loads(path.read_text())["config"]
    assert (config["text"], config["again"]) == (text, text)


def test_an_interpolation_that_leads_nowhere_is_named_by_its_key(app: Command) -> None:
    done = app("server.host='${nowhere}'")
    assert done.returncode == 2
    assert done.stderr.startswith("server.host: Interpolation key 'nowhere' not found")


def test_an_unset_environment_variable_is_named(app: Command) -> None:
    done = app("required='${oc.env:NOT_SET_ANYWHERE}'")
    assert done.returncode == 2
    assert "NOT_SET_ANYWHERE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_ends_with_one_table_of_its_jobs(app: Command, folder: Path) -> None:
    done = app("-m", "loss=sft,madpo", "seed=1,2", "trainer.max_steps=3")
    assert done.returncode == 0, done.stderr
    sweep = folder / run_folder(done.stdout)
    with (sweep / "sweep.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["job", "loss", "seed", "stage", "EX dev_seen", "EX dev_unseen"]
    assert rows[0] == ["0", "sft", "1", "sft", "0.1000", "0.2500"]
    assert rows[3] == ["3", "madpo", "2", "madpo", "0.2000", "0.2500"]
    assert "4 jobs" in done.stdout
    assert {path.parent.name for path in sweep.glob("*/metrics.json")} == {"0", "1", "2", "3"}


def test_an_experiment_can_be_a_sweep(app: Command) -> None:
    done = app("experiment=sweep")
    assert done.returncode == 0, done.stderr
    assert "4 jobs" in done.stdout


def test_a_failed_job_leaves_the_others_and_fails_the_sweep(app: Command) -> None:
    done = app("-m", "behaviour=mistake,fine")
    assert done.returncode == 1
    table = done.stdout
    assert "The file x is missing" in table
    assert "0.2500" in table
    assert "Traceback" not in done.stderr


def test_jobs_of_a_sweep_share_its_start_time(app: Command, folder: Path) -> None:
    done = app("-m", "seed=1,2")
    sweep = folder / run_folder(done.stdout)
    times = {json.loads(path.read_text())["config"]["started"] for path in sweep.glob("*/provenance.json")}
    assert times == {sweep.name}


# --- folders that cannot be had --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run_dir=app.py"], "run_dir=app.py: no folder can be made or written to there (File exists)."),
        (["run_dir=app.py/x"], "run_dir=app.py/x: no folder can be made or written to there (Not a directory)."),
        (["run_dir=/proc/x"], "run_dir=/proc/x: no folder can be made or written to there"),
        (["run_dir=/proc"], "run_dir=/proc: no folder can be made or written to there"),
        (["run_dir="], "run_dir is empty: name the folder that the run writes into, run_dir=FOLDER."),
        (["run_dir=null"], "run_dir is empty"),
        (["run_dir=${nothing}"], "run_dir: Interpolation key 'nothing' not found"),
        (["-m", "seed=1,2", "hydra.sweep.dir=app.py/x"], "hydra.sweep.dir=app.py/x: no folder can be made"),
        (["-m", "seed=1,2", "hydra.sweep.dir="], "hydra.sweep.dir is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_folder_that_cannot_be_had_is_one_message(
    app: Command, folder: Path, arguments: list[str], message: str
) -> None:
    before = set(folder.rglob("*"))
    done = app(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(message)
    assert len(done.stderr.strip().splitlines()) == 1
    assert set(folder.rglob("*")) == before


def test_a_folder_that_is_there_is_used_again(app: Command, folder: Path) -> None:
    for _ in range(2):
        assert run_folder(app("run_dir=a folder/out").stdout) == "a folder/out"
    assert not [path for path in (folder / "a folder" / "out").iterdir() if path.name.startswith("tmp")]


# --- a reader that has seen enough -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["behaviour=chatty"], []], ids=" ".join)
def test_a_closed_pipe_ends_the_command_quietly(folder: Path, arguments: list[str]) -> None:
    command = [sys.executable, "app.py", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_pipe_gets_all_that_is_printed(app: Command) -> None:
    done = app("--help")
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith("Use --hydra-help to view Hydra specific help")


def test_the_record_holds_the_command_as_it_was_typed(app: Command, folder: Path) -> None:
    (folder / "conf").rename(folder / "elsewhere")
    typed = ["--config-path", "elsewhere", "run_dir=out", "text=a, b"]
    done = app(*typed)
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / "out" / "provenance.json").read_text())
    assert (record["command"], record["config"]["text"]) == (["app.py", *typed], "a, b")
