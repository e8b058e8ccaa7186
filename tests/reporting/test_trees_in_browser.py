"""The page of search trees at work: lists, filters, keys, links and drawings, without a console error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from learnat.reporting.trees import write_tree_page
from learnat.synthesis.tree import tree_to_json
from tests.reporting.browser import CHROMIUM, Browser
from tests.reporting.conftest import HOSTILE, node, tree

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed that could run the page")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    yield chromium
    assert chromium.errors == []


def address(file: Path) -> str:
    page = file.with_suffix(".html")
    write_tree_page(file, page)
    return page.as_uri()


def text(browser: Browser, selector: str) -> Any:
    return browser.evaluate(f"document.querySelector({selector!r}).textContent")


def texts(browser: Browser, selector: str) -> Any:
    return browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def set_control(browser: Browser, selector: str, value: str) -> None:
    browser.evaluate(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input', {{ bubbles: true }})) }})"
        f"(document.querySelector({selector!r}))"
    )


def test_filters_narrow_the_list_and_count(browser: Browser, tree_file: Path) -> None:
    browser.open(address(tree_file))
    assert texts(browser, ".row .id") == ["dev/0", "dev/1", "dev/2", "dev/3"]
    assert texts(browser, "#status span") == ["all (4)", "solved (2)", "unsolved (2)"]
    browser.evaluate("document.querySelector('input[value=unsolved]').click()")
    assert texts(browser, ".row .id") == ["dev/1", "dev/2"]
    assert text(browser, "#count") == "2 of 4 questions, 0 solved"
    assert texts(browser, "[data-facet=database] option") == ["all databases (2)", "music (0)", "pets (2)"]
    browser.evaluate("document.querySelector('input[value=\"\"]').click()")
    set_control(browser, "[data-facet=rule]", "runs")
    assert texts(browser, ".row .id") == ["dev/0"]
    set_control(browser, "[data-facet=rule]", "")
    set_control(browser, "#search", "GOLD who dev/3")
    assert texts(browser, ".row .id") == ["dev/3"]
    set_control(browser, "#search", "no such word")
    assert texts(browser, ".row .id") == []
    assert text(browser, "#count") == "0 of 4 questions, 0 solved"


def test_keys_and_links_lead_to_questions(browser: Browser, tree_file: Path) -> None:
    page = address(tree_file)
    browser.open(page)
    browser.press("j", "ArrowDown", "k")
    assert browser.evaluate("location.hash") == "#dev/1"
    browser.press("/")
    assert browser.evaluate("document.activeElement.id") == "search"
    browser.open(f"{page}#dev/3")
    assert text(browser, "h2") == "Who sang?"
    assert text(browser, ".row[aria-selected=true] .id") == "dev/3"
    browser.evaluate("document.querySelector('input[value=unsolved]').click()")
    browser.evaluate("new Promise(done => { location.hash = 'dev/0'; setTimeout(done, 50) })")
    assert text(browser, ".row[aria-selected=true] .id") == "dev/0", "a link leads past the filters"


def test_the_tree_shows_verdicts_and_details(browser: Browser, tree_file: Path) -> None:
    browser.open(f"{address(tree_file)}#dev/0")
    cards = texts(browser, ".card:not(.root) .badge")
    assert sorted(cards) == ["▲ W", "● I", "★ F", "★ F", "✕ P", "✕ P"]
    assert texts(browser, ".card.shortest .number") == ["#1", "#4"]
    assert "Node 4: final" in text(browser, "#node"), "the end of the solved path comes first"
    browser.evaluate("document.querySelector('.card.wrong').focus()")
    details = text(browser, "#node")
    for known in ("sub-question 5", "SELECT mistaken", "reward0.75", "coverage0.5", "visits3", "value0.625"):
        assert known in details
    assert "sourcemutation:value" in details and "path0 → 1 → 5" in details
    browser.hover(".card.root")
    browser.hover(".card.pruned")
    assert "pruned byincluded" in text(browser, "#node")
    assert "tokens in / out1,200 / 34" in text(browser, "#question")
    assert "rejected repliesnot JSON 2" in text(browser, "#question")


def test_branches_open_and_close_by_key(browser: Browser, tree_file: Path) -> None:
    browser.open(f"{address(tree_file)}#dev/0")
    browser.press("t", "ArrowLeft", "ArrowLeft")
    assert browser.evaluate("document.activeElement.className") == "card root shortest selected"
    browser.press("ArrowRight", "ArrowDown", "Enter")
    assert texts(browser, ".card.pruned .number") == []
    assert text(browser, ".chip") == "▸ ✕ 2 pruned"
    browser.press("ArrowUp", "Enter")
    assert texts(browser, ".card .number") == ["#1"]
    browser.press("ArrowRight", "ArrowRight")
    assert "Node 4" in text(browser, "#node")


def test_hostile_text_is_shown_and_never_run(browser: Browser, tree_file: Path) -> None:
    browser.open(f"{address(tree_file)}#dev/1")
    assert text(browser, "h2") == f"Question {HOSTILE}"
    assert text(browser, ".card.wrong .sql") == f"SELECT {HOSTILE}"
    assert browser.evaluate("document.images.length") == 0
    browser.press("j")
    assert "No step was proposed" in text(browser, "#diagram")


def test_large_files_and_long_paths_draw_what_is_seen(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    chain = [node(id, id - 1, f"SELECT {id}", right=False) for id in range(1, 3001)]
    lines = [tree_to_json(tree(f"dev/{number}", "music", "Who?", False)) for number in range(8000)]
    lines.append(tree_to_json(tree("deep", "music", "How deep?", False, chain)))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    browser.open(f"{address(file)}#deep")
    assert browser.evaluate("document.querySelectorAll('.row').length") < 60
    assert text(browser, ".row[aria-selected=true] .id") == "deep"
    assert len(texts(browser, ".card")) == 2, "what comes after a wrong step is closed in a large tree"
    assert text(browser, ".card.wrong .toggle") == "+2999"
    browser.evaluate("document.getElementById('open-all').click()")
    assert len(texts(browser, ".card")) == 3001
