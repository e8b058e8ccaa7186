"""The token-tree test of the LearNAT authors' public script, kept as the baseline ``mode="text"``.

Text is cut into a tree of words and groups (a WHERE clause, parentheses, a function with its arguments, a
comparison, a name with its alias), aliases of tables are replaced by the tables' names, and a tree is part of
another when each of its children finds some equal child there, in any order and any number of times. So it accepts
``SELECT singer FROM name`` for ``SELECT name FROM singer``, and refuses whatever differs in spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(
    r"\s*(?P<text>'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|<>|!=|>=|<=|==|\|\||[-+*/%<>=(),;.]|[^\s\-+*/%<>=(),;.'\"`|!]+|.)",
    re.DOTALL,
)
_ALIAS = re.compile(r"\b(FROM|JOIN)\s+([`\"]?\w+[`\"]?)\s+AS\s+(\w+)\b", re.IGNORECASE)
_FIELD = re.compile(r"\b(\w+)\.(\w+|`[^`]+`)")
_COMPARISONS = frozenset({"=", "==", "<>", "!=", "<", ">", "<=", ">=", "LIKE"})
_ENDS_WHERE = frozenset({"GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "EXCEPT", "INTERSECT"})
_KEYWORDS = frozenset(
    """SELECT DISTINCT FROM JOIN INNER LEFT RIGHT OUTER CROSS NATURAL ON USING WHERE AND OR NOT IN EXISTS BETWEEN IS
    NULL GROUP BY ORDER HAVING LIMIT OFFSET ASC DESC UNION ALL EXCEPT INTERSECT CASE WHEN THEN ELSE END AS WITH
    LIKE""".split()
)


@dataclass(frozen=True)
class TokenTree:
    """``kind`` is SQL (a group), WHERE, or WORD; ``value`` the text of a word."""

    kind: str
    value: str = ""
    children: tuple[TokenTree, ...] = ()


def is_subtree(gold: str, step: str) -> bool:
    """Whether the token tree of ``step`` matches some subtree of gold's."""
    return _anywhere(token_tree(gold), token_tree(step))


@lru_cache(maxsize=2_000)
def token_tree(sql: str) -> TokenTree:
    text = _without_aliases(sql).strip().rstrip(";")
    tokens = [match.group("text") for match in _TOKEN.finditer(text) if match.group("text").strip()]
    return TokenTree("SQL", children=tuple(_group(tokens)))


def _without_aliases(sql: str) -> str:
    names = {alias: table.strip('`"') for _, table, alias in _ALIAS.findall(sql)}
    sql = _ALIAS.sub(lambda match: f"{match[1]} {match[2].strip(chr(96) + chr(34))}", sql)
    return _FIELD.sub(lambda match: f"{names.get(match[1], match[1])}.{match[2]}", sql)


def _group(tokens: list[str]) -> list[TokenTree]:
    """Cut a run of tokens into words, names, functions, comparisons, parentheses and a WHERE clause."""
    nodes: list[TokenTree] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token == "(":
            end = _closing(tokens, place)
            inner = TokenTree("SQL", children=tuple(_group(tokens[place + 1 : end])))
            named = nodes and nodes[-1].kind == "WORD" and _is_name(nodes[-1].value)
            nodes.append(TokenTree("SQL", children=(nodes.pop(), inner)) if named else inner)
            place = end + 1
        elif token.upper() == "WHERE":
            end = place + 1
            while end < len(tokens) and tokens[end].upper() not in _ENDS_WHERE:
                end = _closing(tokens, end) + 1 if tokens[end] == "(" else end + 1
            nodes.append(TokenTree("WHERE", children=tuple(_group(tokens[place + 1 : end]))))
            place = end
        elif token == "." and nodes and place + 1 < len(tokens):
            nodes.append(TokenTree("WORD", f"{nodes.pop().value}.{tokens[place + 1]}"))
            place += 2
        else:
            if token != ",":
                nodes.append(TokenTree("WORD", token))
            place += 1
    return _comparisons(nodes)


def _comparisons(nodes: list[TokenTree]) -> list[TokenTree]:
    found: list[TokenTree] = []
    place = 0
    while place < len(nodes):
        if nodes[place].value.upper() in _COMPARISONS and found and place + 1 < len(nodes):
            found.append(TokenTree("SQL", children=(found.pop(), nodes[place], nodes[place + 1])))
            place += 2
        else:
            found.append(nodes[place])
            place += 1
    return found


def _closing(tokens: list[str], start: int) -> int:
    depth = 0
    for place in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place], 0)
        if depth == 0:
            return place
    return len(tokens)


def _is_name(word: str) -> bool:
    return word.upper() not in _KEYWORDS and (word[0].isalnum() or word[0] in '_`"')


def _anywhere(whole: TokenTree, part: TokenTree) -> bool:
    return _matches(whole, part) or any(_anywhere(child, part) for child in whole.children)


def _matches(whole: TokenTree, part: TokenTree) -> bool:
    if whole.kind != part.kind or whole.value != part.value:
        return False
    return all(any(_matches(other, child) for other in whole.children) for child in part.children)
