"""What the calls of one run may cost together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.proposers.cache import Reply

PER_PRICE = 1_000_000
"""Prices are per so many tokens, in any currency."""


@dataclass
class RunBudget:
    """Limits on tokens and cost over all questions of a run; None means no limit. Cached replies cost nothing.

    Calls in flight when a limit is reached are still paid for, so it may be passed by as many replies as are asked for
    at once. A server that reports no token counts spends nothing here.

    Args:
        max_tokens: prompt and completion tokens together.
        max_cost: in the currency of the prices.
        prompt_price: of a million prompt tokens.
        completion_price: of a million completion tokens.

    Raises ``LearnatError`` for a limit that cannot be one.
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0
    _prompt_tokens: int = field(default=0, init=False, repr=False, compare=False)
    _completion_tokens: int = field(default=0, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count("proposer.budget.max_tokens", self.max_tokens, optional=True)
        for name in ("prompt_price", "completion_price"):
            check_number(f"proposer.budget.{name}", getattr(self, name), least=0.0)
        if self.max_cost is not None:
            check_number("proposer.budget.max_cost", self.max_cost, least=0.0)
            if not self.prompt_price and not self.completion_price:
                raise LearnatError(
                    f"proposer.budget.max_cost={self.max_cost:g} needs prices: give proposer.budget.prompt_price and "
                    "proposer.budget.completion_price, per million tokens."
                )

    @property
    def tokens(self) -> int:
        """Tokens spent so far."""
        return self._prompt_tokens + self._completion_tokens

    @property
    def cost(self) -> float:
        """What they cost."""
        return (self._prompt_tokens * self.prompt_price + self._completion_tokens * self.completion_price) / PER_PRICE

    def add(self, reply: Reply) -> None:
        """Count a reply that the server gave."""
        with self._lock:
            self._prompt_tokens += reply.prompt_tokens
            self._completion_tokens += reply.completion_tokens

    def check(self) -> None:
        """Raise ``LearnatError`` when a limit is reached."""
        with self._lock:
            over_tokens = self.max_tokens is not None and self.tokens >= self.max_tokens
            over_cost = self.max_cost is not None and self.cost >= self.max_cost
            if not over_tokens and not over_cost:
                return
            limit = f"max_tokens={self.max_tokens}" if over_tokens else f"max_cost={self.max_cost:g}"
            raise LearnatError(
                f"proposer.budget.{limit} is spent: {self._prompt_tokens:,} prompt and {self._completion_tokens:,} "
                f"completion tokens in this run, cost {self.cost:.4g}. What is done is kept: the same command goes on "
                "with as much again, and takes known replies from the cache."
            )
