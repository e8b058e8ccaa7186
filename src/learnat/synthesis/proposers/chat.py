"""How a chat model is asked for next steps, and how its reply is read.

The prompt puts the schema first, so that all calls about one database share a prefix that a server may keep. The reply
should be ``{"steps": [{"sub_question": "…", "sql": "…"}]}``; it is read leniently, and what is no step has a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from learnat.benchmarks.schema_text import STYLES, serialize
from learnat.errors import LearnatError, nearest
from learnat.synthesis.checks import check_number
from learnat.synthesis.demonstrations import Demonstration
from learnat.synthesis.proposers.base import Request
from learnat.synthesis.tree import Step

EMPTY = "empty reply"
REFUSED = "refused"
TRUNCATED = "truncated"
NOT_JSON = "not JSON"
NO_STEPS = "no steps"
NO_SQL = "step without SQL"
SQL_IS_NO_STRING = "SQL is no string"
TOO_MANY = "more steps than asked for"
"""Why a reply, or a part of it, is no step."""

GIVEN_UP = "given up"
"""Why a call got no reply at all: the run ended meanwhile."""

REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sub_question": {"type": "string"}, "sql": {"type": "string"}},
                "required": ["sub_question", "sql"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["steps"],
    "additionalProperties": False,
}
"""The JSON schema of a reply, for servers that constrain their output to one."""

GUIDES = {
    "clause": (
        "A step is as small as it can be. Typical steps, in this order: the rows of one table that satisfy its "
        "filters; a further table joined; grouping and aggregates; ordering and limit; the final projection. "
        "Skip what the question does not need."
    ),
    "block": (
        "A step is one query block: a subquery, a common table expression or one side of a set operation, "
        "innermost first. A question that needs no nested query has a single step."
    ),
}
"""What ``granularity`` asks for."""

SYSTEM = (
    "You take questions about a SQLite database apart into steps that can be checked one by one. A step is a "
    "sub-question and one complete SQLite query that answers it. Each step goes a little further than the one before; "
    "the SQL of the last step answers the whole question."
)
ANSWER_FORMAT = 'Answer with JSON only: {"steps": [{"sub_question": "...", "sql": "..."}]}'


@dataclass(frozen=True)
class ChatPrompt:
    """The messages of a proposer call.

    Args:
        granularity: how far a step goes, ``clause`` or ``block``.
        sees_gold: whether the gold SQL is shown, as in the paper; without it the setting is harder.
        schema_style: ``ddl``, ``m_schema`` or ``compact``, see ``learnat.benchmarks.schema_text``.
        samples: sample values shown for each column.

    Raises ``LearnatError`` for a name that is not known.
    """

    granularity: str = "clause"
    sees_gold: bool = True
    schema_style: str = "ddl"
    samples: int = 3

    def __post_init__(self) -> None:
        for key, known in (("granularity", GUIDES), ("schema_style", STYLES)):
            if (value := getattr(self, key)) not in known:
                raise LearnatError(f"proposer.{key}={value!r} is unknown. {nearest(str(value), known)}")
        check_number("proposer.samples", self.samples, least=0)

    def schema_text(self, request: Request) -> str:
        """How the user's message begins, for all questions about one database."""
        schema = serialize(request.schema, self.schema_style, self.samples, request.example.db_id)
        return f"Database schema:\n{schema}"

    def messages(self, request: Request, demonstrations: Sequence[Demonstration] = ()) -> list[dict[str, str]]:
        """The messages, in the form that chat servers and chat templates take."""
        example = request.example
        parts = [self.schema_text(request)]
        parts += [_demonstration_text(demonstration) for demonstration in demonstrations]
        parts.append(_question_text(example.question, example.evidence))
        if self.sees_gold:
            parts.append(
                f"The correct SQL, which only the last step may give away:\n{example.gold_sql.strip().rstrip(';')}"
            )
        parts.append(f"Steps so far:\n{_steps_text(request.path)}" if request.path else "There are no steps so far.")
        count = "the next step" if request.k == 1 else f"up to {request.k} different alternatives for the next step"
        parts.append(
            f"{GUIDES[self.granularity]}\nPropose {count} only. If no smaller step is useful, propose the last step. "
            f"{ANSWER_FORMAT}"
        )
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n\n".join(parts)}]


def _question_text(question: str, evidence: str) -> str:
    hint = f"\nEvidence: {evidence.strip()}" if evidence.strip() else ""
    return f"Question: {question.strip()}{hint}"


def _steps_text(steps: Sequence[Step]) -> str:
    lines = (json.dumps({"sub_question": s.sub_question, "sql": s.sql}, ensure_ascii=False) for s in steps)
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _demonstration_text(demonstration: Demonstration) -> str:
    question = _question_text(demonstration.question, demonstration.evidence)
    return f"An example. {question}\nIts steps:\n{_steps_text(demonstration.steps)}"


# --- the reply -------------------------------------------------------------------------------------------------------

_SQL_KEYS = ("sql", "sqlquery", "query", "subsql", "sqlite", "statement", "sqlstatement")
_QUESTION_KEYS = ("subquestion", "question", "substep", "step", "description", "subproblem", "title")
_DECODER = json.JSONDecoder(strict=False)
_FENCE = re.compile(r"```[ \t]*(?:sql|sqlite)[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
# Where an object or a list of objects may begin; lists of other things hold no step.
_BRACKET = re.compile(r"\{|\[(?=\s*[{\]])")
_FENCED = re.compile(r"\A\s*```[^\n]*\n(.*?)(?:```)?\s*\Z", re.DOTALL)
_MAX_DEPTH = 6


@dataclass(frozen=True)
class Reading:
    """What a reply says: at most ``k`` steps, and a reason for each part of it that is none."""

    steps: tuple[Step, ...]
    rejected: tuple[str, ...] = ()


def read_reply(text: str, k: int, finish_reason: str = "stop") -> Reading:
    """The steps of a reply; never raises. ``finish_reason`` is the server's: ``length`` means that it was cut off.

    Accepted besides the JSON that was asked for: thoughts in ``<think>``, prose or a code fence around it, one step or
    a bare list, other names for the keys, the small mistakes that json_repair mends, and SQL in a fence instead of
    JSON, which has no sub-question.
    """
    body = _without_thoughts(text)
    values, whole = _json_values(body)
    cut = finish_reason == "length" or body.rfind("{") > body.rfind("}")
    found = [item for value in values for item in _items(value)]
    if not whole:
        found = max(found, list(_items(_mended(body))), key=lambda items: (_count_steps(items), len(items)))
    if not _count_steps(found) and not cut:
        found = [Step("", sql) for block in _FENCE.findall(body) if (sql := _clean_sql(block))] or found
    steps = [item for item in found if isinstance(item, Step)]
    rejected = [item for item in found if isinstance(item, str)]
    if cut and not (whole and steps):
        rejected.append(TRUNCATED)
    elif not found:
        rejected.append(_why_nothing(body, bool(values), finish_reason))
    rejected += [TOO_MANY] * max(0, len(steps) - k)
    return Reading(tuple(steps[:k]), tuple(rejected))


def _count_steps(items: Sequence[Step | str]) -> int:
    return sum(isinstance(item, Step) for item in items)


def _why_nothing(body: str, has_json: bool, finish_reason: str) -> str:
    if finish_reason == "content_filter":
        return REFUSED
    if not body.strip():
        return EMPTY
    return NO_STEPS if has_json else NOT_JSON


def _without_thoughts(text: str) -> str:
    """What follows the last ``</think>``; a thought that never ends leaves nothing."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1]
    return "" if text.lstrip().startswith("<think>") else text


def _json_values(text: str) -> tuple[list[Any], bool]:
    """The outermost JSON objects and arrays of objects in ``text``, and whether every brace belongs to one."""
    values: list[Any] = []
    whole = True
    position = 0
    while bracket := _BRACKET.search(text, position):
        start = bracket.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            # A bracket in prose is no sign of broken JSON: "[1]", "[optional]".
            whole = whole and text[start] == "["
            position = start + 1
            continue
        if isinstance(value, dict) or not value or any(isinstance(item, dict) for item in value):
            values.append(value)
    return values, whole


def _mended(text: str) -> Any:
    """What json_repair makes of the text between its outermost braces.

    It would also close a string that was cut off, and half a query would pass for a step: nothing behind the last
    closing brace is read.
    """
    import json_repair

    try:
        return json_repair.loads(text[max(text.find("{"), 0) : text.rfind("}") + 1], skip_json_loads=True)
    except Exception:  # whatever it stumbles over, the text is no JSON
        return None


def _items(value: Any, depth: int = 0) -> Iterator[Step | str]:
    """The steps in a JSON value, or the reason why a part of it is none."""
    if isinstance(value, list):
        for item in value:
            yield from _items(item, depth + 1) if isinstance(item, (list, dict)) else [NO_SQL]
        return
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return
    named = {re.sub(r"[\W_]", "", str(key)).casefold(): item for key, item in value.items()}
    sql = next((named[key] for key in _SQL_KEYS if key in named), None)
    nested = [item for item in value.values() if isinstance(item, (list, dict))]
    if isinstance(sql, str) and (cleaned := _clean_sql(sql)):
        question = next((named[key] for key in _QUESTION_KEYS if isinstance(named.get(key), str)), "")
        yield Step(" ".join(_clean(question).split()), cleaned)
    elif sql is not None and not isinstance(sql, str):
        yield SQL_IS_NO_STRING
    elif nested and sql is None:
        for item in nested:
            yield from _items(item, depth + 1)
    elif depth > 0 or sql is not None or any(key in named for key in _QUESTION_KEYS):
        yield NO_SQL


def _clean_sql(sql: str) -> str:
    """``sql`` without a fence around it and the semicolon at its end; nothing where it has no word ("...")."""
    fenced = _FENCED.match(sql)
    sql = _clean(fenced.group(1) if fenced else sql).rstrip("; \t\r\n")
    return sql if re.search(r"\w", sql) else ""


def _clean(text: str) -> str:
    """Without what neither SQLite nor a UTF-8 file takes: NUL, halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8").strip()
