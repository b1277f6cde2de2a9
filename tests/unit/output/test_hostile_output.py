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

import pytest

from explorer.analysis.audit import run_audit
from explorer.codec.snapshots import load_snapshot, write_json
from explorer.model import Snapshot
from explorer.output.csvfile import write_csv
from explorer.plugin import load_plugins
from tests.conftest import DATA
from tests.hostile import WEAPONS, arm

COMMANDS = (
    ("tasks", "h.json"),
    ("tasks", "--all", "h.json"),
    ("tasks", "--width", "60", "h.json"),
    ("audit", "h.json"),
    ("audit", "--format", "json", "h.json"),
    ("audit", "--format", "sarif", "h.json"),
    ("audit", "--format", "markdown", "h.json"),
    ("tasks", "--format", "markdown", "h.json"),
    ("tasks", "--all", "--format", "markdown", "h.json"),
    ("plugins", "--format", "markdown", "h.json"),
    ("audit", "--debug", "h.json"),
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


@pytest.fixture
def hostile(tmp_path: Path, fresh: Callable[[str], Snapshot]) -> Path:
    """Two snapshots with other weapons in them: ``h.json`` and ``g.json``."""
    plugins = load_plugins().plugins
    for first, name in enumerate(("h.json", "g.json")):
        with (tmp_path / name).open("wb") as out:
            write_json(arm(fresh("isolated"), plugins, first), out)
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
    assert b"a fault of this program" not in sent
    assert b"Traceback" not in sent or "--debug" in arguments
    for own in OWN:
        sent = sent.replace(own, b" ")
    text = sent.decode("utf-8")  # and no byte that is not UTF-8
    assert [char for char in text if not char.isprintable()] == []


def test_the_weapons_are_in_the_facts_of_every_plugin_and_their_findings(hostile: Path) -> None:
    """Else the tests above say nothing about them."""
    snapshot, plugins = load_snapshot(hostile / "h.json"), load_plugins().plugins
    for plugin in plugins:
        facts = json.dumps(snapshot.plugins[plugin.name])
        texts = any("str" in str(field.annotation) for field in plugin.facts.model_fields.values())
        assert not texts or any(json.dumps(weapon)[1:-1] in facts for weapon in WEAPONS), plugin.name
    report = run_audit(snapshot, plugins)
    speaking = {found.rule for found in report.findings if any(weapon in found.title for weapon in WEAPONS)}
    assert len(speaking) > 15, speaking
    assert snapshot.settings and snapshot.usermodehelpers and snapshot.modules and snapshot.mounts
    for text in (
        snapshot.settings[0].value,
        snapshot.usermodehelpers[0].argv[0],
        snapshot.modules[0].name,
        snapshot.mounts[0].source,
        snapshot.log[0],
    ):
        assert text is not None and text.startswith(WEAPONS)


def test_no_cell_of_a_csv_is_run_as_a_formula(hostile: Path) -> None:
    out = io.BytesIO()
    write_csv(Snapshot.model_validate_json((hostile / "h.json").read_text().replace("\\udc", "x")), out)
    rows = list(csv.reader(io.StringIO(out.getvalue().decode())))
    assert any(cell.startswith("'=") for row in rows for cell in row)
    assert [cell for row in rows[1:] for cell in row if cell[:1] in "=+-@\t\r\uff1d" and cell] == []


def test_no_file_is_written_where_a_kernels_name_points(hostile: Path) -> None:
    before = sorted(hostile.iterdir())
    for arguments in COMMANDS[:9]:
        on_a_terminal(hostile, arguments)
    assert sorted(hostile.iterdir()) == before
