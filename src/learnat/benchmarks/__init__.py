"""Questions with gold SQL, and the databases they are about: Spider and BIRD.

``learnat.benchmarks.generated`` makes benchmarks of its own; import ``GeneratedBenchmark`` from there.
"""

from __future__ import annotations

from learnat.benchmarks.bird import BirdBenchmark
from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Benchmark, Database, Example

__all__ = ["Benchmark", "BirdBenchmark", "Database", "Example", "SpiderBenchmark"]
