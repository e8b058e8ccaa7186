"""A place in the words of a query."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from learnat.evaluation.exact_match.parts import Unreadable


class Cursor:
    """Reads words one after the other; ``Unreadable`` where one is missing."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.at = 0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.words)

    @property
    def word(self) -> str:
        if self.ended:
            raise Unreadable("the query ends early")
        return self.words[self.at]

    def next(self) -> str:
        word = self.word
        self.at += 1
        return word

    def take(self, *expected: str) -> bool:
        """Whether the next word is one of ``expected``; it is passed then."""
        found = not self.ended and self.words[self.at] in expected
        self.at += found
        return found

    def take_one_of(self, choices: AbstractSet[str]) -> str | None:
        """The next word where it is one of ``choices``; it is passed then."""
        return self.next() if not self.ended and self.word in choices else None

    def need(self, expected: str) -> None:
        found = self.next()
        if found != expected:
            raise Unreadable(f"{expected!r} is missing before {found!r}")
