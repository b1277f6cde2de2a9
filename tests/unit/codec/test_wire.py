"""What the reader tells the screen arrives as it was sent, and what it never sends is words."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.wire import Crashed, Progress, Words, error_line, message_line, parse_message, signal_of

_TEXT = st.text(st.characters(exclude_categories=(), codec=None), max_size=40)
_COUNT = st.integers(0, 10**18 - 1)


def _unbroken(text: str) -> str:
    """What is left of a text that has to stand in one field of one line."""
    return " ".join(text.replace("\t", " ").splitlines())


@given(_TEXT, _COUNT, st.none() | _COUNT)
def test_progress_arrives_as_it_was_sent_whatever_is_being_read(
    what: str, done: int, total: int | None
) -> None:
    line = message_line(Progress(what, done, total))
    assert line.endswith("\n") and len(line.splitlines()) == 1
    assert parse_message(line) == Progress(_unbroken(what), done, total)


@given(_TEXT)
def test_a_crash_arrives_with_its_signal_whatever_that_is_called(name: str) -> None:
    line = message_line(Crashed(name))
    assert len(line.splitlines()) == 1
    assert parse_message(line) == Crashed(_unbroken(name))


def test_what_the_command_says_of_itself_arrives_without_its_name() -> None:
    assert parse_message(error_line("cannot open it") + "\n") == Words("cannot open it")
    assert parse_message(" \n") is None


@pytest.mark.parametrize(
    "line",
    [
        "progress\tx\t1",
        "progress\tx\tmany\t2",
        "progress\tx\t-1\t2",
        "progress\tx\t1\tall",
        "progress\tx\t٣\t",
        pytest.param(f"progress\tx\t{'9' * 5000}\t", id="a number of 5000 digits"),
        "crashed",
        "crashed\tSIGSEGV\tand more",
        "Progress\tx\t1\t2",
    ],
)
def test_a_line_that_only_looks_like_a_message_is_words(line: str) -> None:
    assert parse_message(line) == Words(line.strip())


@given(_TEXT)
def test_no_line_breaks_the_parser(line: str) -> None:
    assert isinstance(parse_message(line), Progress | Crashed | Words | None)


def test_a_signal_is_known_by_pythons_code_and_by_the_shells() -> None:
    for number in (signal.SIGSEGV, signal.SIGKILL):
        assert signal_of(-number) == signal_of(128 + number) == number.name
    assert [signal_of(code) for code in (0, 1, 3, 4, 128)] == [None] * 5
    assert signal_of(128 + 100) == "100"
