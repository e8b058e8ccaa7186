"""From a model's answer to its steps, leniently: what had to be guessed is recorded, nothing is refused.

The trained format is, for every step, a comment with the sub-question and a statement; the last statement answers::

    -- Which singers are French?
    SELECT id FROM singer WHERE country = 'France';

Other models wrap this in prose, code fences and thoughts, or leave the comments and semicolons out. Semicolons and
dashes inside string literals, quoted names and comments belong to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from learnat.synthesis.tree import Step

THOUGHTS = "thoughts dropped"
CODE_FENCE = "code fence opened"
PROSE = "prose dropped"
PROSE_AS_SUB_QUESTION = "prose taken for a sub-question"
NO_SUB_QUESTION = "sub-question missing"
NO_SEMICOLON = "semicolon missing"
INNER_COMMENT = "comment inside SQL dropped"
LEADING_LABEL = "label before SQL dropped"
OPEN_QUOTE = "quote not closed"
NO_SQL = "no SQL found"

_END_TOKENS = re.compile(r"<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|user\|>|</s>")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*\n(.*?)(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
# Literals and comments whole, an empty line, a line break with its indentation, a semicolon; else words and characters.
# A literal ends on its line, so that a stray quote does not swallow the steps below it.
_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^'\n]|'')*'|"(?:[^"\n]|"")*"|`[^`\n]*`)
      | (?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<blank>\n[ \t]*(?=\n))
      | (?P<newline>\n[ \t]*)
      | (?P<end>;)
      | (?P<text>\w+|.)""",
    re.DOTALL | re.VERBOSE,
)
_QUERY = re.compile(
    r"\(*\s*(?:SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^()]*\)\s*)?AS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?\(|VALUES\s*\()",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s*")
# "SQL:", "1.", "- Step 2:" on a query's own line.
_LABEL = re.compile(
    r"(?:(?:[-*#>]|\d+[.)])[ \t]+)?(?:\*\*)?(?:\w[\w \t]{0,30}:)?(?:\*\*)?[ \t]*(?=\(*(?:SELECT|WITH)\b)", re.IGNORECASE
)
# What a query may go on with after an empty line.
_CONTINUES = re.compile(
    r"[(),]|(?:SELECT|FROM|WHERE|GROUP|ORDER|HAVING|LIMIT|UNION|INTERSECT|EXCEPT|JOIN|INNER|LEFT|RIGHT|FULL|CROSS|NATURAL"
    r"|ON|AND|OR|USING|WINDOW|OFFSET|AS|CASE|WHEN|THEN|ELSE|END)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """What a model's text says.

    ``sql`` is the last step's statement without its semicolon, or ``""``. ``guesses`` names what was not in the
    trained format, each once, in the order it was met; it is empty for a well-formed answer.
    """

    steps: tuple[Step, ...]
    sql: str
    guesses: tuple[str, ...]


def parse_answer(text: str) -> Answer:
    """The steps of an answer; never raises. An answer without any SQL has no steps and an empty ``sql``."""
    guesses: dict[str, None] = {}
    text = _END_TOKENS.split(text.replace("\r\n", "\n"), maxsplit=1)[0]
    text = _without_thoughts(text, guesses)
    text = _inside_fences(text, guesses)
    parser = _Parser(guesses)
    parser.read(text)
    if not parser.steps:
        guesses[NO_SQL] = None
    return Answer(tuple(parser.steps), parser.steps[-1].sql if parser.steps else "", tuple(guesses))


def _without_thoughts(text: str, guesses: dict[str, None]) -> str:
    """What follows the last ``</think>``; a thought that never ends leaves nothing."""
    if "</think>" in text:
        guesses[THOUGHTS] = None
        return text.rsplit("</think>", 1)[1]
    if text.lstrip().startswith("<think>"):
        guesses[THOUGHTS] = None
        return ""
    return text


def _inside_fences(text: str, guesses: dict[str, None]) -> str:
    """The fenced blocks that hold SQL, one after the other, or the text itself when there is none."""
    blocks = [block for block in _FENCE.findall(text) if any(map(_QUERY.match, _lines(block)))]
    if not blocks:
        return text
    guesses[CODE_FENCE] = None
    return "\n".join(blocks)


def _lines(text: str) -> Iterator[str]:
    return (line.lstrip() for line in text.split("\n"))


@dataclass
class _Parser:
    """Reads token by token; between statements lines are comments or prose, inside one they are SQL."""

    guesses: dict[str, None]
    steps: list[Step] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)

    def read(self, text: str) -> None:
        position = 0
        while position < len(text):
            position = _next_word(text, position)
            label = _LABEL.match(text, position)
            if label is not None and label.end() > position:
                self.guesses[LEADING_LABEL] = None
                position = label.end()
            elif _QUERY.match(text, position):
                position = self._statement(text, position)
            else:
                position = self._line(text, position)
        if self.prose or (self.comments and self.steps):
            self.guesses[PROSE] = None

    def _line(self, text: str, start: int) -> int:
        """A line between statements. Returns where the next begins."""
        if text.startswith("/*", start) and "*/" in text[start:]:
            end = text.index("*/", start) + 2
            self.comments.append(" ".join(text[start + 2 : end - 2].split()))
            return end
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end].strip()
        if line.startswith("--"):
            self.comments.append(line[2:].strip())
        elif line.strip(";`~ "):
            self.prose.append(line)
        return end

    def _statement(self, text: str, start: int) -> int:
        """A statement from ``start``. Returns where it ends."""
        pieces: list[str] = []
        depth = 0
        position = start
        while position < len(text):
            token = _TOKEN.match(text, position)
            assert token is not None  # the last alternative takes any character
            kind, word, after = token.lastgroup, token.group(), token.end()
            if kind == "end":
                self._add("".join(pieces))
                return after
            if depth <= 0 and _ends_here(kind, text, position, after) and _is_whole("".join(pieces)):
                break
            if kind == "comment":
                self.guesses[INNER_COMMENT] = None
                word = " "
            elif word in ("'", '"', "`"):
                self.guesses[OPEN_QUOTE] = None
            elif word in ("(", ")"):
                depth += 1 if word == "(" else -1
            pieces.append(word)
            position = after
        self.guesses[NO_SEMICOLON] = None
        self._add("".join(pieces))
        return position

    def _add(self, sql: str) -> None:
        sub_question = " ".join(filter(None, self.comments))
        if not sub_question and self.prose:
            sub_question = self.prose.pop()
            self.guesses[PROSE_AS_SUB_QUESTION] = None
        elif not sub_question:
            self.guesses[NO_SUB_QUESTION] = None
        if self.prose:
            self.guesses[PROSE] = None
        self.steps.append(Step(sub_question, sql.strip()))
        self.comments, self.prose = [], []


def _ends_here(kind: str | None, text: str, start: int, end: int) -> bool:
    """Whether a statement without a semicolon ends before the token ``text[start:end]``.

    It does before a comment line that introduces the next query, before a line that starts one, and at an empty line
    after which no clause goes on.
    """
    if kind == "comment":
        return text[text.rfind("\n", 0, start) + 1 : start].strip() == "" and _starts_step(text, end)
    if kind == "blank":
        return _CONTINUES.match(text, _next_word(text, end)) is None
    return kind == "newline" and _QUERY.match(text, end) is not None


def _starts_step(text: str, position: int) -> bool:
    """Whether a query follows, with nothing but comment lines before it."""
    position = _next_word(text, position)
    while text.startswith("--", position):
        end = text.find("\n", position)
        if end < 0:
            return False
        position = _next_word(text, end)
    return _QUERY.match(text, position) is not None


def _next_word(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _is_whole(sql: str) -> bool:
    """Whether a statement can end here: not where a set operation or a CTE still waits for its SELECT."""
    words = sql.split()
    waits = (
        words[-1].upper() in {"UNION", "ALL", "INTERSECT", "EXCEPT", "AS", "EXISTS", "IN"} or sql.rstrip()[-1] == ","
    )
    # The last ) of a WITH closes a CTE until a SELECT stands outside of parentheses.
    return not waits and not (words[0].upper() == "WITH" and "SELECT" not in _outside(sql).upper())


def _outside(sql: str) -> str:
    """``sql`` without what stands in parentheses or quotes."""
    depth = 0
    kept: list[str] = []
    for token in _TOKEN.finditer(sql):
        word = token.group()
        depth += (word == "(") - (word == ")")
        if depth == 0 and token.lastgroup != "quoted":
            kept.append(word)
    return "".join(kept)
