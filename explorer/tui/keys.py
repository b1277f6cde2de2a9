"""How a key is declared: every binding has an id (for keymaps) and a sentence (for help, palette and tooltip)."""

from __future__ import annotations

from textual.binding import Binding

__all__ = ("hidden", "shown")


def hidden(keys: str, action: str, id: str, sentence: str) -> Binding:
    """A key that the footer does not show; help and palette do."""
    return Binding(keys, action, sentence, show=False, id=id, tooltip=sentence)


def shown(keys: str, action: str, id: str, label: str, sentence: str, first: bool = False) -> Binding:
    """A key that the footer shows as ``label``.

    :param first: handled before the key typed next is dispatched, so that it may change the focus
    """
    return Binding(keys, action, label, id=id, tooltip=sentence, priority=first)
