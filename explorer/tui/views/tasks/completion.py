"""Names of targets, completed: the words, and files of the directory that is named so far."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ("complete_target", "longest_common")

_WORDS = ("live", "proc", "sample", "qemu:", "physmem:")
_SCHEMES = ("qemu:", "physmem:")
#: A directory with more entries is not searched to its end.
_MOST_ENTRIES = 5000
_MOST = 200


def complete_target(text: str) -> list[str]:
    """What ``text`` may become, sorted. Names that a terminal would not show as they are, are left out."""
    words = [word for word in _WORDS if word.startswith(text) and word != text]
    scheme = next((each for each in _SCHEMES if text.startswith(each)), "")
    directory, _, beginning = text[len(scheme) :].rpartition("/")
    rooted = text[len(scheme) :].startswith("/")
    base = f"{directory}/" if directory or rooted else ""
    found = []
    try:
        with os.scandir(Path(base or ".").expanduser()) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_ENTRIES:
                    break
                if _fits(entry.name, beginning):
                    found.append(f"{scheme}{base}{entry.name}{'/' if entry.is_dir() else ''}")
    except (OSError, RuntimeError, ValueError):
        pass  # there is no such directory (yet), or no such user: nothing to offer
    return [*words, *sorted(found)][:_MOST]


def _fits(name: str, beginning: str) -> bool:
    hidden = name.startswith(".") and not beginning.startswith(".")
    return name.startswith(beginning) and name.isprintable() and not hidden


def longest_common(names: list[str]) -> str:
    """How all of the names begin."""
    return os.path.commonprefix(names)  # noqa: RUF071  # character by character is what is meant
