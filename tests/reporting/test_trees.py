"""The page of search trees: what it holds, that data cannot break out of it, and what the command says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.reporting.trees import main, write_tree_page
from learnat.synthesis.tree import read_trees, tree_to_json
from tests.reporting.conftest import HOSTILE, TREES, node, tree


class Page(HTMLParser):
    """The elements of a page, its addresses, and the content of its data element."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.addresses: list[str | None] = []
        self.policy = ""
        self._in_data = False
        self._data = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.header, *self.records = json.loads(self._data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements[tag] += 1
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"] or ""
        self._in_data = attributes.get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self._data += data

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def nodes(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        unpacked = [dict(zip(self.header["node_fields"], values, strict=True)) for values in record["nodes"]]
        for values in unpacked:
            for name in self.header["text_fields"]:
                values[name] = values[name] if values[name] is None else record["texts"][values[name]]
        return unpacked


def made(file: Path, *arguments: str) -> Page:
    assert main([str(file), *arguments]) == 0
    return Page(file.with_suffix(".html"))


def test_the_page_holds_all_that_the_file_does(tree_file: Path) -> None:
    page = made(tree_file)
    assert len(page.records) == len(TREES)
    for record, original in zip(page.records, read_trees(tree_file), strict=True):
        expected = asdict(original)
        assert page.nodes(record) == list(expected.pop("nodes"))
        assert expected.pop("version") == 1
        assert {name: record[name] for name in expected} == expected
    assert [record["solved_paths"] for record in page.records] == [[[1, 4]], [], [], [[1]]]


def test_nothing_in_the_data_is_markup(tree_file: Path) -> None:
    """Hostile text and none make the same elements, and are one element's text."""
    hostile = made(tree_file)
    assert hostile.records[1]["question"] == f"Question {HOSTILE}"
    harmless = tree_file.with_name("harmless.jsonl")
    harmless.write_text(tree_to_json(TREES[0]) + "\n", encoding="utf-8")
    assert hostile.elements == made(harmless).elements
    assert b"alert('1')</script>" not in tree_file.with_suffix(".html").read_bytes()


def test_half_a_surrogate_pair_can_be_written(tree_file: Path) -> None:
    tree_file.write_text(tree_to_json(TREES[3]).replace("Who sang", r"Who \ud83d sang") + "\n", encoding="utf-8")
    assert made(tree_file).records[0]["question"] == "Who ? sang?"


def test_the_page_needs_and_allows_nothing_from_elsewhere(tree_file: Path) -> None:
    page = made(tree_file)
    assert page.addresses == []
    assert page.elements["link"] == 0
    assert page.policy.startswith("default-src 'none'; ")
    scripts = page.elements["script"] - 1  # one is data
    assert page.policy.count("'sha256-") == scripts + page.elements["style"]
    assert "unsafe" not in page.policy and "'self'" not in page.policy


def test_repeated_steps_are_written_once(tree_file: Path) -> None:
    """A branchy unpruned tree takes less than a third of its line in the file."""
    sql = "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer) ORDER BY age DESC LIMIT 3"
    nodes = [replace(node(id, (id - 1) // 3, f"{sql} OFFSET {id % 10}"), sub_question="Who?") for id in range(1, 150)]
    lines = [tree_to_json(tree(f"dev/{number}", "music", "Who?", False, nodes)) for number in range(21)]
    tree_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = tree_file.with_suffix(".html")
    write_tree_page(tree_file, output, limit=1)
    one = output.stat().st_size
    write_tree_page(tree_file, output)
    assert (output.stat().st_size - one) / 20 < len(lines[0]) / 3


def test_the_command_says_what_it_wrote(tree_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tree_file.with_name("page.html")
    assert main([str(tree_file), "-o", str(output), "--limit", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"{output}: 3 trees (1 solved), 7 nodes, ")
    page = Page(output)
    assert page.header["limit"] == len(page.records) == 3
    assert page.header["source"] == "run/trees.jsonl"
    assert {path.name for path in tree_file.parent.iterdir()} == {"page.html", "trees.jsonl"}


LINE = tree_to_json(TREES[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no tree file"),
        ("", "no finished tree"),
        (LINE, "no finished tree"),
        (f"{LINE}\nnot JSON\n", r"trees\.jsonl:2: not a search tree"),
        (LINE.replace('"sql": "SELECT first"', '"sql": null') + "\n", r"trees\.jsonl:1: not a .* sql is None"),
        (LINE.replace('"reward": 0.75', '"reward": NaN') + "\n", "reward is nan"),
        (LINE.replace('"rejected": {"not JSON": 2}', '"rejected": 2') + "\n", "rejected is 2"),
        (LINE.replace('"id": 4, "parent": 1', '"id": 4, "parent": 4') + "\n", "node 4 does not follow its parent 4"),
        (LINE.replace('"id": 4', '"id": 3') + "\n", "node 3 does not follow its parent 1, or is there twice"),
    ],
)
def test_a_bad_file_is_one_message_and_leaves_no_page(
    tree_file: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is None:
        tree_file.unlink()
    else:
        tree_file.write_text(content, encoding="utf-8")
    assert main([str(tree_file)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    with pytest.raises(LearnatError, match=message):
        write_tree_page(tree_file, tree_file.with_suffix(".html"))
    assert [path.name for path in tree_file.parent.iterdir()] == ([] if content is None else ["trees.jsonl"])


def test_a_failed_run_keeps_the_earlier_page(tree_file: Path) -> None:
    made(tree_file)
    before = tree_file.with_suffix(".html").read_bytes()
    tree_file.write_text(f"{LINE}\n{{}}\n", encoding="utf-8")
    assert main([str(tree_file)]) == 2
    assert tree_file.with_suffix(".html").read_bytes() == before


def test_the_page_cannot_replace_its_input_or_a_folder(tree_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output, message in [
        (tree_file, "is the tree file itself"),
        (tree_file.parent, "no page can be written there"),
        (tree_file.parent / "missing" / "page.html", "no page can be written there"),
        (tree_file / "page.html", "no page can be written there"),
    ]:
        assert main([str(tree_file), "-o", str(output)]) == 2
        assert message in capsys.readouterr().err
    assert len(list(read_trees(tree_file))) == len(TREES)
    assert not list(tree_file.parent.parent.glob("*.partial"))


@pytest.mark.parametrize("limit", ["0", "-1", "few"])
def test_a_limit_is_a_number_of_trees(tree_file: Path, capsys: pytest.CaptureFixture[str], limit: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tree_file), f"--limit={limit}"])
    assert stopped.value.code == 2
    assert f"{limit!r} is no number of trees" in capsys.readouterr().err
