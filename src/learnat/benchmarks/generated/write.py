"""Writes a benchmark to disk in BIRD's layout, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from learnat.benchmarks.generated.database_files import describe_table, fill, tables_entry
from learnat.benchmarks.generated.domains import HELD_OUT, TRAINING
from learnat.benchmarks.generated.model import Question
from learnat.benchmarks.generated.questions import draw_questions, token_key
from learnat.benchmarks.generated.spec import Domain
from learnat.benchmarks.generated.statistics import describe
from learnat.benchmarks.generated.variant import draw_database
from learnat.errors import LearnatError, nearest

LAYOUT_VERSION = 1
MANIFEST = "manifest.json"
SPLITS = ("train", "dev_seen", "dev_unseen", "practice")
UNSEEN_DOMAINS = ("new", "known")
_SPARE = 0.1


@dataclass(frozen=True)
class Parameters:
    """What determines a generated benchmark, to the byte.

    Args:
        seed: of everything random.
        num_databases: databases that ``train``, ``practice`` and ``dev_seen`` ask about.
        num_unseen_databases: databases that only ``dev_unseen`` asks about.
        train_questions: size of ``train``, spread evenly over its databases.
        practice_questions: size of ``practice``: further questions like those of ``train``, which change nothing in the
            other splits, for a policy to learn from its own attempts at what it was not trained on.
        dev_questions: size of ``dev_seen``, and of ``dev_unseen``.
        unseen_domains: ``new``: the unseen databases are of domains that training never meets; ``known``: other
            variants of the training domains, so that their words are known.
        rename: share of the training databases whose tables and columns get invented names, so that only
            reading the schema helps.

    Raises:
        LearnatError: a value out of range.
    """

    seed: int = 0
    num_databases: int = 8
    num_unseen_databases: int = 4
    train_questions: int = 2000
    practice_questions: int = 480
    dev_questions: int = 320
    unseen_domains: str = "new"
    rename: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_databases", "num_unseen_databases", "train_questions", "practice_questions", "dev_questions"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise LearnatError(f"data.{name}={value!r} must be a whole number above 0.")
        if not isinstance(self.seed, int):
            raise LearnatError(f"data.seed={self.seed!r} must be a whole number.")
        if self.unseen_domains not in UNSEEN_DOMAINS:
            raise LearnatError(
                f"data.unseen_domains={self.unseen_domains!r} is not known. "
                f"{nearest(str(self.unseen_domains), UNSEEN_DOMAINS)}"
            )
        if not 0 <= self.rename <= 1:
            raise LearnatError(f"data.rename={self.rename!r} must be a share between 0 and 1.")


def generator_digest() -> str:
    """A hash of the generator's own source: a changed generator never passes for the one that wrote a folder."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted(here.rglob("*.py")):
        digest.update(path.relative_to(here).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def ensure(cache_dir: Path, parameters: Parameters) -> Path:
    """The folder of the benchmark under ``cache_dir``; written first where it is not there yet.

    Raises:
        LearnatError: the folder cannot be written, or more questions are asked for than the databases yield.
    """
    identity = json.dumps([LAYOUT_VERSION, generator_digest(), asdict(parameters)], sort_keys=True)
    target = cache_dir / f"generated-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if (target / MANIFEST).is_file():
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_suffix(".lock")):
            if not (target / MANIFEST).is_file():
                _write_atomically(target, parameters)
    except OSError as error:
        raise LearnatError(
            f"cannot write the generated benchmark to {target.absolute()}: {error.strerror or error}. "
            "Choose another folder with cache_dir=FOLDER."
        ) from error
    return target


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Waits while another process writes the same benchmark. The lock goes with its process, however that ends."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_atomically(target: Path, parameters: Parameters) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(scratch, parameters)
        scratch.chmod(0o755)
        if target.exists():  # without a manifest: not one of ours that is whole
            shutil.rmtree(target)
        os.rename(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(folder: Path, parameters: Parameters) -> dict[str, Any]:
    """Writes the benchmark into the empty ``folder`` and returns its manifest."""
    seen = _plan(TRAINING, parameters.num_databases, parameters, {})
    numbering = {domain.name: sum(item[1] is domain for item in seen) for domain in TRAINING}
    unseen = _plan(
        HELD_OUT if parameters.unseen_domains == "new" else TRAINING,
        parameters.num_unseen_databases,
        parameters,
        numbering,
    )
    train_shares = _shares(parameters.train_questions, len(seen))
    practice_shares = _shares(parameters.practice_questions, len(seen))
    seen_shares = _shares(parameters.dev_questions, len(seen))
    entries: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    pools: list[list[Question]] = []
    further_pools: list[list[Question]] = []
    splits: dict[str, list[Question]] = {name: [] for name in SPLITS}
    rng = random.Random(f"{parameters.seed}/rename")
    renamed = set(rng.sample(range(len(seen)), round(parameters.rename * len(seen))))
    for index, (db_id, domain) in enumerate(seen):
        needed = train_shares[index] + seen_shares[index]
        further = _with_spare(practice_shares[index])
        pool, more = _database(
            folder, db_id, domain, parameters, index in renamed, needed, _with_spare(needed), further, entries, digest
        )
        held_out, rest = _stratified(pool, seen_shares[index], random.Random(f"{parameters.seed}/{db_id}/split"))
        splits["dev_seen"] += held_out
        pools.append(rest)
        further_pools.append(more)
    for (db_id, domain), share in zip(unseen, _shares(parameters.dev_questions, len(unseen)), strict=True):
        pool, _ = _database(folder, db_id, domain, parameters, False, share, share, 0, entries, digest)
        splits["dev_unseen"] += pool[:share]
    splits["train"] = _training(pools, train_shares, splits, "train")
    splits["practice"] = _training(further_pools, practice_shares, splits, "practice")
    for name, questions in splits.items():
        random.Random(f"{parameters.seed}/{name}").shuffle(questions)
        text = json.dumps([_row(index, item) for index, item in enumerate(questions)], indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        digest.update(text.encode())
    (folder / "tables.json").write_text(json.dumps(entries) + "\n", encoding="utf-8")
    manifest = {
        "version": LAYOUT_VERSION,
        "generator": generator_digest(),
        "parameters": asdict(parameters),
        "content": digest.hexdigest(),
        "statistics": describe(splits),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _plan(
    domains: tuple[Domain, ...], count: int, parameters: Parameters, numbering: dict[str, int]
) -> list[tuple[str, Domain]]:
    order = list(domains)
    random.Random(f"{parameters.seed}/domains").shuffle(order)
    plan = []
    for index in range(count):
        domain = order[index % len(order)]
        number = numbering.get(domain.name, 0) + index // len(order)
        plan.append((domain.name if number == 0 else f"{domain.name}_{number + 1}", domain))
    return plan


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]


def _with_spare(needed: int) -> int:
    """How many questions to draw so that ``needed`` are left when those that a dev split asks are taken away."""
    return needed + round(needed * _SPARE) + 5 if needed else 0


def _stratified(pool: list[Question], count: int, rng: random.Random) -> tuple[list[Question], list[Question]]:
    """``count`` questions with the whole pool's mix of families and joins, and the others in their order."""
    start = rng.random()
    by_family = sorted(range(len(pool)), key=lambda index: (pool[index].family, pool[index].sql.count(" JOIN ")))
    chosen = {by_family[int((step + start) * len(pool) / count)] for step in range(count)}
    return [pool[index] for index in sorted(chosen)], [item for index, item in enumerate(pool) if index not in chosen]


def _training(
    pools: list[list[Question]], shares: list[int], splits: dict[str, list[Question]], name: str
) -> list[Question]:
    """Each database's share, without what a dev split asks (of any database), topped up from where some is left."""
    taken = {token_key(item.sql) for name in ("dev_seen", "dev_unseen") for item in splits[name]}
    free = [[item for item in pool if token_key(item.sql) not in taken] for pool in pools]
    chosen = [item for pool, share in zip(free, shares, strict=True) for item in pool[:share]]
    left = [item for pool, share in zip(free, shares, strict=True) for item in pool[share:]]
    chosen += left[: sum(shares) - len(chosen)]
    if len(chosen) < sum(shares):
        raise LearnatError(
            f"the generated databases yield {len(chosen)} {name} questions that no dev split asks, "
            f"{sum(shares)} were asked for. Lower data.{name}_questions or raise data.num_databases."
        )
    return chosen


def _row(index: int, item: Question) -> dict[str, Any]:
    return {
        "question_id": index,
        "db_id": item.db_id,
        "question": item.question,
        "evidence": item.evidence,
        "SQL": item.sql,
        "difficulty": item.difficulty,
        "family": item.family,
    }


def _database(
    folder: Path,
    db_id: str,
    domain: Domain,
    parameters: Parameters,
    rename: bool,
    needed: int,
    wanted: int,
    further: int,
    entries: list[dict[str, Any]],
    digest: Any,
) -> tuple[list[Question], list[Question]]:
    """``wanted`` questions about a database that is written now, and ``further`` ones that they do not depend on."""
    rng = random.Random(f"{parameters.seed}/{db_id}")
    db = draw_database(domain, db_id, rng, rename=rename)
    home = folder / "databases" / db_id
    (home / "database_description").mkdir(parents=True)
    entries.append(tables_entry(db))
    digest.update(json.dumps(entries[-1]).encode())
    for table in db.tables:
        describe_table(home / "database_description" / f"{table.name}.csv", table)
        digest.update(repr([column.values for column in table.columns]).encode())
    with closing(sqlite3.connect(home / f"{db_id}.sqlite")) as connection:
        fill(connection, db)
        questions = draw_questions(db, connection, rng, wanted)
        more_rng = random.Random(f"{parameters.seed}/{db_id}/practice")
        more = draw_questions(db, connection, more_rng, further, known=questions)
    if len(questions) < needed:
        raise LearnatError(
            f"the generated database {db_id!r} yields {len(questions)} different questions, {needed} were asked for. "
            "Raise data.num_databases (or data.num_unseen_databases), or ask for fewer questions."
        )
    return questions, more
