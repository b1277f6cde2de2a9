"""Where pasted text lands in the app; ctrl+c; and the mouse, which can be left to the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from textual.events import Paste
from textual.widgets import Input

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.pasting import MOST_PASTED, one_line
from explorer.tui.screens.dialogs import LeaveScreen, TextScreen
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.screens.tasks import TasksScreen
from tests.tui.conftest import SAVED, Pilots, drive, press, screen_text, settle, type_ahead
from tests.tui.pseudo_terminal import PseudoTerminal

HOSTILE = "kind:kthread\x1b[A\x1b[1;5Q\x9b31m \u202epid>7\r\nnext\x00\tone"


async def paste(pilot: Pilots, text: str) -> None:
    driver = pilot.app._driver
    assert driver is not None
    driver.send_message(Paste(text))
    await settle(pilot)
    await pilot.pause()


def test_pasted_text_is_one_line_without_control_characters() -> None:
    shown = one_line(HOSTILE)
    assert shown == "kind:kthread\\e[A\\e[1;5Q\\x9b31m \\u202epid>7 next\\x00 one"
    assert one_line("a\\e[1m\n") == "a\\e[1m"  # as copied from the screen
    assert one_line("\n\r\n") == ""
    assert len(one_line("\x1b" * (10 << 20))) == MOST_PASTED


def test_where_no_text_is_wanted_a_paste_is_nothing_and_says_so(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        for _ in range(3):
            await paste(pilot, "tx\rq" + HOSTILE)
        assert isinstance(app.screen, OverviewScreen)
        assert [note.message for note in app._notifications] == [
            "Nothing here takes text: what was pasted is left out."
        ]

    drive(app, steps)


def test_into_the_filter_it_is_visible_text_also_right_after_the_key_that_opens_it(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        type_ahead(pilot, "/")
        await paste(pilot, HOSTILE)
        field = app.screen.query_one("#filter", Input)
        assert field.value == one_line(HOSTILE)
        await press(pilot, "ctrl+u")
        await paste(pilot, "x" * (MOST_PASTED + 5))
        assert field.value == "x" * MOST_PASTED
        assert any("cut off" in note.message for note in app._notifications)

    drive(app, steps)


def test_a_paste_with_sequences_in_it_runs_no_key_of_the_real_app(tmp_path: Path) -> None:
    terminal = PseudoTerminal(tmp_path, str(SAVED))
    try:
        terminal.until(b"ISOLATED", 0)
        terminal.send(b"t")
        terminal.until(b"FS_STRUCT")
        # As it was found: an escape, then export, as CSV, and reading again.
        terminal.send(b"\x1b[200~\x1b\x1b[Ax2\rr\x1b[201~q\x1b[201~")
        terminal.until(b"left out")
        terminal.read(0.3)
        assert list(tmp_path.glob("*.csv")) == [] and terminal.process.poll() is None
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert terminal.differences() == []
    finally:
        terminal.close()


def test_ctrl_c_copies_what_is_under_the_cursor_and_again_it_asks(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "c")
        by_c = app.clipboard
        app._clipboard = ""
        await press(pilot, "ctrl+c")
        assert by_c and app.clipboard == by_c and isinstance(app.screen, TasksScreen)
        await press(pilot, "ctrl+c")
        assert isinstance(app.screen, LeaveScreen) and "quit?" in screen_text(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, TasksScreen)

    drive(app, steps)


def test_ctrl_c_copies_what_is_selected_in_a_field_and_where_nothing_is_it_asks(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"init", "shift+left", "shift+left", "ctrl+c")
        assert app.clipboard == "it"
        app._copier._copied = None  # as if some seconds had passed
        await press(pilot, "end", "ctrl+c")
        assert isinstance(app.screen, LeaveScreen)

    drive(app, steps)


@pytest.mark.parametrize("answer", ["enter", "ctrl+c", "q"])
def test_on_the_overview_ctrl_c_asks_and_a_second_one_is_yes(app: ExplorerApp, answer: str) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "ctrl+c")
        assert isinstance(app.screen, LeaveScreen)
        await pilot.press(answer)
        while not app._exit:
            await pilot.pause(0.02)

    drive(app, steps)


def test_help_lists_ctrl_c_and_the_mouse_and_ctrl_c_copies_it(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "question_mark")
        assert isinstance(app.screen, TextScreen)
        assert "^c " in app.screen._text or "ctrl+c " in app.screen._text
        assert "ask whether to quit" in " ".join(app.screen._text.split())
        assert "terminal's own selection" in " ".join(app.screen._text.split())
        await press(pilot, "ctrl+c")
        assert app.clipboard == app.screen._text

    drive(app, steps)


def test_the_mouse_goes_and_comes_is_remembered_and_the_screen_says_so(tmp_path: Path) -> None:
    on, off = b"\x1b[?1003h", b"\x1b[?1003l"
    settings = tmp_path / "nullfs-explorer" / "settings.json"
    first = PseudoTerminal(tmp_path, str(SAVED))
    try:
        first.until(b"ISOLATED", 0)
        assert on in first.received and b"mouse off" not in first.received
        first.send(b"S")
        first.until(b"mouse off")
        assert first.received.rindex(off) > first.received.rindex(on)
        first.send(b"q")
        assert first.ended() == 0
    finally:
        first.close()
    assert json.loads(settings.read_text())["mouse"] is False
    second = PseudoTerminal(tmp_path, str(SAVED))
    try:
        second.until(b"mouse off", 0)
        second.until(b"ISOLATED", 0)
        assert on not in second.received
        second.send(b"S")
        second.until(on)
        second.send(b"q")
        assert second.ended() == 0
        assert second.differences() == []
    finally:
        second.close()
    assert json.loads(settings.read_text())["mouse"] is True


def test_what_is_no_answer_to_whether_there_is_a_mouse_is_said(saved: Snapshot, own_settings: Path) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text('{"mouse": "off"}')
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        assert any("mouse is true or false" in note.message for note in app._notifications)
        assert app.mouse

    drive(app, steps)


def test_ten_megabytes_of_paste_are_nothing_to_wait_for(tmp_path: Path) -> None:
    terminal = PseudoTerminal(tmp_path, str(SAVED))
    try:
        terminal.until(b"ISOLATED", 0)
        terminal.send(b"t/")
        terminal.until(b"FS_STRUCT")
        began = time.monotonic()
        terminal.send(b"\x1b[200~" + b"x" * (10 << 20) + b"\x1b[201~")
        terminal.until(b"cut off")
        assert time.monotonic() - began < 20
        terminal.send(b"\r")
        terminal.read(0.2)
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert terminal.differences() == []
    finally:
        terminal.close()
