"""Statistics and samples of a generated benchmark."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from learnat.benchmarks.generated.benchmark import GeneratedBenchmark
from learnat.benchmarks.generated.write import Parameters
from learnat.errors import LearnatError


def main() -> int:
    defaults = Parameters()
    parser = argparse.ArgumentParser(prog="python -m learnat.benchmarks.generated", description=__doc__)
    parser.add_argument("--cache-dir", default="cache", help="where generated benchmarks are kept (default: cache)")
    parser.add_argument("--samples", type=int, default=10, help="questions to print (default: 10)")
    parser.add_argument("--split", default="train", help="split the samples are of (default: train)")
    counts = ("num_databases", "num_unseen_databases", "train_questions", "practice_questions", "dev_questions")
    for name in ("seed", *counts):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    parser.add_argument("--unseen-domains", default=defaults.unseen_domains, help="new or known")
    parser.add_argument("--rename", type=float, default=defaults.rename, help="share of renamed training databases")
    options = vars(parser.parse_args())
    samples, split = options.pop("samples"), options.pop("split")
    try:
        start = time.perf_counter()
        benchmark = GeneratedBenchmark(**options)
        print(f"{benchmark.root} ({time.perf_counter() - start:.1f} s)")
        print(json.dumps(benchmark.manifest["statistics"], indent=1))
        examples = benchmark.examples(split)
        for example in random.Random(options["seed"]).sample(examples, min(samples, len(examples))):
            print(f"\n[{example.db_id}, {example.difficulty}] {example.question}")
            if example.evidence:
                print(f"  evidence: {example.evidence}")
            print(f"  {example.gold_sql}")
    except LearnatError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
