"""A recording plays without a screen: which frames come, how long each is waited for, and who stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from explorer.plugin import PluginSet
from explorer.tui.session.playback import Playback
from explorer.tui.session.player import Player
from explorer.tui.session.state import Session

from .host import FakeHost

BOOT = Path(__file__).parents[2] / "data" / "boot-7.3.nxrec"


def play(steps: Callable[[Player, FakeHost, Playback], Awaitable[None]], moment: str) -> None:
    async def run() -> None:
        host = FakeHost()
        player = Player(host)
        assert await player.open(Session(recording=BOOT, moment=moment), lambda done, total: None) is None
        assert player.playback is not None
        await steps(player, host, player.playback)

    asyncio.run(run())


def test_every_frame_to_the_end_is_shown_each_after_the_time_that_passed_between_them() -> None:
    async def steps(player: Player, host: FakeHost, playback: Playback) -> None:
        for _ in range(3):
            player.change_speed(1)
        assert playback.speed == 10
        begin, times = playback.readable.index(playback.index), playback.recording.times
        player.play()
        seen, waits = [playback.index], []
        while (waited := await host.pass_time()) is not None:
            waits.append(waited)
            seen.append(playback.index)
            assert player.view is not None and player.view.snapshot == playback.snapshot(playback.index)
        assert seen == playback.readable[begin:]
        gaps = [times[b] - times[a] for a, b in pairwise(seen)]
        assert waits == pytest.approx([max(0.05, gap / 10) for gap in gaps])
        assert not playback.playing

    play(steps, "#100")


def test_at_the_end_it_plays_from_the_beginning() -> None:
    async def steps(player: Player, host: FakeHost, playback: Playback) -> None:
        player.to_edge(1)
        await host.finish()
        player.play()
        await host.finish()
        assert playback.playing and playback.index == playback.readable[0]
        assert await host.pass_time() is not None and playback.index == playback.readable[1]

    play(steps, "#100")


def test_whoever_stops_and_plays_again_while_a_frame_is_read_has_one_playing_and_not_two() -> None:
    async def steps(player: Player, host: FakeHost, playback: Playback) -> None:
        player.play()
        alarm = host.alarms.pop()
        reading = asyncio.ensure_future(alarm.call())
        await asyncio.sleep(0)  # it waits for its frame now
        player.play()
        player.play()
        await reading
        assert [each.stopped for each in host.alarms] == [False]

    play(steps, "#100")


def test_a_step_stops_the_playing() -> None:
    async def steps(player: Player, host: FakeHost, playback: Playback) -> None:
        player.play()
        player.step(1)
        await host.finish()
        assert not playback.playing and await host.pass_time() is None

    play(steps, "#100")


def test_a_file_that_is_no_recording_is_a_line_and_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "\x1bx.nxrec").write_bytes(b"nothing of the kind")

    async def run() -> None:
        player = Player(FakeHost())
        session = Session(recording=tmp_path / "\x1bx.nxrec", plugins=PluginSet())
        said = await player.open(session, lambda done, total: None)
        assert said is not None and said.isprintable() and "x.nxrec" in said
        assert player.view is None and player.playback is None
        player.play()
        player.step(1)
        player.show_frame(3)

    asyncio.run(run())
