"""What another process takes apart is the snapshot that this one reads; and it leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from explorer.codec import ReadAhead, ahead, load_snapshot, write_json
from explorer.codec.snapshots import load_quickly
from explorer.model import Snapshot, table_and_row

LIVELY = Path(__file__).parents[2] / "tui" / "data" / "lively.json.zst"


@pytest.fixture(autouse=True)
def _always_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_WORTH_WHILE", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """As this version writes it: the file is older than some fields."""
    found = tmp_path / "lively.json"
    found.write_bytes(_text(load_snapshot(LIVELY)))
    return found


def _text(snapshot: Snapshot) -> bytes:
    out = io.BytesIO()
    write_json(snapshot, out)
    return out.getvalue()


def _children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def _reread(path: Path) -> Snapshot:
    before = _children(), sorted(Path("/proc/self/fd").iterdir())
    read = ReadAhead(path)
    assert _children() != before[0], "another process reads it"
    snapshot = read.load()
    assert snapshot is not None
    assert (_children(), sorted(Path("/proc/self/fd").iterdir())) == before
    return snapshot


def test_a_snapshot_that_was_read_ahead_is_in_columns_and_is_written_as_it_was(path: Path) -> None:
    snapshot = _reread(path)
    assert _text(snapshot) == path.read_bytes()
    for array in (snapshot.tasks, snapshot.fs_structs, snapshot.mounts):
        assert all(table_and_row(record) is not None for record in array)
    assert snapshot == load_snapshot(path)


def test_lines_of_another_layout_keep_their_place(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"pid":3,' in line)
    lines[at] = lines[at].replace(b'{"address"', b'{ "address"')
    path.write_bytes(b"".join(lines))
    snapshot = _reread(path)
    assert [task.pid for task in snapshot.tasks if table_and_row(task) is None] == [3]
    assert snapshot == load_snapshot(path)


def test_it_is_read_again_by_whoever_asks_again(path: Path) -> None:
    read = ReadAhead(path)
    first = read.load()
    path.write_bytes(path.read_bytes().replace(b'"release":"7', b'"release":"9'))
    again = read.load()
    assert first is not None and again is not None
    assert (first.kernel.release[0], again.kernel.release[0]) == ("7", "9")


def test_what_is_no_snapshot_is_none_in_either_process(path: Path) -> None:
    text = path.read_bytes()
    for damaged in (
        text[:-100],
        text.replace(b"\n", b" "),
        text.replace(b'"pid":', b'"pid":x', 1),
        text.replace(b'"release":"', b'"release":7,"', 1),
        text.replace(b'"schema_version":1', b'"schema_version":99'),
        b"",
    ):
        path.write_bytes(damaged)
        assert load_quickly(path) is None
        assert ReadAhead(path).load() is None
    path.unlink()
    assert ReadAhead(path).load() is None


def test_a_process_that_was_killed_gives_nothing_and_the_file_can_be_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as slow:
        slow.setattr(ahead, "content_of", lambda _: signal.pause())
        read = ReadAhead(path)
    os.kill(read._pid, signal.SIGKILL)
    assert read.load() is None
    assert read.load() == load_snapshot(path)
