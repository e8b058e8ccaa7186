"""Small matters of English: plurals, lists, numbers; and invented words for renamed schemas."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PREPOSITIONS = frozenset(words("of in by per at for from on to with"))
_PARTICIPLES = ("ed", "sold", "built", "born", "bought", "paid out", "given", "used so far")
_NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}
_ONSETS = words("b d f g k l m n p r s t v z br dr gl kr pl st tr")
_VOWELS = words("a e i o u")
_CODAS = ("", "", "l", "m", "n", "r", "s", "x")


def plural(phrase: str) -> str:
    """The plural of a noun (its last word); "values of year of birth" where the last word is not a noun to inflect."""
    if is_phrase(phrase) or phrase.endswith(_PARTICIPLES):
        return f"values of {phrase}"
    if phrase.endswith("s") and not phrase.endswith(("ss", "us")):
        return phrase  # "pages", "seats": plural already
    if phrase.endswith(("s", "x", "ch", "sh")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2:-1] not in tuple("aeiou"):
        return phrase[:-1] + "ies"
    return phrase + "s"


def is_phrase(text: str) -> bool:
    """Whether ``text`` holds a preposition, so that nothing can be put before or after it as if it were one noun."""
    return any(word in _PREPOSITIONS for word in text.split())


def with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def number_word(value: int, rng: random.Random) -> str:
    """``3`` or ``three``."""
    return _NUMBER_WORDS[value] if value in _NUMBER_WORDS and rng.random() < 0.5 else str(value)


def invented_words(rng: random.Random) -> Iterator[str]:
    """An endless stream of different pronounceable words of two or three syllables."""
    seen: set[str] = set()
    while True:
        syllables = rng.choice((2, 2, 3))
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_CODAS)
        # Shorter words could be SQL keywords.
        if len(word) >= 5 and word not in seen:
            seen.add(word)
            yield word
