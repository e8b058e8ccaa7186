"""SQL as tokens that know what they name, so that a mutation can change one word and leave the rest as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import Token, TokenType
from sqlglot.dialects.sqlite import SQLite

from learnat.sql.schema import Column, Schema, Table

_CLAUSES = {
    TokenType.SELECT: "select",
    TokenType.FROM: "from",
    TokenType.JOIN: "from",
    TokenType.ON: "on",
    TokenType.USING: "on",
    TokenType.WHERE: "where",
    TokenType.GROUP_BY: "group",
    TokenType.HAVING: "having",
    TokenType.ORDER_BY: "order",
    TokenType.LIMIT: "limit",
}
_SET_OPERATIONS = {TokenType.UNION, TokenType.INTERSECT, TokenType.EXCEPT}
_NOT_NAMES = {TokenType.STRING, TokenType.NUMBER, TokenType.STAR, TokenType.NULL}


@dataclass(frozen=True)
class Word:
    """One token. ``block`` numbers the SELECT it stands in, ``clause`` the part of it; a name knows what it names.

    ``table`` is set for a table's name and for a column's (the table it belongs to), ``column`` for a column's.
    """

    kind: TokenType
    text: str
    start: int
    end: int
    block: int
    clause: str
    table: Table | None = None
    column: Column | None = None


@dataclass(frozen=True)
class Block:
    """The table instances of one SELECT, by alias as it is written, and the block around it (-1: none)."""

    aliases: dict[str, Table]
    outer: int


def read_words(sql: str, schema: Schema) -> tuple[list[Word], list[Block]]:
    """The tokens of ``sql`` and its blocks. Raises ``sqlglot.errors.TokenError`` for text that is no SQL."""
    tokens = SQLite().tokenize(sql)
    places = list(_places(tokens))
    blocks = _blocks(tokens, places, schema)
    return [
        Word(t.token_type, t.text, t.start, t.end + 1, block, clause, *_named(i, tokens, places, blocks, schema))
        for i, (t, (block, clause, _)) in enumerate(zip(tokens, places, strict=True))
    ], blocks


def _places(tokens: list[Token]) -> Iterator[tuple[int, str, int]]:
    """Block, clause and outer block of each token; block −1 is outside every SELECT."""
    count, block, clause = 0, -1, ""
    stack: list[tuple[int, str]] = []
    for token in tokens:
        if token.token_type == TokenType.R_PAREN and stack:
            block, clause = stack.pop()
        elif token.token_type == TokenType.SELECT:
            block, count = count, count + 1
        elif token.token_type in _SET_OPERATIONS:
            clause = "set"
        clause = _CLAUSES.get(token.token_type, clause)
        yield block, clause, stack[-1][0] if stack else -1
        if token.token_type == TokenType.L_PAREN:
            stack.append((block, clause))


def _blocks(tokens: list[Token], places: list[tuple[int, str, int]], schema: Schema) -> list[Block]:
    blocks: list[Block] = []
    for i, (token, (block, clause, outer)) in enumerate(zip(tokens, places, strict=True)):
        while len(blocks) <= block:
            blocks.append(Block({}, outer))
        if clause == "from" and block >= 0 and (table := _table_name(i, tokens, schema)):
            after = tokens[i + 1 : i + 3]
            if len(after) == 2 and after[0].token_type == TokenType.ALIAS:
                alias = after[1].text
            elif after and after[0].token_type in (TokenType.VAR, TokenType.IDENTIFIER):
                alias = after[0].text
            else:
                alias = token.text
            blocks[block].aliases[alias] = table
    return blocks


def _table_name(i: int, tokens: list[Token], schema: Schema) -> Table | None:
    before = tokens[i - 1].token_type
    if before in (TokenType.FROM, TokenType.JOIN, TokenType.COMMA) and tokens[i].token_type not in _NOT_NAMES:
        return schema.table(tokens[i].text)
    return None


def _named(
    i: int, tokens: list[Token], places: list[tuple[int, str, int]], blocks: list[Block], schema: Schema
) -> tuple[Table | None, Column | None]:
    token, (block, clause, _) = tokens[i], places[i]
    following = tokens[i + 1].token_type if i + 1 < len(tokens) else None
    before = tokens[i - 1].token_type if i else None
    if token.token_type in _NOT_NAMES or block < 0 or following in (TokenType.DOT, TokenType.L_PAREN):
        return None, None
    if clause == "from":
        return _table_name(i, tokens, schema), None
    if before == TokenType.ALIAS or token.token_type in _CLAUSES:
        return None, None
    qualifier = tokens[i - 2].text.casefold() if before == TokenType.DOT and i >= 2 else None
    while block >= 0:
        for alias, table in blocks[block].aliases.items():
            if (qualifier is None or qualifier == alias.casefold()) and (column := table.column(token.text)):
                return table, column
        block = blocks[block].outer
    return None, None
