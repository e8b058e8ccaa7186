"""A sweep over shards ends with one trees.jsonl."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from learnat.errors import LearnatError
from learnat.recipes.sweep import Job, read_jobs

KEY = "shard"


class MergeShards(Callback):
    """After a sweep whose jobs differ by ``shard`` alone: merges their trees into the sweep's folder.

    Where a job failed there is nothing to merge yet; where the sweep has some of the shards only, the command for
    when all are there is printed.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        if not _differ_by_shard_alone(jobs) or any(job.error for job in jobs):
            return
        # What makes and shows trees is imported here: every command reads this file when it starts.
        from learnat.synthesis.shard import Shard
        from learnat.synthesis.shards import merge
        from learnat.synthesis.summary import print_summary

        console = Console(soft_wrap=True)
        shards = {Shard.parse(job.overrides[KEY]) for job in jobs}
        if len(shards) < max(shard.count for shard in shards):
            console.print(
                "This sweep made some of the shards. When all are there: "
                f"python -m learnat.synthesis.shards OUT {folder} FOLDER…"
            )
            return
        try:
            print_summary(merge([folder / job.number for job in jobs], folder), console)
        except LearnatError as error:
            # Raised, it would be a warning: Hydra keeps a callback's errors from ending the command.
            print(error, file=sys.stderr)
            raise SystemExit(2) from None


def _differ_by_shard_alone(jobs: list[Job]) -> bool:
    if not jobs or not all(job.overrides.get(KEY, "null") != "null" for job in jobs):
        return False
    return all({**job.overrides, KEY: ""} == {**jobs[0].overrides, KEY: ""} for job in jobs)
