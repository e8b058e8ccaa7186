"""What a figure needs to be made again: config, versions, revision, data, prompt."""

from __future__ import annotations

import json
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import learnat
from learnat.errors import LearnatError
from learnat.recipes.whole_file import write_whole

PACKAGES = (
    "bitsandbytes",
    "duckdb",
    "hydra-core",
    "lightning",
    "numpy",
    "omegaconf",
    "openai",
    "peft",
    "psycopg",
    "scikit-learn",
    "sqlglot",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "wandb",
)
FILE_NAME = "provenance.json"
SETTINGS_FILE = "settings.json"
FREE_KEYS = ("run_dir", "started", "cache_dir", "workers", "unanswered", "logger", "callbacks")
"""What may change between a run and its resumption: none of it changes a figure."""


def provenance(
    cfg: DictConfig, *, data_hash: Mapping[str, str] | None = None, prompt_hash: str | None = None, **extra: Any
) -> Any:
    """A JSON-ready record of this run.

    ``data_hash`` is the benchmark's fingerprint, ``prompt_hash`` identifies the prompt style; both are None where a
    recipe reads no questions or asks no model. ``extra`` (decoding settings, checkpoint) stands beside them.
    """
    return {
        "learnat": learnat.__version__,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git": git_revision(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "packages": package_versions(),
        "data_hash": data_hash,
        "prompt_hash": prompt_hash,
        **extra,
        "config": OmegaConf.to_container(cfg, resolve=True),
    }


def write_provenance(folder: Path, cfg: DictConfig, **known: Any) -> None:
    """Write ``folder/provenance.json``; called again with more ``known``, it replaces the earlier record."""
    text = json.dumps(provenance(cfg, **known), indent=2, ensure_ascii=False, default=str)
    write_whole(folder / FILE_NAME, text + "\n")


def refuse_other_command(folder: Path, key: str) -> None:
    """Raise ``LearnatError`` where ``folder`` holds the record of another command's run.

    It is one whose config lacks ``key``, which this command's alone has. One that cannot be read, as a kill may have
    left it, tells nothing that could be lost.
    """
    try:
        record = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        config, command = record["config"], Path(record["command"][0]).name
    except (OSError, ValueError, LookupError, TypeError):
        return
    if key not in config:
        raise LearnatError(
            f"{folder} holds a run of {command}, whose {FILE_NAME} would be overwritten. Give another run_dir."
        )


def keep_settings(folder: Path, cfg: DictConfig, fixed: Sequence[str] | None = None, **known: Any) -> None:
    """Remember what the run in ``folder`` depends on, so that a rerun there resumes the same run or none.

    That is the config and what is ``known`` beyond it; a key of both, such as a file's path, is kept as it is known.
    Raises ``LearnatError`` as ``changed_settings`` does.
    """
    changed_settings(folder, cfg, fixed, **known)
    write_whole(folder / SETTINGS_FILE, json.dumps(_settings(cfg, known), indent=2, default=str) + "\n")


def changed_settings(folder: Path, cfg: DictConfig, fixed: Sequence[str] | None = None, **known: Any) -> str:
    """What differs from the settings that ``keep_settings`` wrote, as text; empty where there is nothing to say.

    ``fixed`` are the keys (with all below them) that may not differ; None: none may.

    Raises ``LearnatError`` naming the keys that differ and may not, or the file where it cannot be read.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return ""
    now, before = _settings(cfg, known), _kept(path)
    differing = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
    refused = [key for key in differing if fixed is None or any(f"{key}.".startswith(f"{one}.") for one in fixed)]
    shown = refused or differing
    changes = ", ".join(f"{key} ({before.get(key)} → {now.get(key)})" for key in shown[:5])
    changes += ", …" if len(shown) > 5 else ""
    if refused:
        raise LearnatError(
            f"{folder} holds a run with other settings: {changes}. "
            "Give another run_dir, or the same settings to resume."
        )
    return changes


def _kept(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LearnatError(_unreadable(path, str(error))) from error
    if not isinstance(kept, dict):
        raise LearnatError(_unreadable(path, f"it holds a {type(kept).__name__} and no object"))
    return kept


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be read ({reason}): it says which settings the run there was made with. Give another run_dir, "
        "or, where you know them to be the same, delete that file."
    )


def _settings(cfg: DictConfig, known: Mapping[str, Any]) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    return _flat({k: v for k, v in config.items() if k not in FREE_KEYS} | dict(known))


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; other values as JSON would give them back."""
    if not isinstance(node, dict):
        return {prefix: json.loads(json.dumps(node, default=str))}
    return {k: v for key, value in node.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}


def package_versions() -> dict[str, str]:
    """The installed versions of the packages that results depend on, read without importing them."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_revision(folder: Path) -> dict[str, Any] | None:
    """``{"revision", "dirty"}`` of the checkout that ``folder`` lies in, or None outside of one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
