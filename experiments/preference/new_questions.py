"""Writes a copy of the embedded benchmark whose training questions are new: not in its train, and not in its dev_seen.

    python experiments/preference/new_questions.py FOLDER [QUESTIONS]

Databases and dev splits are the embedded benchmark's own, so that a policy trained on it is measured as before.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from learnat.benchmarks.generated.questions import token_key
from learnat.benchmarks.generated.write import Parameters, ensure


def read(path: Path) -> list[dict[str, Any]]:
    questions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return questions


def main() -> None:
    target, wanted = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 600
    with tempfile.TemporaryDirectory() as scratch:
        known = ensure(Path(scratch), Parameters())
        larger = ensure(Path(scratch), Parameters(train_questions=Parameters.train_questions + 2 * wanted))
        taken = read(known / "train.json") + read(known / "dev_seen.json")
        sql = {(question["db_id"], token_key(question["SQL"])) for question in taken}
        words = {(question["db_id"], question["question"]) for question in taken}
        new = [
            question
            for question in read(larger / "train.json")
            if (question["db_id"], token_key(question["SQL"])) not in sql
            and (question["db_id"], question["question"]) not in words
        ][:wanted]
        shutil.copytree(known, target)
    for number, question in enumerate(new):
        question["question_id"] = number
    (target / "train.json").write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    print(f"{len(new)} new questions about the same databases in {target}")


if __name__ == "__main__":
    main()
