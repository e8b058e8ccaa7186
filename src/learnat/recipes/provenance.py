"""What a figure needs to be made again: config, versions, revision, data, prompt."""

from __future__ import annotations

import json
import platform
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import learnat

PACKAGES = (
    "hydra-core",
    "lightning",
    "numpy",
    "omegaconf",
    "peft",
    "sqlglot",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "wandb",
)
FILE_NAME = "provenance.json"


def provenance(cfg: DictConfig, *, data_hash: str | None = None, prompt_hash: str | None = None, **extra: Any) -> Any:
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
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


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
