"""How a key is declared: every binding has an id (for keymaps) and a sentence (for help, palette and tooltip)."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding, BindingType
from textual.screen import Screen

__all__ = ("APP_KEYS", "FRAME_KEYS", "hidden", "key_of", "shown")


def hidden(keys: str, action: str, id: str, sentence: str) -> Binding:
    """A key that the footer does not show; help and palette do."""
    return Binding(keys, action, sentence, show=False, id=id, tooltip=sentence)


def shown(keys: str, action: str, id: str, label: str, sentence: str, first: bool = False) -> Binding:
    """A key that the footer shows as ``label``.

    :param first: handled before the key typed next is dispatched, so that it may change the focus
    """
    return Binding(keys, action, label, id=id, tooltip=sentence, priority=first)


def key_of(screen: Screen[Any], id: str) -> str:
    """How the key of one of a screen's bindings is shown, whatever the keymap has made of it; empty: it has none."""
    for active in screen.active_bindings.values():
        if active.binding.id == id:
            return screen.app.get_key_display(active.binding)
    return ""


#: The keys that work on every screen: through a recording, and (below) the app's own. Those to screens are with these.
FRAME_KEYS: list[BindingType] = [
    hidden("full_stop", "record('step', 1)", "frame.next", "The next frame of the recording"),
    hidden("comma", "record('step', -1)", "frame.previous", "The frame before"),
    hidden("right_square_bracket", "record('step_event', 1)", "frame.next-event", "The next event"),
    hidden("left_square_bracket", "record('step_event', -1)", "frame.previous-event", "The event before"),
    hidden("right_curly_bracket", "record('to_edge', 1)", "frame.last", "The last frame"),
    hidden("left_curly_bracket", "record('to_edge', 0)", "frame.first", "The first frame that can be read"),
    hidden("p", "record('play')", "frame.play", "Play, or stop playing"),
    hidden("plus", "record('change_speed', 1)", "frame.faster", "Play faster"),
    hidden("minus", "record('change_speed', -1)", "frame.slower", "Play slower"),
    hidden("J", "first_seen", "frame.first-seen", "The frame in which this finding begins"),
]
APP_KEYS: list[BindingType] = [
    hidden("K", "kernel", "app.kernel", "The kernel, the capture, what was not readable"),
    hidden(
        "at,ctrl+g",
        "locate",
        "app.go-to",
        "Go to an address, a pid, a mount's id or a namespace's inode number",
    ),
    hidden("backspace", "leave_target", "go.back", "Back to the fleet, and the target that you came from"),
    hidden("r", "refresh_target", "app.refresh", "Read the target again"),
    hidden("R", "next_interval", "app.interval", "Read again by itself: 1, 2, 5, 10 s, off"),
    hidden("X", "stop_reading", "app.stop", "Stop reading again"),
    hidden("T", "next_theme", "app.theme", "The next theme; it is remembered"),
    hidden(
        "S", "turn_mouse", "app.mouse", "The mouse off, so that the terminal's own selection works, or on"
    ),
    Binding(
        "ctrl+c",
        "copy_or_leave",
        "Copy, or quit",
        show=False,
        priority=True,  # over a dialog and in a field, too
        id="app.copy",
        tooltip="Copy what is selected; where there is nothing, and again: ask whether to quit",
    ),
    hidden("ctrl+z", "suspend_process", "app.suspend", "To the shell; fg comes back"),
    hidden("exclamation_mark", "debug_info", "app.debug", "For a bug report"),
    shown("question_mark", "help", "app.help", "Help", "The keys that work here, queries, words and colours"),
    shown("q", "quit", "app.quit", "Quit", "End the app"),
]
