"""Whatever a target does to who reads it is an answer that says so, and the next one is read as if nothing was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.fleet import Outcome
from explorer.fleet.running.readers import Reader
from explorer.fleet.running.requests import Answer, ReadingOptions, Request
from tests.conftest import DATA, FIXTURES
from tests.crashing import crashing_plugin

DUMP = str(FIXTURES["rfc-v1"])


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


def ask(reader: Reader, name: str, plugin: Path | None = None, **options: float) -> Answer:
    plugins = () if plugin is None else (str(plugin),)
    memory = int(options.get("memory", 4 << 30))
    return reader.read(Request(name, ReadingOptions(options.get("timeout", 120.0), memory, plugins=plugins)))


def is_well(reader: Reader) -> bool:
    answer = ask(reader, DUMP)
    return answer.outcome is Outcome.OK and len(answer.tables["tasks"]["pid"]) > 10


def test_a_crash_before_the_tasks_are_read_is_an_answer_with_its_signal(
    reader: Reader, tmp_path: Path
) -> None:
    answer = ask(reader, DUMP, crashing_plugin(tmp_path, collect="pass", audit="ctypes.string_at(0)"))
    assert (answer.outcome, answer.signal, answer.kind) == (Outcome.CRASHED, "SIGSEGV", "vmcore")
    assert answer.why is not None and "SIGSEGV" in answer.why
    assert is_well(reader)


def test_a_crash_behind_the_tasks_keeps_them_as_the_single_command_does(
    reader: Reader, tmp_path: Path
) -> None:
    answer = ask(reader, DUMP, crashing_plugin(tmp_path))
    assert (answer.outcome, answer.signal) == (Outcome.PARTIAL, "SIGSEGV")
    assert len(answer.tables["tasks"]["pid"]) > 10


def test_a_target_that_hangs_is_ended_in_time_with_all_that_it_started(
    reader: Reader, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    hangs = f"open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    answer = ask(reader, DUMP, crashing_plugin(tmp_path, collect=hangs), timeout=20.0)
    assert answer.outcome is Outcome.TIMEOUT
    assert answer.why is not None and "longer than the 20 s" in answer.why
    pid = int(told.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert is_well(reader)


def test_a_target_that_takes_too_much_memory_takes_nobody_elses(reader: Reader, tmp_path: Path) -> None:
    hungry = crashing_plugin(tmp_path, collect="pass", audit="raise MemoryError")
    assert ask(reader, DUMP, hungry).outcome is Outcome.PARTIAL, "a plugin's exception is the plugin's own"
    for memory in (140 << 20, 200 << 20):  # too little to load what reads it, and to read it
        assert ask(reader, DUMP, memory=memory).outcome is Outcome.MEMORY
    assert is_well(reader)


def test_what_is_killed_from_outside_is_said_to_be(reader: Reader, tmp_path: Path) -> None:
    killed = crashing_plugin(tmp_path, collect="os.kill(os.getppid(), signal.SIGKILL)")
    answer = ask(reader, DUMP, killed)
    assert (answer.outcome, answer.signal) == (Outcome.CRASHED, "SIGKILL")
    assert answer.why is not None and "OOM" in answer.why


def test_when_the_process_that_starts_readers_is_killed_a_new_one_is_started(reader: Reader) -> None:
    assert is_well(reader)
    process = reader._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert is_well(reader)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/not/there", "no such file"),
        (str(DATA / "trace" / "saved-7.3.jsonl"), "a trace of lookups"),
        ("/", "no dump"),
    ],
)
def test_what_cannot_be_opened_says_why(reader: Reader, name: str, why: str) -> None:
    answer = ask(reader, name)
    assert answer.outcome is Outcome.CANNOT_OPEN
    assert answer.why is not None and why in answer.why


def test_a_recording_gives_the_frame_that_is_meant(reader: Reader) -> None:
    recording = str(DATA / "boot-7.3.nxrec")
    last, first = ask(reader, recording), ask(reader, f"{recording}@#53")
    assert (last.kind, first.kind) == ("recording", "recording")
    assert last.tables["targets"]["taken_at"] > first.tables["targets"]["taken_at"]
