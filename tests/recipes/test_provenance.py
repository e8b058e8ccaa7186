"""A run's record says which code made it."""

from __future__ import annotations

import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from omegaconf import OmegaConf

from learnat.recipes.provenance import git_revision, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_says_whether_the_checkout_was_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision(tmp_path) == {"revision": head, "dirty": False}
    (tmp_path / "file").write_text("b")
    assert git_revision(tmp_path) == {"revision": head, "dirty": True}


def test_outside_of_a_checkout_there_is_no_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None


def test_the_packages_that_talk_to_engines_and_servers_are_recorded() -> None:
    found = provenance(OmegaConf.create({}))["packages"]
    for name in ("duckdb", "psycopg", "openai", "scikit-learn"):
        if find_spec(name.replace("scikit-learn", "sklearn")) is not None:
            assert found[name] == metadata.version(name)
    assert "scikit-learn" in found


def test_the_config_is_recorded_resolved_beside_what_the_recipe_adds() -> None:
    record = provenance(OmegaConf.create({"a": 1, "b": "${a}"}), data_hash="d", prompt_hash="p", decoding="greedy")
    assert record["config"] == {"a": 1, "b": 1}
    assert (record["data_hash"], record["prompt_hash"], record["decoding"]) == ("d", "p", "greedy")
