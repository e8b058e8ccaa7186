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
# Literals and comments whole, a blank line, a line break with its indentation, one semicolon; else words and characters.
_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)
      | (?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<blank>\n[ \t]*(?=\n))
      | (?P<newline>\n[ \t]*)
      | (?P<end>;)
      | (?P<text>\w+|.)""",
    re.DOTALL | re.VERBOSE,
)
_QUERY = re.compile(
    r"\(*\s*(?:SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^()]*\)\s*)?AS\s*(?:\w+\s+)*\(|VALUES\s*\()",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:[-*#>\d.]+\s*)?\w[\w \t]{0,30}:\s*(?=\(*(?:SELECT|WITH)\b)", re.IGNORECASE)
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
            rest = text[position:]
            stripped = rest.lstrip()
            position += len(rest) - len(stripped)
            if not stripped:
                break
            label = _LABEL.match(stripped)
            if label is not None:
                self.guesses[LEADING_LABEL] = None
                position += label.end()
            elif _QUERY.match(stripped):
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
            if kind == "comment":
                starts_line = text[:position].rstrip(" \t").endswith("\n")
                if starts_line and depth <= 0 and _starts_step(text, after):
                    break
                self.guesses[INNER_COMMENT] = None
                word = " "
            elif kind == "blank" and depth <= 0 and not _CONTINUES.match(text[after:].lstrip()):
                break
            elif kind == "newline" and depth <= 0 and _QUERY.match(text, after) and _is_whole("".join(pieces)):
                break
            elif word in "'\"`":
                self.guesses[OPEN_QUOTE] = None
            elif word in "()":
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


def _starts_step(text: str, position: int) -> bool:
    """Whether a comment that ends at ``position`` introduces a statement: a query follows it or its like."""
    for line in _lines(text[position:]):
        if line and not line.startswith("--"):
            return _QUERY.match(line) is not None
    return False


def _is_whole(sql: str) -> bool:
    """Whether a statement can end here: not where a set operation or a CTE waits for its SELECT."""
    words = sql.split()
    return (
        bool(words)
        and words[-1].upper() not in ("UNION", "ALL", "INTERSECT", "EXCEPT", "AS", "EXISTS", "IN", ",")
        and not (words[0].upper() == "WITH" and sql.rstrip().endswith(")"))
    )
