"""A plugin's facts for reading: nested records indented, paths and tasks named, addresses to follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from explorer.model import PathRef, Reference, Snapshot, escape_text
from explorer.naming import path_label

from .facts import FOUND_WORDS, Fact, place_words

__all__ = ("nested_facts",)

_MAX_DEPTH = 8
_INDENT = "  "
_ADDRESS = re.compile("0x[0-9a-f]{9,16}")
_PATH_KEYS = frozenset(PathRef.model_fields)
_REFERENCE_KEYS = frozenset(Reference.model_fields)
_SETTING_KEYS = frozenset(("name", "value", "path", "found", "target"))
#: Of PID 1's root, where that is another; older snapshots lack them.
_SETTING_MAY_HAVE = _SETTING_KEYS | {"init_found", "init_target"}


class _Writer:
    """Knows where addresses lead."""

    def __init__(self, snapshot: Snapshot, known: Callable[[int], Reference | None]) -> None:
        self._snapshot = snapshot
        self._known = known

    def facts(self, name: str, value: Any, depth: int) -> Iterator[Fact]:
        """One value: a line, or a heading with lines below it."""
        shown = _INDENT * depth + escape_text(name)
        line = self._line(value)
        if line is not None:
            text, target = line
            yield Fact(shown, text, target)
        elif depth >= _MAX_DEPTH:
            yield Fact(shown, "… see the JSON", tone="muted")
        elif isinstance(value, dict):
            yield Fact(shown, self._title(value))
            for key, inner in value.items():
                yield from self.facts(str(key), inner, depth + 1)
        elif isinstance(value, list):
            yield Fact(shown, f"{len(value)}")
            for number, inner in enumerate(value):
                yield from self.facts(str(number + 1), inner, depth + 1)

    def _line(self, value: Any) -> tuple[str, Reference | None] | None:
        """A value that fits on a line, and where it leads. ``None``: it does not fit on one."""
        if value is None:
            return "-", None
        if isinstance(value, bool):
            return ("yes" if value else "no"), None
        if isinstance(value, dict):
            return self._record(value)
        if isinstance(value, list):
            if not value:
                return "none", None
            words = [str(each) for each in value] if all(_is_word(each) for each in value) else []
            return (escape_text(", ".join(words)), None) if words and len(", ".join(words)) <= 60 else None
        if isinstance(value, str) and _ADDRESS.fullmatch(value):
            target = self._known(int(value, 16))
            return (f"{value}  {escape_text(target.label)}" if target else value), target
        return (escape_text(str(value)) or '""'), None

    def _record(self, value: dict[str, Any]) -> tuple[str, Reference | None] | None:
        """Records that have a short form: a path, a reference, a setting."""
        if not value:
            return "none", None
        keys = value.keys()
        if keys == _PATH_KEYS:
            path = PathRef.model_validate(value)
            words = place_words(path, self._snapshot)
            where = f"  ({words})" if words else ""
            return path_label(path, self._snapshot) + where, self._known(path.mount)
        if keys == _REFERENCE_KEYS:
            reference = Reference.model_validate(value)
            return escape_text(f"{reference.kind} {reference.label}"), reference
        if _SETTING_KEYS <= keys <= _SETTING_MAY_HAVE and value["target"] is value.get("init_target") is None:
            empty = '""' if value["value"] == "" else value["value"]
            found = value["found"]
            words = FOUND_WORDS.get(found, found) if isinstance(found, str) else found
            if isinstance(value.get("init_found"), str):
                words = f"{words}; for PID 1 {FOUND_WORDS.get(value['init_found'], value['init_found'])}"
            return escape_text(f"{empty}  ({words})"), None
        return None

    def _title(self, value: dict[str, Any]) -> str:
        """What to call a record in its heading line."""
        for key in ("name", "path", "comm"):
            if isinstance(value.get(key), str):
                return escape_text(value[key])
        return ""


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and not _ADDRESS.fullmatch(value)


def nested_facts(
    facts: Any, snapshot: Snapshot, known: Callable[[int], Reference | None], most: int
) -> list[Fact]:
    """The lines of a plugin's facts, at most ``most``. A snapshot may hold any JSON here: nothing is assumed."""
    writer = _Writer(snapshot, known)
    lines: list[Fact] = []
    for name, value in facts.items() if isinstance(facts, dict) else (("facts", facts),):
        if name == "state":
            continue
        try:
            for fact in writer.facts(str(name), value, 0):
                if len(lines) >= most:
                    lines.append(Fact("", "more than can be shown: see the JSON", tone="warn"))
                    return lines
                lines.append(fact)
        except ValueError:
            lines.append(Fact(escape_text(str(name)), "not of the shape it should have", tone="warn"))
    return lines
