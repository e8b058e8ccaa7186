"""The generated benchmark: a BIRD-layout folder that is written when it is first asked for."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

from learnat.benchmarks.bird import BirdBenchmark
from learnat.benchmarks.generated.write import MANIFEST, Parameters, ensure
from learnat.errors import LearnatError

_log = logging.getLogger(__name__)


class GeneratedBenchmark(BirdBenchmark):
    """Splits ``train``, ``practice`` and ``dev_seen`` (the databases of train, new questions) and ``dev_unseen`` (other
    databases).

    Args:
        root: a folder that was generated before; None writes one under ``cache_dir`` (or finds it there).
        cache_dir: where generated benchmarks are kept, one folder for each set of parameters.
        options: ``databases``, ``limit``, ``missing``, ``samples``: see ``FileBenchmark``.

    The other arguments are those of ``Parameters``; with a ``root`` they are not looked at.

    Raises:
        LearnatError: a parameter out of range, or a folder that cannot be written or read.
    """

    name = "generated"
    ex_mode = "spider_bag"
    metrics = ("ex",)
    not_splits = ("tables", Path(MANIFEST).stem)
    layout = (
        "data.root names a folder written by this generator, with manifest.json, train.json, practice.json, "
        "dev_seen.json, dev_unseen.json, tables.json and databases/; data.root=null generates one under cache_dir."
    )

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        cache_dir: str | Path = "cache",
        seed: int = 0,
        num_databases: int = 8,
        num_unseen_databases: int = 4,
        train_questions: int = 2000,
        practice_questions: int = 480,
        dev_questions: int = 320,
        unseen_domains: str = "new",
        rename: float = 0.0,
        **options: Any,
    ) -> None:
        if root is None:
            parameters = Parameters(
                seed,
                num_databases,
                num_unseen_databases,
                train_questions,
                practice_questions,
                dev_questions,
                unseen_domains,
                rename,
            )
            root = ensure(Path(cache_dir), parameters)
        super().__init__(root, **options)
        overlap = ", ".join(
            f"{split} {100 * counts['template_in_train']:.1f} %"
            for split, counts in self.manifest["statistics"].items()
            if split.startswith("dev")
        )
        _log.info("%s: questions whose masked SQL template occurs in train: %s", self.root, overlap)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Parameters, content hash and statistics, as the generator wrote them.

        Raises:
            LearnatError: there is no manifest, or it is not one.
        """
        path = self.root / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            manifest["statistics"]["train"], manifest["parameters"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LearnatError(f"{path.absolute()} is not the manifest of a generated benchmark ({error}).") from error
        return dict(manifest)
