"""A recording on the screen: every view follows the moment, and nothing of it is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from explorer.analysis.timeline.events import EventKind
from explorer.model import Snapshot, escape_text
from explorer.recording.reader import Recording
from explorer.recording.writer import RecordingWriter
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import FindingsScreen
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.screens.tables import TableScreen
from explorer.tui.screens.timeline import TimelineScreen
from explorer.tui.session.state import Session, View
from explorer.tui.views.timeline import TimelineText, spark
from tests.tui.conftest import Golden, Pilots, press, screen_text

BOOT = Path(__file__).parents[2] / "data" / "boot-7.3.nxrec"
HOSTILE = "\x1b[31m[bold]evil\u202e[/red]"


@pytest.fixture(scope="module")
def boot() -> Iterator[Recording]:
    with Recording.open(BOOT) as recording:
        yield recording


def play(
    steps: Callable[[ExplorerApp, Pilots], Awaitable[None]],
    path: Path = BOOT,
    moment: str | None = None,
    size: tuple[int, int] = (120, 36),
) -> ExplorerApp:
    """Open a recording in the app, and do with it what ``steps`` says."""
    app = ExplorerApp(Session((str(path),), recording=path, moment=moment))

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            while app.view is None and not app.source.failure:
                await pilot.pause(0.02)
            await app.workers.wait_for_complete()
            await pilot.pause()
            await steps(app, pilot)
            assert not app.faults, app.faults[0].trace

    asyncio.run(run())
    return app


def index_of(app: ExplorerApp) -> int:
    assert app.player.playback is not None
    return app.player.playback.index


def shown_tasks(app: ExplorerApp) -> int:
    assert app.view is not None
    return len(app.view.snapshot.tasks)


def test_a_recording_that_is_cut_off_says_so_on_every_screen(tmp_path: Path) -> None:
    cut = tmp_path / "cut.nxrec"
    cut.write_bytes(BOOT.read_bytes()[:-5000])

    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert any("ends within a record" in notice.message for notice in app._notifications)
        for key in ("o", "t", "l", "n"):
            await press(pilot, key)
            assert "FILE CUT OFF" in screen_text(app), key

    play(steps, cut)

    async def whole(app: ExplorerApp, pilot: Pilots) -> None:
        assert "CUT OFF" not in screen_text(app)

    play(whole)


def write_recording(path: Path, snapshots: list[Snapshot]) -> Path:
    with RecordingWriter(
        path, mode="live", target="live", step_s=1.0, started_at="2026-01-01T00:00:00Z"
    ) as out:
        out.begin_segment(0.0, "start")
        for number, snapshot in enumerate(snapshots):
            out.add_snapshot(float(number), snapshot)
        out.end(float(len(snapshots)), "done", "enough")
    return path


def test_a_recording_opens_at_its_end_or_at_the_moment_asked_for(boot: Recording) -> None:
    async def at_end(app: ExplorerApp, pilot: Pilots) -> None:
        assert index_of(app) == max(number for number, bad in enumerate(boot.unreadable) if not bad)
        assert BOOT.name in screen_text(app).splitlines()[0]

    async def at_moment(app: ExplorerApp, pilot: Pilots) -> None:
        assert index_of(app) == 60
        assert f"frame 61 of {len(boot)} (#60)" in screen_text(app)

    play(at_end)
    play(at_moment, moment="#60")


def test_stepping_shows_each_frame_on_every_screen(boot: Recording) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        await press(pilot, "left_curly_bracket")
        first = index_of(app)
        for mode in ("t", "f", "m", "s", "n", "L", "o"):
            await press(pilot, mode, "full_stop")
            expected = boot.frame(index_of(app)).snapshot
            assert expected is not None
            assert shown_tasks(app) == len(expected.tasks)
            assert f"(#{index_of(app)})" in screen_text(app), mode
            if mode == "t":
                assert f"{len(expected.tasks)} tasks" in screen_text(app)
        assert index_of(app) == first + 7
        await press(pilot, "comma", "comma")
        assert index_of(app) == first + 5

    play(steps)


def test_frames_that_could_not_be_read_are_never_on_the_screen(boot: Recording) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        await press(pilot, "left_curly_bracket", "comma", "comma")
        assert index_of(app) == boot.unreadable.index(False)
        assert app.view is not None and app.view.snapshot == boot.frame(index_of(app)).snapshot

    assert boot.unreadable[0], "the fixture begins before the kernel could be read"
    play(steps, moment="#0")


def test_brackets_stop_at_every_event_and_at_nothing_else() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        playback = app.player.playback
        frames = sorted({event.frame for event in playback.timeline.events})
        await press(pilot, "left_curly_bracket")
        seen = [index_of(app)]
        while index_of(app) != frames[-1]:
            await press(pilot, "right_square_bracket")
            seen.append(index_of(app))
        assert seen == [frame for frame in frames if frame >= seen[0]]
        await press(pilot, "left_square_bracket")
        assert index_of(app) == frames[-2]

    play(steps)


def test_playing_goes_on_to_the_end_and_stops_there(boot: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        playback = app.player.playback
        await press(pilot, "plus", "plus", "plus")
        assert playback.speed == 10
        begin, seen = playback.readable.index(playback.index), [playback.index]
        screen, show = app.screen, OverviewScreen.show_view

        def show_view(overview: OverviewScreen, view: View) -> None:
            seen.append(playback.index)
            show(overview, view)

        monkeypatch.setattr(OverviewScreen, "show_view", show_view)
        await pilot.press("p")
        while playback.playing:
            await pilot.pause(0.01)
        await pilot.pause()
        assert app.screen is screen and seen == playback.readable[begin:], "every frame is shown, to the end"
        assert "paused" in screen_text(app)
        await press(pilot, "minus")
        assert playback.speed == 5

    play(steps, moment=f"#{len(boot) - 20}")


def test_a_cursor_that_was_moved_while_it_plays_is_not_taken_away() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        await press(pilot, "L", "left_curly_bracket")
        assert isinstance(app.screen, TimelineScreen)
        table = app.screen.table
        await press(pilot, "g")
        app.player.playback.playing = True
        app.player.show_frame(app.player.playback.readable[-1])
        await press(pilot)
        assert (index_of(app), table.row) == (app.player.playback.readable[-1], 0)
        app.player.playback.playing = False
        await press(pilot, "comma")
        assert table.row > 0, "a step leads the cursor along again"

    play(steps)


def test_a_key_stops_playing_where_it_is() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        await press(pilot, "left_curly_bracket", "p", "p")
        assert not app.player.playback.playing
        stopped = index_of(app)
        await pilot.pause(0.3)
        assert index_of(app) == stopped

    play(steps)


def test_a_click_on_the_bar_goes_to_that_moment() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        text = TimelineText(app.player.playback, 120)
        expected = text.frame_at(60)
        await pilot.click("#timeline", offset=(60, 1))
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert expected is not None
        assert index_of(app) == app.player.playback.nearest(expected)

    play(steps)


def test_enter_on_an_event_goes_to_the_frame_that_shows_it_first() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        events = app.player.playback.timeline.events
        number = next(n for n, event in enumerate(events) if event.kind is EventKind.SWITCH_ROOT)
        await press(pilot, "L")
        assert isinstance(app.screen, TimelineScreen), app.faults
        app.screen.table.changed(number)
        await press(pilot, "enter")
        assert index_of(app) == events[number].frame
        assert "switch_root" in screen_text(app)
        # what was below the new root before, and what is now, is on the overview
        await press(pilot, "o")
        assert "squashfs#" in screen_text(app)
        await press(pilot, "comma")
        assert "(visible)" in screen_text(app)

    play(steps)


def test_a_finding_leads_to_the_frame_in_which_it_begins() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        span = app.player.playback.timeline.borrows[0]
        app.player.show_frame(span.last)
        await press(pilot, "n")
        assert isinstance(app.screen, FindingsScreen)
        rules = [row.first.rule for row in app.screen.source().records]
        app.screen.table.changed(rules.index("NX-INITRAMFS-BORROWER"))
        await press(pilot, "J")
        assert index_of(app) == span.first

    play(steps)


def test_tasks_that_changed_since_the_frame_before_are_marked() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None and app.view is not None
        span = app.player.playback.timeline.borrows[0]
        app.player.show_frame(span.first)
        await press(pilot, "o")
        assert app.view.changes.marks["task", span.address] == "~"

    play(steps)


def test_hostile_names_in_a_recording_reach_no_bar_and_no_event_unescaped(
    saved: Snapshot, tmp_path: Path
) -> None:
    evil = saved.model_copy(deep=True)
    for task in evil.tasks:
        task.comm = HOSTILE
    path = write_recording(tmp_path / "evil.nxrec", [saved, evil, saved])

    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        for keys in (("L",), ("comma",), ("comma",), ("t",), ("o",)):
            await press(pilot, *keys)
            text = screen_text(app)
            assert "\x1b" not in text and "\u202e" not in text
        await press(pilot, "L", "comma", "full_stop")
        assert escape_text(HOSTILE) in screen_text(app)

    play(steps, path)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
def test_the_timeline_reads_as_before(size: tuple[int, int], golden: Golden) -> None:
    name = f"{size[0]}x{size[1]}"

    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is not None
        app.player.show_frame(app.player.playback.timeline.borrows[0].first + 1)
        await press(pilot, "o")
        golden(f"playback-overview-{name}", screen_text(app))
        await press(pilot, "L")
        golden(f"timeline-{name}", screen_text(app))

    play(steps, size=size)


def test_a_damaged_recording_is_a_message_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "cut.nxrec"
    path.write_bytes(BOOT.read_bytes()[:40])

    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.player.playback is None
        assert "it was cut off at once" in app.source.failure
        assert "".join(app.source.failure.split()) in "".join(screen_text(app).split())

    play(steps, path)


def test_a_recording_that_was_cut_off_shows_the_frames_it_has(tmp_path: Path, boot: Recording) -> None:
    path = tmp_path / "cut.nxrec"
    data = BOOT.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])

    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.view is not None
        assert 0 < len(app.player.playback.recording if app.player.playback else ()) < len(boot)
        assert app.view.snapshot == boot.frame(index_of(app)).snapshot

    play(steps, path)


def test_keys_for_recordings_are_not_offered_without_one(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def run() -> None:
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            actions = {active.binding.action for active in app.screen.active_bindings.values()}
            assert not any(action.startswith(("step", "frame_edge", "play", "speed")) for action in actions)
            await press(pilot, "n")
            assert isinstance(app.screen, TableScreen)

    asyncio.run(run())


def test_the_most_is_a_full_block_and_none_is_a_dot() -> None:
    assert [spark(value, 8) for value in (0, 1, 4, 8)] == ["·", "▁", "▄", "█"]
    assert spark(1, 1) == "█"
