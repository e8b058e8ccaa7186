"""The folder that a run, or a sweep, writes into: made before anything else, or refused with the reason."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from learnat.errors import LearnatError
from learnat.training import ranks


class MakeRunFolder(Callback):
    """Makes the folder of a run or a sweep; one that cannot be had is one message, and exit code 2.

    Hydra would make it too, but a folder that cannot be made is to Hydra an error without a way out. It takes a
    callback's exceptions for warnings, and so this one ends the process.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _make_or_exit(config, "hydra.run.dir", "run_dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _make_or_exit(config, "hydra.sweep.dir", "hydra.sweep.dir")


def _make_or_exit(config: DictConfig, key: str, name: str) -> None:
    try:
        make_folder(_selected(config, key, name), name)
    except LearnatError as error:
        ranks.yield_to_first()
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _selected(config: DictConfig, key: str, name: str) -> object:
    try:
        return OmegaConf.select(config, key)
    except ValidationError:  # Hydra's keys are texts: run_dir=null is none
        return None
    except OmegaConfBaseException as error:
        raise LearnatError(f"{name}: {str(error).splitlines()[0]}") from error


def make_folder(folder: object, name: str) -> None:
    """Make ``folder``, the value of the key ``name``, and see that files can be written there.

    Raises ``LearnatError`` for an empty value, which would be the folder that the command is started in, and where the
    folder cannot be made or written to.
    """
    if folder is None or not str(folder).strip():
        raise LearnatError(f"{name} is empty: name the folder that the run writes into, {name}=FOLDER.")
    try:
        Path(str(folder)).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=str(folder)).close()
    except OSError as error:
        raise LearnatError(
            f"{name}={folder}: no folder can be made or written to there ({error.strerror}). Name another one."
        ) from error
