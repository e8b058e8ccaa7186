"""Unknown names on the command line are refused with the nearest valid one, before anything runs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from learnat.errors import LearnatError
from learnat.recipes.config_check import check_overrides

Command = Callable[..., subprocess.CompletedProcess[str]]

REFUSED = [
    ("loss=madpoo", "No loss is called 'madpoo'. Did you mean 'madpo'?"),
    ("loss=zzz", "No loss is called 'zzz'. Known: madpo, sft."),
    ("loss=sft,madpoo", "No loss is called 'madpoo'. Did you mean 'madpo'?"),
    ("traner=gpu", "Unknown key 'traner'. Did you mean 'trainer'?"),
    ("traner.max_steps=3", "Unknown key 'traner.max_steps'. Did you mean 'trainer.max_steps'?"),
    ("trainer.max_stepz=3", "Unknown key 'trainer.max_stepz'. Did you mean 'trainer.max_steps'?"),
    ("max_steps=3", "Unknown key 'max_steps'. Did you mean 'trainer.max_steps'?"),
    ("trainer.qqq=3", "Unknown key 'trainer.qqq'. Known below 'trainer': accelerator, max_steps."),
    ("seed.x=3", "Unknown key 'seed.x'. 'seed' is a single value."),
    ("seeed=1,2", "Unknown key 'seeed'. Did you mean 'seed'?"),
    (
        "loss.weights.decay=3",
        "Unknown key 'loss.weights.decay': no loss/weights is chosen. Give loss/weights=MEMBER too. Known: decayed, "
        "even.",
    ),
    ("loss.weights=even", "'loss.weights' is a group: write loss/weights=even."),
    ("experiment=misspelt", "Experiment misspelt: Unknown key 'trainer.max_stepz'. Did you mean 'trainer.max_steps'?"),
    ("loss=null", "No loss is called 'null'. Known: madpo, sft."),
    (
        "experiment=nope",
        "No experiment is called 'nope'. Known: bad_sweep, elsewhere, good, interval, mapping, misspelt, sweep.",
    ),
    (
        "experiment=elsewhere",
        "experiment=elsewhere is a study of other.py: python other.py experiment=elsewhere loss=sft",
    ),
    (
        "experiment=good,elsewhere",
        "experiment=elsewhere is a study of other.py: python other.py experiment=elsewhere loss=sft",
    ),
    ("flavour=mild", "app.py has no group 'flavour'; its groups: experiment, loss, trainer."),
    ("+flavour=mild", "app.py has no group 'flavour'; its groups: experiment, loss, trainer."),
    ("flavour.strength=2", "app.py has no group 'flavour'; its groups: experiment, loss, trainer."),
    ("+loss=sft", "loss is chosen without a plus: write loss=sft."),
    ("+experiment=good", "experiment is chosen without a plus: write experiment=good."),
    ("+trainer.max_stepz=1", "Unknown key 'trainer.max_stepz'. Did you mean 'trainer.max_steps'?"),
    ("++traner.max_steps=1", "Unknown key 'traner.max_steps'. Did you mean 'trainer.max_steps'?"),
    ("+server.hots=there", "Unknown key 'server.hots'. Did you mean 'server.host'?"),
    ("trainer={max_stepz:3}", "Unknown key 'trainer.max_stepz'. Did you mean 'trainer.max_steps'?"),
    (
        "server.headers.accept=text",
        "'server.headers' has no key 'accept' yet: add it with a plus, +server.headers.accept=text.",
    ),
    (
        "server.headers.accept=a,b",
        "'server.headers' has no key 'accept' yet: add it with a plus, +server.headers.accept=a,b.",
    ),
    (
        "server.headers={accept:text}",
        "'server.headers' has no key 'accept' yet: add it with a plus, +server.headers={accept:text}.",
    ),
    (
        "run_dir=runs/with space/ü",
        "Cannot read the override run_dir=runs/with space/ü: a text with special characters needs quotes inside the "
        """shell's, 'run_dir="runs/with space/ü"'""",
    ),
    ("seed", "Cannot read the override seed: write KEY=VALUE."),
    ("loss.beat=interval(0,1)", "Unknown key 'loss.beat'. Did you mean 'loss.beta'?"),
    ("loss=glob(x*)", "loss=glob(x*) stands for no value at all: there would be nothing to run."),
    ("seed=range(3,1)", "seed=range(3,1) stands for no value at all: there would be nothing to run."),
    ("seed=range(1,3,0)", "seed=range(1,3,0) has a step of 0: there would be no end of values."),
    ("seed=range(1,3,0.0)", "seed=range(1,3,0.0) has a step of 0: there would be no end of values."),
    ("loss=interval(0,1)", "No loss is called '0.0'. Known: madpo, sft."),
    (
        "trainer={max_steps:{a:1},speed:{_target_:x}}",
        "Unknown key 'trainer.speed'. Known below 'trainer': accelerator, max_steps.",
    ),
    (
        "callbacks.mine._target_=x.Y",
        "Unknown key 'callbacks.mine._target_'. Add it with a plus: +callbacks.mine._target_=….",
    ),
    ("callbacks={mine:{_target_:x.Y}}", "Unknown key 'callbacks.mine'. Add it with a plus: +callbacks.mine=…."),
    (
        "trainer.extra._target_=x.Y",
        "Unknown key 'trainer.extra._target_'. Known below 'trainer': accelerator, max_steps.",
    ),
    ("experiment=null", "experiment is null by default: leave experiment=null out."),
    ("experiment=null,good", "experiment is null by default: leave experiment=null out."),
    ("limit.x=3", "Unknown key 'limit.x'. 'limit' is null here and has no keys."),
    ("experiment=bad_sweep", "No loss is called 'madpoo'. Did you mean 'madpo'?"),
]


@pytest.mark.parametrize(("override", "message"), REFUSED)
def test_refused(folder: Path, override: str, message: str) -> None:
    with pytest.raises(LearnatError) as caught:
        check_overrides(folder / "conf", "app", [override])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=sft", "trainer=gpu", "trainer.max_steps=3"],
        ["loss=sft,madpo", "seed=1,2,3"],
        ["loss=choice(sft,madpo)", "seed=range(1,4)"],
        ["loss=glob(*)"],
        ["+server.timeout=1", "++server.port=80", "+server._partial_=true"],
        ["+server.headers.accept=text", "++server.headers.a.b=1"],
        ["+server.headers={accept:text}"],
        ["+callbacks.mine._target_=x.Y"],
        ["+callbacks={mine:{_target_:x.Y}}"],
        ["loss.beta=interval(0.01,0.5)", "seed=tag(a,interval(1,9))", "hydra/sweeper=search"],
        ["experiment=interval", "seed=2", "hydra/sweeper=search"],
        # a mapping in the place of null, of a number, of a text
        ["limit={a:{b:1}}", "server.host={_target_:x.Y,z:1}"],
        ["trainer={max_steps:{a:1}}"],
        ["experiment=mapping"],
        ["+trainer/extra=fast"],
        ["++seed=2"],
        ["trainer={max_steps:3}"],
        ["experiment=good", "trainer.max_steps=5"],
        ["loss/weights=decayed", "loss.weights.decay=3"],
        ["loss.weights=null"],
        ["experiment=sweep", "seed=3,4"],
        ["~trainer"],
        ["hydra.sweep.dir=elsewhere", "hydra/launcher=basic"],
    ],
)
def test_accepted(folder: Path, overrides: list[str]) -> None:
    check_overrides(folder / "conf", "app", overrides)


@pytest.mark.parametrize(
    ("overrides", "interval", "example"),
    [
        (["loss.beta=interval(0.05,0.5)"], "loss.beta=interval(0.05,0.5)", "loss.beta=0.05,0.5"),
        (["seed=1,2", "trainer.max_steps=tag(a,interval(1,9))"], None, "trainer.max_steps=1,9"),
        (["experiment=interval"], "loss.beta=interval(0.01,0.5)", "loss.beta=0.01,0.5"),
        # the basic sweeper stumbles over what an experiment sweeps even where the command line says otherwise
        (["experiment=interval", "loss.beta=1"], "loss.beta=interval(0.01,0.5)", "loss.beta=0.01,0.5"),
    ],
)
def test_an_interval_needs_a_sweeper_that_searches(
    folder: Path, overrides: list[str], interval: str | None, example: str
) -> None:
    with pytest.raises(LearnatError) as caught:
        check_overrides(folder / "conf", "app", overrides)
    assert str(caught.value) == (
        f"{interval or overrides[-1]} is an interval, and Hydra's basic sweeper tries single values: list them, "
        f"{example}, or give choice(…) or range(…). A search in it is hydra/sweeper=optuna, "
        "with the extra optuna (pip install -e '.[optuna]')."
    )


@pytest.mark.parametrize("sweeper", ["basic", "search"])
def test_an_interval_among_values_is_one_message(folder: Path, sweeper: str) -> None:
    with pytest.raises(LearnatError) as caught:
        check_overrides(folder / "conf", "app", ["seed=interval(1,3),2", f"hydra/sweeper={sweeper}"])
    assert str(caught.value) == "seed=interval(1,3),2 has an interval among its values: give the one or the others."


def test_a_key_of_one_member_only_is_refused_for_a_sweep_over_both(folder: Path) -> None:
    check_overrides(folder / "conf", "app", ["loss=madpo", "loss.beta=0.2"])
    with pytest.raises(LearnatError, match=r"Unknown key 'loss\.beta'"):
        check_overrides(folder / "conf", "app", ["loss=madpo,sft", "loss.beta=0.2"])


@pytest.mark.parametrize("flags", [[], ["-m"], ["--cfg", "job"]])
def test_the_command_line_prints_one_message_and_exits_with_2(app: Command, flags: list[str]) -> None:
    done = app(*flags, "loss=madpoo")
    assert done.returncode == 2
    assert done.stderr.strip() == "No loss is called 'madpoo'. Did you mean 'madpo'?"
    assert done.stdout == ""


def test_an_override_that_does_not_parse_is_one_message(app: Command) -> None:
    done = app("loss=[sft")
    assert done.returncode == 2
    assert "loss=[sft" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_is_there_cannot_be_added(folder: Path) -> None:
    with pytest.raises(LearnatError, match=r"already at 'seed'\. Either remove \+ prefix: 'seed=2'"):
        check_overrides(folder / "conf", "app", ["+seed=2"])


def test_what_hydra_itself_fails_on_is_one_message(folder: Path) -> None:
    with pytest.raises(LearnatError, match=r"^Hydra cannot apply hydra\.sweeper\.params=.*: .*has no attribute 'get'$"):
        check_overrides(folder / "conf", "app", ['hydra.sweeper.params={seed:"1,2"}'])


def test_a_message_names_the_command_as_it_was_called(folder: Path) -> None:
    (folder / "app.py").rename(folder / "other.py")
    done = subprocess.run([sys.executable, "other.py", "flavour=mild"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("other.py has no group 'flavour'")


def test_help_lists_the_groups_of_the_command_alone(app: Command) -> None:
    done = app("--help", "loss=sft")
    assert done.returncode == 0, done.stderr
    groups = done.stdout.partition("== Groups ==")[2].partition("== Config ==")[0]
    assert [line for line in groups.splitlines() if ": " in line] == [
        "experiment: bad_sweep, good, interval, mapping, misspelt, sweep",
        "loss: madpo, sft",
        "trainer: cpu, gpu",
    ]
    assert "name: sft" in done.stdout


def test_a_sweep_over_an_interval_ends_with_one_message(app: Command, folder: Path) -> None:
    before = set(folder.rglob("*"))
    done = app("-m", "loss.beta=interval(0.05,0.5)")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("loss.beta=interval(0.05,0.5) is an interval")
    assert len(done.stderr.splitlines()) == 1
    assert {path for path in folder.rglob("*") if "__pycache__" not in path.parts} == before


def test_ranges_and_globs_are_swept(app: Command) -> None:
    done = app("-m", "loss=glob(*)", "seed=range(1,3)")
    assert done.returncode == 0, done.stderr
    assert "4 jobs" in done.stdout


@pytest.mark.parametrize("value", ["runs/with space/ü", "a; b", "it's", 'the "best"', "(a", "[a", "€"])
def test_the_quotes_that_a_message_advises_help(app: Command, value: str) -> None:
    done = app(f"required={value}")
    assert done.returncode == 2
    [advised] = shlex.split(done.stderr.strip().rpartition("the shell's, ")[2])
    done = app(advised, "run_dir=out", "--cfg", "job")
    assert yaml.safe_load(done.stdout)["required"] == value


@pytest.mark.parametrize("number", ["range(0,1000000000)", "range(0,1000000000,0.5)", "shuffle(range(1000000000))"])
def test_a_long_range_is_checked_at_once(folder: Path, number: str) -> None:
    """Listing the values would take gigabytes: the process may have one more than it begins with."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from learnat.recipes.config_check import check_overrides\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "check_overrides(Path('conf'), 'app', ['hydra/sweeper=search', sys.argv[1]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"seed={number}"], cwd=folder, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("override", ["loss=sft,madpo", "loss.beta=interval(0.05,0.5)", "seed=range(1,3)"])
def test_a_sweep_without_its_flag_is_one_message(app: Command, override: str) -> None:
    done = app(override, "hydra/sweeper=search")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{override} is a sweep: add -m, for one job a value, or give one value.\n"


def test_an_experiments_own_mode_needs_no_flag(app: Command) -> None:
    done = app("experiment=sweep", "seed=3,4")
    assert done.returncode == 0, done.stderr
    assert "4 jobs" in done.stdout


@pytest.mark.parametrize("overrides", [[], ["seed=2"]])
def test_a_config_that_is_not_there_is_one_message(app: Command, overrides: list[str]) -> None:
    done = app("--config-name", "nothing", *overrides)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Cannot find primary config 'nothing'.")
    assert len(done.stderr.splitlines()) == 1
