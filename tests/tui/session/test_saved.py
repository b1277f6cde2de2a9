"""A saved snapshot that the app reads itself, and those that it leaves to a child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.codec import ReadAhead, ahead, load_snapshot, write_json
from explorer.model import CaptureError, Snapshot
from explorer.tui.session import source
from explorer.tui.session.children.child import Reading
from explorer.tui.session.state import Session
from explorer.tui.session.target import Target
from explorer.tui.session.viewing import Viewing

from .host import FakeHost


@pytest.fixture
def from_child(monkeypatch: pytest.MonkeyPatch, saved: Snapshot) -> list[str]:
    """The targets that a child was asked for."""
    asked: list[str] = []

    async def read(target: Target) -> Reading:
        asked.append(target.name)
        return Reading(saved)

    monkeypatch.setattr(Target, "read", read)
    return asked


@pytest.fixture(autouse=True, params=["here", "ahead"])
def _where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read in this process, or ahead, in another one."""
    if request.param == "ahead":
        monkeypatch.setattr(ahead, "_WORTH_WHILE", 0)


def _save(snapshot: Snapshot, path: Path) -> Path:
    with path.open("wb") as file:
        write_json(snapshot, file)
    return path


def _look(path: Path) -> Viewing:
    async def run() -> Viewing:
        host = FakeHost()
        viewing = Viewing(Session((str(path),), saved=ReadAhead(path)), host, None)
        viewing.begin()
        await host.finish()
        assert host.modes == ["reading", "overview"]
        assert host.ready == ["overview"]
        return viewing

    return asyncio.run(run())


def test_a_whole_snapshot_is_read_without_a_child(
    tmp_path: Path, saved: Snapshot, from_child: list[str]
) -> None:
    path = _save(saved, tmp_path / "whole.json")
    viewing = _look(path)
    assert viewing.view is not None and from_child == []
    assert viewing.view.snapshot == load_snapshot(path)


def _damaged(content: bytes) -> bytes:
    return content.replace(b'"pid":', b'"pid":x', 1)


def _other_layout(content: bytes) -> bytes:
    return content.replace(b"\n", b" ")


@pytest.mark.parametrize("change", [_damaged, _other_layout, lambda content: content[:-100]])
def test_what_is_damaged_or_laid_out_otherwise_is_for_a_child(
    tmp_path: Path, saved: Snapshot, from_child: list[str], change: Callable[[bytes], bytes]
) -> None:
    path = _save(saved, tmp_path / "other.json")
    path.write_bytes(change(path.read_bytes()))
    _look(path)
    assert from_child == [str(path)]


def test_what_lacks_values_is_for_a_child_which_says_so(
    tmp_path: Path, saved: Snapshot, from_child: list[str]
) -> None:
    lacking = saved.model_copy(update={"errors": [CaptureError(where="task", what="comm", why="a hole")]})
    path = _save(lacking, tmp_path / "lacking.json")
    _look(path)
    assert from_child == [str(path)]


def test_under_sudo_a_child_reads_which_gives_up_its_rights(
    tmp_path: Path, saved: Snapshot, from_child: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "runs_for_another_user", lambda: True)
    path = _save(saved, tmp_path / "whole.json")
    _look(path)
    assert from_child == [str(path)]
