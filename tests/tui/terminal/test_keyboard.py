"""What terminals send, and what becomes of it: keys, and text that is only text."""

from __future__ import annotations

import random
import time

import pytest
from textual import events
from textual.message import Message

from explorer.tui.terminal.keyboard import Keyboard
from explorer.tui.terminal.pastes import BEGIN, END, MOST

#: Longer than the keyboard waits: for the rest of a sequence, for another end of a paste, for any end of it.
_REST_S, _QUIET_S, _STALL_S = 0.15, 0.1, 5.1
BEGIN_B, END_B = BEGIN.encode(), END.encode()


class Typist:
    """A terminal that sends, and time that passes when it is told to."""

    def __init__(self) -> None:
        self._keyboard = Keyboard()
        self._now = 0.0
        self.said: list[str] = []

    def send(self, *reads: bytes) -> Typist:
        for data in reads:
            self._take(self._keyboard.feed(data, self._now))
            self._now += 0.001
        return self

    def wait(self, seconds: float) -> Typist:
        self._now += seconds
        self._take(self._keyboard.tick(self._now))
        return self

    def finish(self) -> list[str]:
        """All keys and pastes, the latter in guillemets, after a long silence."""
        self.wait(_STALL_S)
        time.sleep(_REST_S)  # the parser's own clock
        return self.wait(0).said

    def _take(self, messages: object) -> None:
        for message in list(messages):  # type: ignore[call-overload]
            assert isinstance(message, Message)
            if isinstance(message, events.Paste):
                self.said.append(f"«{message.text}»")
            else:
                self.said.append(message.key if isinstance(message, events.Key) else type(message).__name__)


def typed(*reads: bytes) -> list[str]:
    return Typist().send(*reads).finish()


def test_bytes_that_are_no_utf8_are_keys_that_mean_nothing_and_the_next_key_is_itself() -> None:
    unknown = "replacement_character"
    assert typed(b"a\xffb") == ["a", unknown, "b"]
    assert typed("é".encode("latin-1") + b"q") == [unknown, "q"]
    assert typed(b"\xc3", b"\xa9") == ["é"]
    assert typed(b"\xf0\x9f", b"q") == [unknown, "q"]


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_mouse_report_of_the_oldest_kind_is_no_key_wherever_it_is_cut_and_eats_none(cut: int) -> None:
    for coordinates in (b"\xff\xff", b"\xc3\xa9", b"\xf0\x9f", b"  "):
        report = b"\x1b[M " + coordinates
        assert typed(report[:cut], report[cut:] + b"q") == ["q"], coordinates


def test_sequences_that_no_parser_can_make_sense_of_are_nothing_and_the_next_key_is_itself() -> None:
    for sequence in (
        b"\x1b[1114112u",  # a code point beyond the last
        b"\x1b[99999999999999999999u",
        b"\x1b[1:2u",
        b"\x1b[97;5;99999999999u",
    ):
        assert typed(sequence, b"q") == ["q"], sequence
    # A window that has a size, but no pixels, and a mouse in it.
    assert typed(b"\x1b[48;0;0;0;0t", b"\x1b[<0;5;5M", b"q")[-1] == "q"


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_is_pasted_is_text_whatever_is_in_it_and_wherever_it_is_cut(cut: int) -> None:
    inside = b"a\x1b[Ab\x1b[1;5Qc\x9b31m\x1bOPd\rx\ty\x03\x1a"
    whole = BEGIN_B + inside + END_B
    text = "«a\x1b[Ab\x1b[1;5Qc\ufffd31m\x1bOPd\rx\ty\x03\x1a»"
    assert typed(b"k", whole[:cut], whole[cut:]) == ["k", text]
    assert typed(whole[:-cut], whole[-cut:]) == [text]


def test_a_paste_that_pretends_to_end_is_text_up_to_its_real_end() -> None:
    inner = b"x" + END_B + b"\x1b[Aq" + BEGIN_B + b"y"
    assert typed(BEGIN_B + inner + END_B) == ["«x\x1b[Aqy»"]
    assert typed(BEGIN_B + b"x" + END_B, b"q" * 3000, b"q" * 3000, END_B) == [f"«x{'q' * 6000}»"]


def test_keys_after_a_paste_are_keys() -> None:
    typist = Typist().send(BEGIN_B + b"x" + END_B).wait(_QUIET_S)
    assert typist.said == ["«x»"]
    assert typist.send(b"q").finish() == ["«x»", "q"]
    # Typed so soon that it may have been pasted, and it was not.
    assert Typist().send(BEGIN_B + b"x" + END_B, b"q\x1b[A").finish() == ["«x»", "q", "up"]
    assert Typist().send(BEGIN_B + b"x" + END_B + b"q", BEGIN_B + b"y").wait(_QUIET_S).send(
        b"z" + END_B
    ).finish() == [
        "«x»",
        "q",
        "«yz»",
    ]


def test_a_paste_without_end_does_not_keep_the_keyboard_for_ever() -> None:
    assert Typist().send(BEGIN_B + b"never\x1b[20").wait(_STALL_S).send(b"q").finish() == [
        "«never\x1b[20»",
        "q",
    ]


def test_a_mouse_that_moves_does_not_keep_a_paste_back_for_ever() -> None:
    typist = Typist().send(BEGIN_B + b"x" + END_B)
    for _ in range(150):
        typist.send(b"\x1b[<35;10;10M").wait(0.008)
    assert typist.said[0] == "«x»" and "MouseMove" in typist.said


def test_ten_megabytes_are_taken_in_a_moment_and_not_kept() -> None:
    data = BEGIN_B + b"x" * (10 << 20) + END_B
    began = time.process_time()
    (text,) = typed(*(data[at : at + 4096] for at in range(0, len(data), 4096)))
    assert time.process_time() - began < 2.0
    assert len(text) == MOST + 1 + len("«»")


def test_any_bytes_are_taken_and_a_key_after_them_is_itself() -> None:
    rng = random.Random(17)
    pieces = (
        b"\x1b",
        b"\x1b[",
        b"\x1b[M",
        b"\x1bO",
        b"\x1b[<",
        b";",
        b"1",
        b"9" * 30,
        b"u",
        b"M",
        b"~",
        b"t",
        b":",
    )
    for _ in range(1500):
        data = b"".join(
            rng.choice((*pieces, rng.randbytes(2), BEGIN_B, END_B)) for _ in range(rng.randrange(20))
        )
        typist, at = Typist(), 0
        while at < len(data):
            length = rng.randrange(1, 9)
            typist.send(data[at : at + length])
            at += length
        typist.send(b"  " + b"\x1b" + END_B).wait(_STALL_S)  # what is open, is closed
        typist.said.clear()
        assert typist.send(b"q").said == ["q"], data
