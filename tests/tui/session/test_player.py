"""A recording plays without a screen: which frames come, how long each is waited for, and who stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from explorer.analysis.timeline import Phase, build_timeline
from explorer.model import Snapshot
from explorer.plugin import PluginSet
from explorer.recording.format import RecordType
from explorer.recording.reader import Recording
from explorer.recording.writer import to_document
from explorer.tui.session.playback import Playback
from explorer.tui.session.player import Player
from explorer.tui.session.state import Session
from tests.unit.recording.test_format import HEADER
from tests.unit.recordings import copy_of, hand_made

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


def test_a_frame_is_shown_before_all_were_looked_at_and_what_happened_is_found_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("explorer.tui.session.playback._AT_FIRST_S", 0.0)
    monkeypatch.setattr("explorer.tui.session.player._AT_A_TIME_S", 0.0)
    with Recording.open(BOOT) as recording:
        assert recording.end is not None
        whole = build_timeline(recording.frames(), (recording.end.seconds, recording.end.reason))

    async def steps(player: Player, host: FakeHost, playback: Playback) -> None:
        total = len(playback.recording)
        assert player.view is not None and playback.looked_at < total
        assert len(playback.timeline.phases) == len(playback.timeline.tasks) == total
        assert playback.timeline.phases[-1] is Phase.UNSEEN
        await host.finish()
        assert playback.timeline == whole and playback.is_all_seen
        assert host.caught_up > 10 and not host.said

    play(steps, "#100")


def test_damage_that_is_found_after_a_frame_is_shown_is_said_and_what_was_found_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fixture_snapshots: dict[str, Snapshot]
) -> None:
    monkeypatch.setattr("explorer.tui.session.playback._AT_FIRST_S", 0.0)
    frames: list[tuple[RecordType, object]] = [
        (RecordType.HEADER, HEADER),
        (RecordType.KEY, to_document(copy_of(fixture_snapshots["isolated"]))),
        (RecordType.DELTA, {}),
        (RecordType.DELTA, {"values": {"plugins": [1]}}),
    ]
    path = hand_made(tmp_path / "r.nxrec", frames)

    async def run() -> None:
        host = FakeHost()
        player = Player(host)
        assert await player.open(Session(recording=path, moment="#1"), lambda done, total: None) is None
        await host.finish()
        assert player.playback is not None and player.playback.looked_at == 2
        assert [said for said in host.said if "frame #2" in said and said.isprintable()]
        assert player.view is not None and player.playback.timeline.phases[1] is not Phase.UNSEEN

    asyncio.run(run())


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
