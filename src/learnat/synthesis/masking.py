"""Questions and queries without what their database is about, so that only their shape is compared.

After the masked-question similarity of DAIL-SQL (Gao et al. 2023, arXiv 2308.15363), with words in place of a trained
schema linker: a word of a question is masked where the schema, or the SQL that answers it, has it in a name or value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sqlglot import Token, TokenType
from sqlglot.errors import TokenError
from sqlglot.parser import Parser

from learnat.sql.parse import dialect_of
from learnat.sql.schema import Schema

NAME, VALUE = "<name>", "<value>"

_SHAPE_WORDS = frozenset(
    """
    a above across after all also among amount an and any are as ascending at average avg be been before below between
    both but by can count descending did different distinct do does each earliest either equal every exactly except few
    fewer fewest find first for from give greater greatest had has have having her highest his how i id ids in is it
    its kind largest last latest least less list longest lowest many max maximum me mean min minimum more most much
    neither never no none nor not number of on one only or order other out over per percentage please record records
    return shortest show sum than that the their there these they this those three to top total two type types under
    unique use used using was we were what when where which who whom whose with without you
    """.split()
)
"""Words that say what is asked, not about what: never masked, though a column may be called ``total`` or ``id``."""

_TOKEN = re.compile(
    r"""(?P<value>(?<!\w)'[^']+'(?!\w)|"[^"]+"|“[^”]+”|‘[^’]+’|\d[\d.,:/%-]*)"""
    r"""|(?P<word>[^\W\d_]+(?:['’][a-z]+)?)|(?P<end>[.?!])"""
)
_LITERALS = frozenset({TokenType.STRING, TokenType.NUMBER})
# The tokenizer takes a column called `date` or `text` for a type.
_NAMES = {TokenType.VAR, TokenType.IDENTIFIER, *Parser.TYPE_TOKENS} - {TokenType.NULL}
_COMPARISONS = frozenset(
    {TokenType.EQ, TokenType.NEQ, TokenType.LIKE, TokenType.GT, TokenType.GTE, TokenType.LT, TokenType.LTE}
)


@dataclass(frozen=True)
class Vocabulary:
    """The words, stemmed, of what a database's tables and columns are called and of values that it holds."""

    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=512)
def vocabulary_of_schema(schema: Schema) -> Vocabulary:
    """Names of tables and columns, and the sample values that the schema carries."""
    columns = [column for table in schema.tables for column in table.columns]
    names = [table.name for table in schema.tables] + [column.name for column in columns]
    return Vocabulary(_stems(names), _stems(sample for column in columns for sample in column.samples))


def vocabulary_of_sql(queries: Iterable[str]) -> Vocabulary:
    """Names and values that ``queries`` mention."""
    names: list[str] = []
    values: list[str] = []
    for sql in queries:
        before: Token | None = None
        for token in _tokens(sql):
            # SQLite reads a double-quoted text that is no name as a value, and Spider relies on it.
            compared = before is not None and before.token_type in _COMPARISONS
            if token.token_type == TokenType.STRING or (token.token_type == TokenType.IDENTIFIER and compared):
                values.append(token.text)
            elif token.token_type in _NAMES:
                names.append(token.text)
            before = token
    return Vocabulary(_stems(names), _stems(values))


def mask_question(question: str, vocabulary: Vocabulary) -> str:
    """``question`` in lower case with ``<name>`` for runs of words of names and ``<value>`` for values.

    Values are the vocabulary's, numbers, quoted text, and words inside a sentence that have a capital letter.
    """
    masked: list[str] = []
    begins = True
    for match in _TOKEN.finditer(question):
        part = _masked(match, vocabulary, begins)
        begins = match["end"] is not None
        if part and not (part in (NAME, VALUE) and masked and masked[-1] == part):
            masked.append(part)
    return " ".join(masked) or VALUE


def _masked(match: re.Match[str], vocabulary: Vocabulary, begins: bool) -> str:
    word = match["word"]
    if not word:
        return VALUE if match["value"] else ""
    lower = word.casefold()
    if lower in _SHAPE_WORDS:
        return lower
    stem = _stem(lower)
    if stem in vocabulary.names:
        return NAME
    return VALUE if stem in vocabulary.values or (word[0].isupper() and not begins) else lower


def mask_query(sql: str) -> str:
    """The skeleton of ``sql``: its key words, functions and operators, with ``_`` for every name and value.

    A text that cannot be split into tokens is its own skeleton.
    """
    tokens = _tokens(sql)
    if not tokens:
        return sql.strip()
    parts: list[str] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        kind = token.token_type
        called = following is not None and following.token_type == TokenType.L_PAREN
        if kind in (TokenType.DOT, TokenType.ALIAS, TokenType.SEMICOLON):
            continue
        is_name = kind in _LITERALS or (kind in _NAMES and not called)
        part = "_" if is_name else token.text.upper()
        # `t.c` and `table AS t` name one thing each.
        if not (part == "_" and parts and parts[-1] == "_"):
            parts.append(part)
    return " ".join(parts)


@lru_cache(maxsize=16)
def _tokens(sql: str) -> tuple[Token, ...]:
    """Remembered for a moment: the query that answers a question is read for its words and for its skeleton."""
    try:
        return tuple(dialect_of("sqlite").tokenize(sql))
    except TokenError:
        return ()


def _stems(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(_stem(word) for text in texts for word in _words(text) if word not in _SHAPE_WORDS)


def _words(text: str) -> Iterator[str]:
    for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)):
        if len(word) > 1:
            yield word.casefold()


def _stem(word: str) -> str:
    """Singular, as far as its ending tells: ``cities`` and ``city``, ``boxes`` and ``box`` are one word."""
    word = re.sub(r"['’]s?$", "", word)
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
