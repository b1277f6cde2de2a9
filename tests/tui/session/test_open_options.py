"""``open --interval`` and ``--against``: what they do, and one line on the terminal where they make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import DATA
from tests.tui.conftest import SAVED
from tests.tui.test_terminal import Terminal


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("open", "--interval", "2", "sample"), 2, b"a vmcore or a saved snapshot does not change"),
        (("open", "--interval", "0", "live"), 2, b"0.5<=x<=3600"),
        (("open", "sample", "--against", "no-such-file.elf"), 3, b"no-such-file.elf"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_no_screen(
    tmp_path: Path, words: tuple[str, ...], code: int, said: bytes
) -> None:
    terminal = Terminal(tmp_path, *words)
    assert terminal.close() == code
    assert said in terminal.received and b"\x1b[?1049h" not in terminal.received


def test_against_opens_the_comparison_of_two_kernels(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "open", str(SAVED), "--against", str(DATA / "linux-7.2.elf.zst"))
    terminal.wait_for(b"Different boots")
    terminal.send(b"q")
    assert terminal.close() == 0
