"""Help, with the real app: its pages, and the queries that a key runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from explorer.analysis.query import FIELDS, TaskIndex, parse_query
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.help import HelpScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.views import QUERIES, WORDS, help_colours, help_queries, help_words
from tests.tui.conftest import Pilots, drive, screen_text, settle, type_ahead

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("screen", ["o", "t", "f", "m", "s", "n", "L"])
def test_help_has_four_pages_on_every_screen(saved: Snapshot, screen: str) -> None:
    async def scenario(pilot: Pilots) -> None:
        type_ahead(pilot, screen, "question_mark")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)
        for first in (
            "go to",
            "a key runs the query",
            "one name for each thing",
            "nothing is said by colour alone",
            "go to",
        ):
            assert isinstance(pilot.app, ExplorerApp)
            assert first in screen_text(pilot.app)
            type_ahead(pilot, "tab")
            await settle(pilot)

    drive(ExplorerApp(snapshot=saved), scenario)


def test_each_query_of_help_is_run_by_its_key(saved: Snapshot) -> None:
    index = TaskIndex(saved)

    async def scenario(pilot: Pilots) -> None:
        for key, (query, _) in QUERIES.items():
            type_ahead(pilot, "question_mark", "tab", key)
            await settle(pilot)
            screen = pilot.app.screen
            assert isinstance(screen, TasksScreen)
            assert screen.tasks is not None
            wanted = index.mask(parse_query(query).root).count(1)
            assert screen.tasks.counts().startswith(f"{wanted} of {len(saved.tasks)} tasks"), query

    drive(ExplorerApp(snapshot=saved), scenario)


def test_a_digit_on_another_page_runs_nothing(saved: Snapshot) -> None:
    async def scenario(pilot: Pilots) -> None:
        type_ahead(pilot, "question_mark", "1")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)

    drive(ExplorerApp(snapshot=saved), scenario)


def test_the_words_of_help_are_those_of_the_glossary() -> None:
    text = (DOCS / "glossary.md").read_text()
    documented = {
        re.sub(r"`| \(.*\)", "", found)
        for found in re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
        if found not in ("word", "---", "placement of a root", "generation")
    }
    generations = set(re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE))
    assert set(WORDS) == documented - generations | {"generation"}


@pytest.mark.parametrize("width", [40, 70, 96])
def test_every_field_is_explained_and_no_line_is_wider_than_the_page(width: int) -> None:
    queries = help_queries(width)
    for name, field in FIELDS.items():
        assert not field.help or any(re.match(rf" +{re.escape(name)}( |$)", line) for line in queries), name
    for lines in (help_words(width), help_colours(width)):
        assert max(map(len, lines)) <= max(width, 52)
