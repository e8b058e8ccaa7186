"""Questions with gold SQL, and the databases they are about: Spider, BIRD, and benchmarks made here."""

from __future__ import annotations

from learnat.benchmarks.bird import BirdBenchmark
from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Benchmark, Database, Example

__all__ = ["Benchmark", "BirdBenchmark", "Database", "Example", "SpiderBenchmark"]
