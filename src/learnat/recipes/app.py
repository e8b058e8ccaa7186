"""The entry point of every root main: checks the command line, runs the recipe in its run folder, reports errors.

Exit codes: 0 done; 1 an unexpected error (its traceback is in the run folder's log) or a failed job of a sweep;
2 a mistake the user can mend (one message, no traceback unless HYDRA_FULL_ERROR=1); 130 interrupted; 141 what read the
output is gone. Under torchrun these are the exit codes of the ranks; torchrun itself exits with 1 whenever one of them
fails.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from learnat.errors import LearnatError
from learnat.recipes.base_check import check_base
from learnat.recipes.closed_pipe import end_quietly_when_closed
from learnat.recipes.command_groups import register_help
from learnat.recipes.command_line import check_secrets, hydra_arguments, literal
from learnat.recipes.config_check import check_overrides
from learnat.recipes.launchers import let_jobs_spawn
from learnat.recipes.plugins import set_up_optuna
from learnat.recipes.provenance import FILE_NAME, write_provenance
from learnat.recipes.sweep import objective, print_run_folder
from learnat.reporting.jobs import ERROR_FILE
from learnat.training import ranks

log = logging.getLogger(__name__)

Recipe = Callable[[DictConfig], Any]

MODES = ("run", "multirun", "cfg", "info", "shell_completion")
"""What a command line may ask Hydra for, one of them."""


def launch(
    recipe: Recipe,
    config_name: str,
    config_dir: Path,
    *,
    several_ranks: bool = False,
    flags: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> None:
    """Run ``recipe`` once, or once a job of a sweep, with the config that the command line composes.

    The recipe gets a resolved config whose ``run_dir`` is the absolute run folder, which exists. ``several_ranks`` says
    that it can work under torchrun, as one process to a device; any other recipe is refused there. ``flags`` and
    ``texts`` are keys that the command line may set in ways of their own, see ``hydra_arguments``.
    """

    typed = list(sys.argv)

    @functools.wraps(recipe)
    def job(cfg: DictConfig) -> float | None:
        # What is added for Hydra has been read: a record is to hold the command as it was given.
        sys.argv[:] = typed
        return _run_job(recipe, cfg)

    end_quietly_when_closed()
    sys.argv[1:] = hydra_arguments(sys.argv[1:], flags, texts)
    arguments = get_args_parser().parse_args()
    command = Path(sys.argv[0]).name
    modes = [f"--{name.replace('_', '-')}" for name in MODES if getattr(arguments, name)]
    register_help(config_dir, config_name)
    set_up_optuna()
    # Libraries' warnings belong into the log, not between a recipe's lines.
    logging.captureWarnings(True)
    try:
        if ranks.count() > 1 and not several_ranks:
            raise LearnatError(f"{command} works in one process: start it with python, not with torchrun.")
        if len(modes) > 1:
            raise LearnatError(f"{' and '.join(modes)} do not go together: give one of them.")
        check_secrets(arguments.overrides, texts)
        _check_command_line(arguments, config_dir, config_name, command)
        ranks.share_start()
        hydra.main(version_base="1.3", config_path=str(config_dir.resolve()), config_name=config_name)(job)()
        ranks.disconnect()
    except LearnatError as error:
        ranks.yield_to_first()
        if _full_errors():
            raise
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _check_command_line(arguments: Namespace, config_dir: Path, config_name: str, command: str) -> None:
    """Raise ``LearnatError`` for folders of configs that are not there, and for what ``check_overrides`` refuses."""
    own_dir = _folder("--config-dir", arguments.config_dir, Path()) if arguments.config_dir else None
    if arguments.config_path:
        if arguments.config_path.startswith("pkg://"):
            return  # a package has no folder to look into
        config_dir = _folder("--config-path", arguments.config_path, config_dir.parent)
        # A relative one begins where the main is, and Hydra takes this file for it. The last of two is what counts.
        sys.argv += ["--config-path", str(config_dir)]
    if arguments.overrides or arguments.config_name or arguments.config_path:
        check_overrides(
            config_dir,
            arguments.config_name or config_name,
            arguments.overrides,
            command,
            main=config_name,
            own_dir=own_dir,
            multirun=arguments.multirun,
        )


def _folder(flag: str, given: str, base: Path) -> Path:
    folder = (base / given).resolve()
    if not folder.is_dir():
        raise LearnatError(f"{flag} {given}: there is no such folder, {folder}.")
    return folder


def _run_job(recipe: Recipe, cfg: DictConfig) -> float | None:
    """One job in its folder. A sweep's failed job leaves its error there, others go on; Optuna's ends with it."""
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    folder = Path(HydraConfig.get().runtime.output_dir)
    code = 0
    let_jobs_spawn()
    if ranks.is_first():
        (folder / ERROR_FILE).unlink(missing_ok=True)
    try:
        _complete(cfg, folder)
        check_base(cfg)
        # A rerun in the same folder may be refused: what describes the earlier run stays until the recipe goes on.
        if ranks.is_first() and not (folder / FILE_NAME).exists():
            write_provenance(folder, cfg)
        recipe(cfg)
        return objective(folder) if sweeping else None
    except KeyboardInterrupt:
        code = 130
        log.error("Interrupted.")
        raise SystemExit(130) from None
    except Exception as error:
        code = _report(error, folder)
        # Optuna's sweeper is to end with the first failure, unless it is told how many it may see.
        if sweeping and HydraConfig.get().sweeper.get("max_failure_rate") != 0:
            return None
        raise SystemExit(code) from None
    finally:
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish(exit_code=code)
        if ranks.is_first() and not sweeping:
            print_run_folder(folder)


def _complete(cfg: DictConfig, folder: Path) -> None:
    """Resolve ``cfg`` with its real run folder; raise ``LearnatError`` for a value that is left open.

    A text in which ``${`` stands for itself stays escaped, for whoever reads it from ``cfg`` resolves it once more.
    """
    cfg.run_dir = literal(str(folder))
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
        values: Any = OmegaConf.to_container(cfg, resolve=True) if not missing else {}
    except OmegaConfBaseException as error:
        raise LearnatError(f"{error.full_key or 'config'}: {str(error).splitlines()[0]}") from error
    if missing:
        raise LearnatError(f"{missing[0]} has no value: give one, {missing[0]}=…")
    for key, value in values.items():
        cfg[key] = _literal(value)


def _literal(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    return literal(node) if isinstance(node, str) else node


def _report(error: Exception, folder: Path) -> int:
    """Log ``error``, leave its message in the run folder, and say with which code to exit."""
    mistake = _user_error(error)
    ranks.yield_to_first()
    if mistake is not None:
        log.error(str(mistake), exc_info=error if _full_errors() else None)
    else:
        log.error("%s: %s", type(error).__name__, error, exc_info=error)
    if ranks.is_first():
        (folder / ERROR_FILE).write_text(f"{mistake or f'{type(error).__name__}: {error}'}\n", encoding="utf-8")
    return 2 if mistake is not None else 1


def _user_error(error: BaseException | None) -> LearnatError | None:
    """The ``LearnatError`` that ``error`` is or was raised from: Hydra wraps what a ``_target_`` raises.

    A key that a recipe reads and the config lacks is one too: ``~trainer.max_steps`` and the like took it away.
    """
    while error is not None and not isinstance(error, LearnatError):
        if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
            return LearnatError(
                f"{error.full_key} is needed here, and was deleted or never set{_member(error.full_key)}."
            )
        error = error.__cause__
    return error


def _member(key: Any) -> str:
    """The chosen member of the group that ``key`` is below, where its file lacks the key; empty otherwise."""
    if not HydraConfig.initialized():
        return ""
    hydra_config, group = HydraConfig.get(), re.split(r"[.\[]", str(key))[0]
    name = hydra_config.runtime.choices.get(group)
    if name is None or any(text.startswith(f"~{group}") for text in hydra_config.overrides.task):
        return ""
    return f" ({group}={name} is chosen)"


def _full_errors() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
