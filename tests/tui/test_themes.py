"""Themes: text can be read, and nothing is said by colour alone, on 16 colours or with none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.tui.themes import THEMES, theme_for

from .conftest import SAVED
from .test_terminal import PATIENCE_S, Terminal, environment

#: WCAG 2.2, success criterion 1.4.3: contrast of text, level AA; 1.4.6 is AAA.
_AA, _AAA = 4.5, 7.0
_TONES = ("foreground", "primary", "secondary", "accent", "success", "warning", "error")
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_gives_the_ratios_that_the_guidelines_name() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("ground", ["background", "surface", "panel"])
def test_every_tone_of_text_can_be_read_on_every_ground(theme: object, ground: str) -> None:
    least = _AAA if getattr(theme, "name") == "nullfs-high-contrast" else _AA  # noqa: B009
    ratios = {tone: round(contrast(getattr(theme, tone), getattr(theme, ground)), 2) for tone in _TONES}
    assert min(ratios.values()) >= least, ratios


def test_sixteen_colours_begin_with_the_theme_made_of_them_unless_another_was_chosen() -> None:
    assert theme_for("nullfs-dark", "standard") == "ansi-dark"
    assert theme_for("nullfs-light", "standard") == "nullfs-light"
    assert theme_for("nullfs-dark", "truecolor") == theme_for("nullfs-dark", None) == "nullfs-dark"


@pytest.fixture(params=["screen", "linux"])
def of_16_colours(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """The program on a terminal with 16 colours, 80x24."""
    few = {"TERM": request.param, "COLORTERM": "", "TEXTUAL_COLOR_SYSTEM": "standard"}
    monkeypatch.setattr("tests.tui.test_terminal.environment", lambda home: {**environment(home), **few})
    terminal = Terminal(tmp_path, str(SAVED))
    yield terminal
    terminal.end()


def test_on_16_colours_only_these_are_sent_and_what_matters_has_an_attribute_or_a_word(
    of_16_colours: Terminal, tmp_path: Path
) -> None:
    terminal = of_16_colours
    terminal.wait_for(b"ISOLATED")
    terminal.wait_for(b"cross-root")
    assert b"medium" in terminal.received and b"info" in terminal.received
    # The verdict: bold and reverse; the box with the focus: a reversed title.
    assert attributes(terminal.received, b" ISOLATED ") >= {"1", "7"}
    until_reversed(terminal, b" nullfs knullfs")
    for keys, sign in ((b"t", b"FS_STRUCT"), (b"n", b"evidence")):
        terminal.send(keys)
        terminal.wait_for(sign)
    # The row under the cursor is reversed, the one of the pane without the focus is bold.
    until_reversed(terminal, b"cross-root (137) has its root")
    until_sent_with(terminal, b"evidence", "1")
    assert b"\xe2\x96\xb8 task" in terminal.received
    terminal.send(b"q")
    assert terminal.close() == 0
    codes = {code for found in _SGR.findall(terminal.received) for code in found.split(b";")}
    allowed = {
        *range(10),
        *range(21, 30),
        *range(30, 38),
        39,
        *range(40, 48),
        49,
        *range(90, 98),
        *range(100, 108),
    }
    assert {int(code or b"0") for code in codes} <= allowed
    # The choice is not the user's, and is not remembered.
    assert not (tmp_path / "nullfs-explorer" / "settings.json").exists()


def until_reversed(terminal: Terminal, text: bytes) -> None:
    """Until it is drawn as what has the focus: on a slow machine it is drawn without it first."""
    until_sent_with(terminal, text, "7")


def until_sent_with(terminal: Terminal, text: bytes, parameter: str) -> None:
    """Until it was sent under an SGR parameter."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(
        parameter in attributes(terminal.received[: found.end()], text)
        for found in re.finditer(re.escape(text), terminal.received)
    ):
        assert time.monotonic() < deadline, attributes(terminal.received, text)
        terminal.read(0.1)


def attributes(received: bytes, text: bytes) -> set[str]:
    """The SGR parameters under which a text was sent last."""
    before = received[: received.rindex(text)]
    return set(_SGR.findall(before)[-1].decode().split(";"))
