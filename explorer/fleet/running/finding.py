"""From the words of a command line to the files that a fleet is made of: folders, globs and lists are followed."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from explorer.fleet.errors import FleetError
from explorer.fleet.manifest import MANIFEST

__all__ = ("Candidate", "file_of", "find_candidates", "looks_like_target")

_MAX_LISTS = 8
_NO_FILES = ("live", "qemu:")
_RAW = "physmem:"
#: What dumps, snapshots and recordings are called: Debian's and Fedora's crash folders, and what this program writes.
_NAME = re.compile(
    r"(vmcore|dump[.-]|.*\.(elf|vmcore|kdump|dump|core|lime|json|nxrec|vmem)(\.(zst|gz|xz|bz2|lz4))?$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a target."""

    name: str
    """Names it for whoever opens it, wherever that is: ``sample``, or an absolute path, also with ``@MOMENT`` behind it
    or ``physmem:`` before it."""
    word: str
    """What the user wrote that it was found by."""
    named: bool
    """It was named itself, and is a target whatever is in it; else it lay in a folder, or matched a pattern."""


def looks_like_target(name: str) -> bool:
    """Whether a file is called like a dump, a snapshot or a recording: then it is a target even if it is damaged."""
    base = os.path.basename(name)  # noqa: PTH119  # a million times
    return "dmesg" not in base and _NAME.match(base) is not None


def find_candidates(words: Iterable[str]) -> Iterator[Candidate]:
    """Every file that the words name, in their order; those of a folder by name. Nothing is opened but lists.

    :raises FleetError: for a word that names nothing, or what is no file
    """
    for word in words:
        yield from _follow(word, word, 0)


def _follow(text: str, word: str, lists: int) -> Iterator[Candidate]:
    if text.startswith(_NO_FILES) and not os.path.lexists(text):
        raise FleetError(
            f"{text}: a fleet reads files; take a snapshot of it first: nullfs-explorer snapshot {text}"
        )
    if text.startswith("@") and not os.path.lexists(text):
        yield from _in_list(text[1:], word, lists)
    elif os.path.isdir(text):  # noqa: PTH112
        yield from _in_folder(text, word)
    elif os.path.lexists(text) or _names_file(text):
        yield Candidate(_absolute(text), word, True)
    elif glob.has_magic(text):
        yield from _matching(text, word)
    elif lists:
        yield Candidate(_absolute(text), word, True)  # that a file of a list is not there is a row
    else:
        raise FleetError(f"{text}: no such file; targets are files, folders, patterns and lists (@list.txt)")


def _absolute(text: str) -> str:
    """The same file, named from the root: a worker may be anywhere."""
    if text == "sample" and not os.path.lexists(text):
        return text
    scheme = _RAW if text.startswith(_RAW) and not os.path.lexists(text) else ""
    return scheme + os.path.abspath(text.removeprefix(scheme))  # noqa: PTH100  # links stay links


def file_of(name: str) -> tuple[str, str | None]:
    """The file that a candidate's name is of, and the moment of it that is meant, if one is."""
    if os.path.lexists(name):
        return name, None
    if name == "sample":
        from explorer.targets import detect_target

        return str(detect_target(name).path), None
    if name.startswith(_RAW):
        return name.removeprefix(_RAW), None
    path, at, moment = name.rpartition("@")
    return (path, moment) if at and os.path.isfile(path) else (name, None)  # noqa: PTH113


def _names_file(text: str) -> bool:
    """Words for a file that are no path."""
    name, at, _ = text.rpartition("@")
    is_moment = bool(at) and os.path.isfile(name)  # noqa: PTH113
    return text == "sample" or is_moment or (text.startswith(_RAW) and text != _RAW)


def _in_list(path: str, word: str, lists: int) -> Iterator[Candidate]:
    """A file of words, one a line; blank lines and those that begin with # are passed over."""
    if lists >= _MAX_LISTS:
        raise FleetError(f"@{path}: lists within lists, more than {_MAX_LISTS} deep")
    try:
        with Path(path).open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                text = line.strip()
                if text and not text.startswith("#"):
                    yield from _follow(text, word, lists + 1)
    except OSError as error:
        raise FleetError(f"@{path}: the list cannot be read: {error.strerror}") from error


def _matching(pattern: str, word: str) -> Iterator[Candidate]:
    found = sorted(glob.iglob(pattern, recursive=True))  # noqa: PTH207  # of any pattern
    if not found:
        raise FleetError(f"{pattern}: no file matches")
    for name in found:
        if os.path.isdir(name):  # noqa: PTH112
            yield from _in_folder(name, word)
        else:
            yield Candidate(_absolute(name), word, False)


def _in_folder(folder: str, word: str) -> Iterator[Candidate]:
    """What lies in a folder and those below, by name. What begins with a dot, and a fleet's dataset, is passed over."""
    refused: list[str] = []
    for path, folders, files in os.walk(
        _absolute(folder), onerror=lambda error: refused.append(error.filename)
    ):
        if MANIFEST in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Candidate(os.path.join(path, name), word, False)  # noqa: PTH118
        while refused:
            yield Candidate(refused.pop(), word, True)
    for name in refused:
        yield Candidate(name, word, True)
