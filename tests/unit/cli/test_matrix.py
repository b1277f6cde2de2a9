"""Every command, with every signal, and with stdout and stderr open, closed and full: its exit code, one line at most
where it can be said, a file that is whole or not there; no temporary file, no process and no zombie is left.

``NULLFS_EXPLORER_MATRIX=full`` has every signal with every state of the streams; else each is met with some of them.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from explorer.cli.command import _COMMANDS
from tests.conftest import DATA, SAMPLE
from tests.tui.conftest import SAVED

ROOT = Path(__file__).parents[3]
_STATES = ("open", "closed", "full")
_SIGNALS = ("HUP", "INT", "QUIT", "TERM", "PIPE", "KILL")
_RECORDING = DATA / "boot-7.3.nxrec"
#: The words of each command that ends by itself; ``-`` is a snapshot that comes through a pipe.
_WORDS = {
    "audit": "audit -",
    "diff": f"diff - {SAVED}",
    "doctor": "doctor",
    "explain": "explain NX-PID1-ABANDONED",
    "frame": f"frame {_RECORDING}@1s -o out.json",
    "holders": "holders -",
    "keys": "keys",
    "ko": f"ko {SAMPLE}",
    "mounts": "mounts -",
    "namespaces": "namespaces -",
    "plugins": "plugins -",
    "schema": "schema",
    "slice": "slice - -o out.elf",
    "snapshot": "snapshot - -o out.json",
    "tasks": "tasks -",
    "timeline": f"timeline {_RECORDING}",
    "trace": f"trace {DATA / 'trace' / 'saved-7.3.jsonl'}",
}
#: Those that go on until they are told to end have tests of their own.
_ELSEWHERE = {
    "fleet": "tests/unit/fleet/test_run.py",
    "open": "tests/tui/test_terminal.py",
    "record": "tests/kernels/test_record.py",
    "serve": "tests/tui/web/test_serve.py",
}


def cases() -> Iterator[dict[str, Any]]:
    streams = list(itertools.product(_STATES, _STATES))
    whole = os.environ.get("NULLFS_EXPLORER_MATRIX") == "full"
    for turn, (command, words) in enumerate(sorted(_WORDS.items())):
        feed = str(SAVED) if " -" in f"{words} ".replace(" -o", "") else ""
        base = {"command": command, "words": words.split(), "feed": feed, "delay": 0.15 if feed else 0.02}
        for out, err in streams:
            yield base | {"signal": 0, "name": "-", "stdout": out, "stderr": err}
        for at, name in enumerate(_SIGNALS):
            open_ones = [("open", "open"), ("full", "open"), ("open", "full"), ("full", "full")]
            chosen = open_ones if whole else [open_ones[(turn + at) % 4]]
            for out, err in chosen:
                number = int(getattr(signal, f"SIG{name}"))
                yield base | {"signal": number, "name": name, "stdout": out, "stderr": err}


def wrong(case: dict[str, Any], came: dict[str, Any]) -> list[str]:
    """What must not be."""
    found = []
    said = came["err"].splitlines()
    number, status = case["signal"], came["status"]
    if "Traceback" in came["err"] or "fault of this program" in came["err"]:
        found.append("traceback")
    if came["others"]:
        found.append("processes left")
    if came["whole"] is False:
        found.append("output not whole")
    allowed = {"out.json", "out.elf"} if not number or status >= 0 else {"out.json"}
    if [path for path in came["left"] if path not in allowed and not path.startswith("home/")]:
        found.append("files left")
    if "closed" in (case["stdout"], case["stderr"]):
        if status != 2 or came["left"]:
            found.append("worked with a closed stream")
    elif not number:
        to_stdout = not any(word.startswith("-o") for word in case["words"])
        if case["stdout"] == "full" and to_stdout and status not in (2, 3, 4):
            found.append("did not say that its output is lost")
        if status not in (0, 1, 2, 3, 4):
            found.append("exit code")
        if status in (2, 3) and len(said) > 1:
            found.append("more than a line")
    elif status not in (-number, 130 if number == signal.SIGINT else -number, 0, 1, 2, 3, 4):
        found.append("ended otherwise")
    return found


@pytest.mark.timeout(900)
def test_no_signal_and_no_stream_leaves_anything_behind_whatever_the_command() -> None:
    assert set(_WORDS) | set(_ELSEWHERE) == set(_COMMANDS), "each command is here, or has tests of its own"
    assert [file for file in _ELSEWHERE.values() if not (ROOT / file).exists()] == []
    rows = list(cases())
    ran = subprocess.run(
        [sys.executable, "-m", "tests.unit.cli.matrix"],
        input="".join(json.dumps(case) + "\n" for case in rows),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=880,
    )  # fmt: skip
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(results) == len(rows), ran.stderr
    print(f"\n{'COMMAND':12}{'SIGNAL':8}{'STDOUT':8}{'STDERR':8}{'ENDED':>7}  WRONG")
    bad = []
    for case, came in zip(rows, results, strict=True):
        found = wrong(case, came)
        print(
            f"{case['command']:12}{case['name']:8}{case['stdout']:8}{case['stderr']:8}{came['status']:>7}  "
            f"{', '.join(found) or '-'}"
        )
        if found:
            bad.append((case["command"], case["name"], case["stdout"], case["stderr"], found, came))
    assert bad == []
    assert {case["name"] for case in rows} == {"-", *_SIGNALS}
