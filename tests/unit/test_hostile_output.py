"""Every command on a kernel whose names are weapons: on a terminal, not one byte of theirs arrives as it is."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.model import Snapshot
from explorer.output.csvfile import write_csv
from explorer.output.snapshots import write_json
from tests.conftest import DATA

WEAPONS = (
    "\x1b]0;owned\x07",
    "\x1b[31m\x1b[2J",
    "\x9b31m",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "a\rb\nc\td\x08\x7f",
    "\udcff\udc1b",
    "=1+1",
    "@SUM(A1)",
    "[/red][bold]x",
    "{0}%s%n",
    "../../../tmp/x",
    "\u200b\ufeff",
)
COMMANDS = (
    ("tasks", "h.json"),
    ("tasks", "--all", "h.json"),
    ("tasks", "--width", "60", "h.json"),
    ("audit", "h.json"),
    ("audit", "--format", "json", "h.json"),
    ("audit", "--format", "sarif", "h.json"),
    ("snapshot", "h.json"),
    ("snapshot", "--format", "jsonl", "h.json"),
    ("snapshot", "--format", "csv", "h.json"),
    ("snapshot", "--redact", "h.json"),
    ("plugins", "h.json"),
    ("diff", "h.json", "g.json"),
    ("diff", "--format", "json", "h.json", "g.json"),
    ("tasks", "no\x1b[31m such \u202e file"),
    ("tasks", "h.json", "--where", "name:\x1b[31m"),
    ("explain", "NX-\x1b[31m"),
    ("frame", "no\x1b[31m such"),
    ("timeline", "no\x1b[31m such"),
    ("ko", "no\x1b[31m such"),
)
#: What the tool itself sends: lines (those of CSV end in CR LF, to which a terminal adds a CR), and progress.
OWN = (b"\r\r\n", b"\r\n", b"\n", b"\r\x1b[K")


def _armed(value: Any, number: list[int]) -> Any:
    """Every text of a kernel's in a document, replaced by one of the weapons or led by it."""
    fields = {
        "comm",
        "path",
        "source",
        "mountpoint",
        "fstype",
        "name",
        "cmdline",
        "value",
        "full_name",
        "desc",
    }
    fields |= {
        "threadfn",
        "current_func",
        "last_func",
        "workqueue",
        "where",
        "what",
        "why",
        "release",
        "module",
        "label",
    }
    if isinstance(value, list):
        return [_armed(item, number) if not isinstance(item, str) else _next(item, number) for item in value]
    if isinstance(value, dict):
        return {
            key: _next(item, number) if key in fields and isinstance(item, str) else _armed(item, number)
            for key, item in value.items()
        }
    return value


def _next(text: str, number: list[int]) -> str:
    if text.startswith("0x"):
        return text
    number[0] += 1
    return WEAPONS[number[0] % len(WEAPONS)] + text[:20]


@pytest.fixture
def hostile(tmp_path: Path, fresh: Callable[[str], Snapshot]) -> Path:
    """Two snapshots with other weapons in them: ``h.json`` and ``g.json``."""
    for start, name in enumerate(("h.json", "g.json")):
        out = io.BytesIO()
        write_json(fresh("isolated"), out)
        document = json.loads(out.getvalue())
        plugins = document.pop("plugins")
        document = _armed(document, [start]) | {"plugins": plugins}
        document["capture"]["source"]["target"] = WEAPONS[0]
        document["capture"]["notes"] = list(WEAPONS)
        document["log"] = list(WEAPONS)
        (tmp_path / name).write_text(json.dumps(document))
    return tmp_path


def on_a_terminal(directory: Path, arguments: tuple[str, ...]) -> bytes:
    """What a command sends to a terminal of 100 columns, stdout and stderr."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(DATA.parent.parent), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "explorer", *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    sent = b""
    while True:
        ready, _, _ = select.select([master], [], [], 120.0)
        assert ready, "the command hangs"
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO: the last writer has closed its end
            break
        if not data:
            break
        sent += data
    os.close(master)
    assert process.wait() in (0, 1, 2, 3, 4)
    return sent


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_sends_a_control_byte_that_it_was_given(hostile: Path, arguments: tuple[str, ...]) -> None:
    sent = on_a_terminal(hostile, arguments)
    assert sent
    assert b"Traceback" not in sent and b"a fault of this program" not in sent
    for own in OWN:
        sent = sent.replace(own, b" ")
    text = sent.decode("utf-8")  # and no byte that is not UTF-8
    assert [char for char in text if not char.isprintable()] == []


def test_no_cell_of_a_csv_is_run_as_a_formula(hostile: Path) -> None:
    out = io.BytesIO()
    write_csv(Snapshot.model_validate_json((hostile / "h.json").read_text().replace("\\udc", "x")), out)
    rows = list(csv.reader(io.StringIO(out.getvalue().decode())))
    assert any(cell.startswith("'=") for row in rows for cell in row)
    assert [cell for row in rows[1:] for cell in row if cell[:1] in "=+-@\t\r" and cell] == []


def test_no_file_is_written_where_a_kernels_name_points(hostile: Path) -> None:
    before = sorted(hostile.iterdir())
    for arguments in COMMANDS[:8]:
        on_a_terminal(hostile, arguments)
    assert sorted(hostile.iterdir()) == before
