"""What the app remembers: themes and keys, in files of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.settings import config_directory
from explorer.tui.themes import THEME_CYCLE

from .conftest import Pilots, drive, press, screen_text


def test_the_theme_is_remembered_for_the_next_run(saved: Snapshot, own_settings: Path) -> None:
    first, second = ExplorerApp(snapshot=saved), None

    async def change(pilot: Pilots) -> None:
        await press(pilot, "T")
        assert first.theme == "nullfs-light"

    drive(first, change)
    assert json.loads((own_settings / "settings.json").read_text())["theme"] == "nullfs-light"
    second = ExplorerApp(snapshot=saved)
    assert second.theme == "nullfs-light"


def test_damaged_settings_cost_the_settings_and_not_the_app(saved: Snapshot, own_settings: Path) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text('{"theme": 7')
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        assert isinstance(app.screen, OverviewScreen)
        assert app.theme == "nullfs-dark"

    drive(app, steps)


def test_a_keymap_in_the_settings_moves_a_key(saved: Snapshot, own_settings: Path) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text(json.dumps({"keymap": {"go.tasks": "f5"}}))
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f5")
        assert isinstance(app.screen, TasksScreen)

    drive(app, steps)


def test_every_theme_shows_the_same_words(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)
    assert set(THEME_CYCLE) <= set(app.available_themes)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"kind:kworker", "enter", "j")
        app.clear_notifications()
        words = screen_text(app)
        for name in THEME_CYCLE:
            app.theme = name
            await press(pilot)
            assert screen_text(app) == words, name

    drive(app, steps)


def test_a_relative_config_home_is_ignored_as_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_directory() == Path.home() / ".config" / "nullfs-explorer"
