"""The warning that a figure is no model's alone: gold queries did not run."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence

from learnat.evaluation.scores import Verdict

_log = logging.getLogger(__name__)


def tell_gold_failures(verdicts: Sequence[Verdict]) -> None:
    """Warn where gold queries failed, which says nothing about predictions, and makes their questions wrong."""
    failed = [verdict for verdict in verdicts if verdict.gold_error is not None]
    if failed:
        first = failed[0]
        error = textwrap.shorten(first.gold_error or "", 160, placeholder=" …")
        _log.warning(
            "%s: the gold queries of %d of the %d questions failed, so these count as wrong whatever is predicted; "
            "question %d, on %s: %s",
            first.split,
            len(failed),
            len(verdicts),
            first.index,
            first.db_id,
            error,
        )
