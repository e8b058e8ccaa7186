"""Counts that say what kind of benchmark was generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from learnat.benchmarks.generated.model import Question
from learnat.benchmarks.generated.questions import masked_template, sql_tokens


def describe(splits: Mapping[str, Sequence[Question]]) -> dict[str, Any]:
    """Per split: sizes, shares, lengths; for dev splits also the share whose masked template occurs in train."""
    known = {masked_template(item.sql) for item in splits["train"]}
    return {name: _describe(questions, known) for name, questions in splits.items()}


def _describe(questions: Sequence[Question], known: set[str]) -> dict[str, Any]:
    tokens = [sql_tokens(item.sql) for item in questions]
    words = [len(item.question.split()) for item in questions]
    templates = [masked_template(item.sql) for item in questions]
    return {
        "questions": len(questions),
        "databases": len({item.db_id for item in questions}),
        "difficulty": dict(sorted(Counter(item.difficulty for item in questions).items())),
        "families": dict(sorted(Counter(item.family for item in questions).items())),
        "joins": _share("JOIN" in item for item in tokens),
        "nests": _share("( SELECT" in " ".join(item) for item in tokens),
        "set_operations": _share(bool({"UNION", "INTERSECT", "EXCEPT"} & set(item)) for item in tokens),
        "evidence": _share(bool(item.evidence) for item in questions),
        "empty": _share(item.empty for item in questions),
        "templates": len(set(templates)),
        "template_in_train": _share(template in known for template in templates),
        "question_words": _spread(words),
        "sql_tokens": _spread([len(item) for item in tokens]),
    }


def _share(flags: Any) -> float:
    found = list(flags)
    return round(sum(found) / max(1, len(found)), 4)


def _spread(values: Sequence[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "mean": round(sum(ordered) / max(1, len(ordered)), 1),
        "p95": ordered[int(len(ordered) * 0.95)] if ordered else 0,
        "max": ordered[-1] if ordered else 0,
    }
