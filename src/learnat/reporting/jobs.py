"""The jobs of a Hydra sweep, as they stand on disk."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

ERROR_FILE = "error.txt"
"""What a failed job leaves in its folder: its message."""


def job_folders(sweep: Path) -> list[Path]:
    """The job folders below a sweep's folder, by number."""
    found = [path.parent.parent for path in sweep.glob("*/.hydra/overrides.yaml")]
    return sorted(found, key=lambda folder: (len(folder.name), folder.name))


def overrides_of(job: Path) -> dict[str, str]:
    """What the job's command line overrode, by key."""
    lines = OmegaConf.to_container(OmegaConf.load(job / ".hydra" / "overrides.yaml"))
    assert isinstance(lines, list)
    return dict(str(line).lstrip("+~").partition("=")[::2] for line in lines)
