"""The answer that most samples agree on, judged by what they return (self-consistency, arXiv 2203.11171).

Samples whose results are the same under the benchmark's comparison mode are a group, and the largest group's first
sample is the answer. Samples that failed (no SQL, an error, a time-out) have no vote; if all of them failed, the first
one is the answer. A result without rows is a result like any other: where most samples find nothing, that is the
answer. Of equally large groups the one seen first wins.
"""

from __future__ import annotations

from collections.abc import Callable

from learnat.inference.candidates import Candidate


class Ballot:
    """One question's votes.

    ``agree`` is asked about a group's first sample and a new one: a sample joins the first group that it agrees with,
    so the groups of a question's first samples do not depend on how many more are drawn.
    """

    def __init__(self, agree: Callable[[Candidate, Candidate], bool]) -> None:
        self._agree = agree
        self._first: Candidate | None = None
        self._groups: list[Candidate] = []
        self._votes: list[int] = []

    def add(self, sample: Candidate) -> None:
        if self._first is None:
            self._first = sample
        if not sample.ran:
            return
        for place, group in enumerate(self._groups):
            if self._agree(group, sample):
                self._votes[place] += 1
                return
        self._groups.append(sample)
        self._votes.append(1)

    @property
    def winner(self) -> Candidate:
        """Raises ``ValueError`` when there is no sample yet."""
        if self._first is None:
            raise ValueError("no sample")
        return self._groups[self._leading] if self._groups else self._first

    @property
    def votes(self) -> int:
        """The winner's."""
        return self._votes[self._leading] if self._groups else 0

    def needed(self, remaining: int) -> int:
        """The fewest of ``remaining`` further samples after which the vote can be decided; 0: it is decided.

        It is decided once no other group, seen already or not, can win with all samples that are left. Drawing so many,
        and asking again, draws as few samples as drawing them one by one.
        """
        rivals = [0]  # a group not seen yet loses a tie with any that was
        rivals += [votes + (place < self._leading) for place, votes in enumerate(self._votes) if place != self._leading]
        return max(0, -(-(max(rivals) + remaining - self.votes) // 2))

    @property
    def _leading(self) -> int:
        return self._votes.index(max(self._votes)) if self._votes else 0
