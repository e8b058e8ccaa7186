"""What a model wrote is kept, and not asked for again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Message, Prompt, Request, Written
from learnat.inference.recorded import RecordedEngine
from tests.inference.music import Scripted

PROMPTS = [Prompt((Message("user", text),)) for text in ("one", "two", "one")]
DRAWS = Decoding(temperature=1.0)


def scripted(identity: str = "scripted") -> Scripted:
    return Scripted(lambda prompt, sample: f"{prompt.messages[-1].content} {sample}\u2028", identity)


def asked(
    engine: Scripted, path: Path, prompts: Sequence[Prompt], decoding: Decoding, samples: Sequence[int] = (0,)
) -> dict[tuple[int, int], Completion]:
    requests = [Request(prompt, samples) for prompt in prompts]
    written = list(RecordedEngine(engine, path).generate(requests, decoding))
    found = {(each.position, each.sample): each.completion for each in written}
    assert len(found) == len(written)
    return found


def test_what_prompts_share_is_no_part_of_what_identifies_them() -> None:
    """Asked the same text, an engine draws the same samples, whatever of it may be computed once for others."""
    messages = (Message("user", "Tables. How many?"),)
    (digest,) = {Prompt(messages, shared=shared).digest for shared in ("", "Tables.", "Tables. How")}
    assert digest not in {Prompt(messages, begun="-- A?\n").digest, Prompt((Message("user", "Why?"),)).digest}


def test_a_stopped_run_asks_for_what_is_missing(tmp_path: Path) -> None:
    path, engine = tmp_path / "folder" / "answers.jsonl", scripted()
    first = asked(engine, path, PROMPTS, DRAWS, range(2))
    assert {key: each.text for key, each in first.items()} == {
        (place, sample): f"{PROMPTS[place].messages[-1].content} {sample}\u2028"
        for place in range(3)
        for sample in (0, 1)
    }
    assert len(engine.asked) == 4  # equal prompts are asked once
    lines = path.read_text().split("\n")
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:17])  # killed while the fourth was written
    assert asked(engine, path, PROMPTS, DRAWS, range(2)) == first and len(engine.asked) == 5
    more = asked(engine, path, PROMPTS, DRAWS, range(3))
    assert more.items() > first.items() and len(engine.asked) == 7
    rows = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    assert len(rows) == len({(row["key"], row["sample"]) for row in rows}) == 6


def test_what_another_model_or_decoding_wrote_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    asked(scripted(), path, PROMPTS, DRAWS)
    for engine, decoding in ((scripted("another"), DRAWS), (scripted(), Decoding(temperature=0.5))):
        asked(engine, path, PROMPTS, decoding)
        assert len(engine.asked) == 2


def test_another_seed_asks_again_only_what_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for temperature, asks in ((0.0, 0), (1.0, 2)):
        first = asked(scripted(), path, PROMPTS, Decoding(temperature=temperature, seed=1))
        engine = scripted()
        assert asked(engine, path, PROMPTS, Decoding(temperature=temperature, seed=2)) == first
        assert len(engine.asked) == asks

    class Drawing(Scripted):
        """A server that has a temperature of its own."""

        def draws(self, decoding: Decoding) -> bool:
            return True

    for seed in (1, 2):
        drawing = Drawing(lambda prompt, sample: "", "drawing")
        asked(drawing, path, PROMPTS, Decoding(seed=seed))
        assert len(drawing.asked) == 2


def test_what_was_recorded_with_the_default_seed_stays_known(tmp_path: Path) -> None:
    """Of before the seed was left out of what greedy answers are kept by."""
    path, decoding = tmp_path / "answers.jsonl", Decoding(seed=1)
    before = "scripted\n" + str(decoding) + "\n" + PROMPTS[0].digest
    row = {"key": hashlib.sha256(before.encode()).hexdigest()[:32], "sample": 0, "text": "kept"}
    path.write_text(json.dumps({**row, "prompt_tokens": 1, "completion_tokens": 1, "finished": True}) + "\n")
    found = asked(scripted(), path, PROMPTS[:1], Decoding(seed=7))
    assert [each.text for each in found.values()] == ["kept"]


def test_a_kill_while_a_torn_line_is_cut_off_loses_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.jsonl"
    asked(scripted(), path, PROMPTS, DRAWS)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "to')

    def killed(self: Path, data: bytes) -> int:
        self.open("wb").close()  # what write_bytes has done to the file before it writes
        raise OSError("killed")

    monkeypatch.setattr(Path, "write_bytes", killed)
    RecordedEngine(scripted(), path)
    assert path.read_bytes() == whole


def test_what_failed_is_asked_again(tmp_path: Path) -> None:
    class Declining(Scripted):
        def generate(self, *arguments: object) -> Iterator[Written]:  # type: ignore[override]
            for written in super().generate(*arguments):  # type: ignore[arg-type]
                yield replace(written, completion=replace(written.completion, failure="prompt too long"))

    path = tmp_path / "answers.jsonl"
    declined = asked(Declining(lambda prompt, sample: ""), path, PROMPTS, DRAWS)
    assert len(declined) == 3 and not path.exists()
    assert all(each.failure is None and each.text for each in asked(scripted(), path, PROMPTS, DRAWS).values())


@pytest.mark.parametrize("line", [b'{"answers_of": "ab"}', b"SELECT 1", b"[1]", b'{"key": "a", "sample": 0}', b"\xff"])
def test_another_file_is_one_message(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(LearnatError, match=r"answers\.jsonl holds something else .*move it away"):
        RecordedEngine(scripted(), path)
    assert path.read_bytes() == line + b"\n"
