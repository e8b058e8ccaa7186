"""A seeded generator of text-to-SQL benchmarks, and the benchmark that reads what it writes.

``spec`` says how a domain is described and ``domains`` describes them; ``variant`` draws a database from a domain;
``families`` is the question grammar (``filters`` and ``scope`` its phrases); ``questions`` draws and checks questions;
``write`` and ``database_files`` put all on disk in BIRD's layout. ``python -m learnat.benchmarks.generated`` prints
statistics and samples.
"""

from learnat.benchmarks.generated.benchmark import GeneratedBenchmark
from learnat.benchmarks.generated.write import Parameters, ensure, write

__all__ = ["GeneratedBenchmark", "Parameters", "ensure", "write"]
