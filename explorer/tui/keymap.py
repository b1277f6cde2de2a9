"""Every key there is, by id: for ``nullfs-explorer keys``, and to say what is wrong in a keymap."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import _character_to_key, key_to_character

__all__ = ("DeclaredKey", "apply_keymap", "declared_keys", "keymap_complaint", "show_keys")

#: These need the extra ``web``, and have no keys.
_NOT_OURS = "explorer.tui.web"


@dataclass(frozen=True, slots=True)
class DeclaredKey:
    """A binding as a class of ours declares it."""

    id: str
    keys: str
    """Separated by commas, as Textual names them."""
    sentence: str
    owner: type[DOMNode]
    """Where it works: the app is everywhere."""


def declared_classes() -> Iterator[type[DOMNode]]:
    """Our screens, widgets and the app, those that declare bindings."""
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "explorer.tui."):
        if module.name.startswith(_NOT_OURS):
            continue
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and issubclass(found, DOMNode) and "BINDINGS" in vars(found):
                yield found


def declared_keys() -> list[DeclaredKey]:
    """All bindings of ours, by id."""
    found = [
        DeclaredKey(binding.id or "", binding.key, binding.tooltip or "", owner)
        for owner in declared_classes()
        for binding in vars(owner)["BINDINGS"]
        if isinstance(binding, Binding)
    ]
    return sorted(found, key=lambda key: (key.id, key.owner.__qualname__))


def apply_keymap(keymap: Mapping[str, str]) -> dict[str, str]:
    """A keymap as Textual wants it: ``"?"`` may be written for ``"question_mark"``."""
    return {
        id: ",".join(
            _character_to_key(key) if len(key) == 1 else key
            for key in (part.strip() for part in keys.split(","))
        )
        for id, keys in keymap.items()
    }


def keymap_complaint(keymap: Mapping[str, str]) -> str | None:
    """What is wrong with a keymap, in a line: ids that nothing has. ``None``: nothing is."""
    if not keymap:
        return None
    known = {key.id for key in declared_keys()}
    wrong = sorted(set(keymap) - known)
    if not wrong:
        return None
    names = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    return f"settings.json: the keymap names what is no key: {names}. nullfs-explorer keys lists them all."


def show_keys(keys: str) -> str:
    """Keys separated by blanks, as a keymap may have them: ``?`` is said as such, a comma separates them there."""
    shown = []
    for key in keys.split(","):
        character = key_to_character(key)
        shown.append(character if character and character.isprintable() and character not in ", " else key)
    return " ".join(shown)
