"""The words of a query, cut as the official evaluator cuts them.

It runs NLTK's English word tokenizer over SQL: brackets, commas before a non-digit, ``*``, ``!`` and backquotes become
words of their own; ``=``, ``+``, ``-`` and ``/`` do not, so that ``a=1`` stays one word, which then is no condition.
NLTK first splits text into sentences, and takes the period off each: one before a space or a bracket is a word, as in
``GROUP BY a. This query counts.``, whose rest is not read. (NLTK keeps it at abbreviations, which no name ends with.)
"""

from __future__ import annotations

import re

from learnat.evaluation.exact_match.parts import Unreadable

_QUOTED = re.compile(r'"[^"]*"')
_APART = re.compile(r"[][(){}<>;@#$%&?!*«»“”‘’„\u2012-\u2015]|`+|--|\.{2,}|[:,](?!\d)")
# A number keeps its period where what follows begins no sentence.
_FINAL_PERIOD = re.compile(
    r"(?P<number>(?<![\w.])\d[\d.,-]*\.(?=\s*[;:,?!]|\s+[a-z]))|(?<=[^.])\.(?=[][(){};:?!*@\s]|[>»”’ ]*$)"
)


def tokenize(sql: str) -> list[str]:
    """Words in lower case; a string, whichever quotes it had, is one word in double quotes and keeps its case.

    Raises:
        Unreadable: a quote is not closed.
    """
    # Single quotes become double ones, so "it's" is unreadable: the official rule.
    text = sql.replace("'", '"')
    if text.count('"') % 2:
        raise Unreadable("a quote is not closed")
    strings: dict[str, str] = {}

    def keep(match: re.Match[str]) -> str:
        # A string that touches a word ("a=" or a doubled quote) melts into it and is lost: the official rule.
        name = f"__val_{len(strings)}__"
        strings[name] = match[0]
        return name

    text = _APART.sub(r" \g<0> ", _FINAL_PERIOD.sub(lambda match: match["number"] or " . ", _QUOTED.sub(keep, text)))
    words = [strings.get(word, word) for word in text.lower().split()]
    return _join_operators(words)


def _join_operators(words: list[str]) -> list[str]:
    """``! =``, ``> =`` and ``< =`` as one word each."""
    joined: list[str] = []
    for word in words:
        if word == "=" and joined and joined[-1] in ("!", ">", "<"):
            joined[-1] += "="
        else:
            joined.append(word)
    return joined
