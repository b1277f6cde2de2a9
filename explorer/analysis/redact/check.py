"""The check of what is to be written: every word of it must be one that may stay, or that redaction has invented. So it
is for the memory of a slice, but for words that are too short to be told from numbers there.

It does not know what redaction replaced, and shares no code with it but the list of words: what redaction overlooks is
a word here like all others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from .words import KEPT_WORDS, NUMBERED_WORDS

__all__ = ("words_left", "words_left_in_memory")

_KEPT = frozenset(word.encode() for word in KEPT_WORDS)
_NUMBERED = frozenset(word.encode() for word in NUMBERED_WORDS)
#: Bytes that are in words: letters, digits, control characters, what is no ASCII.
_IN_WORDS = frozenset(code for code in range(256) if code < 32 or code > 126 or chr(code).isalnum())
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_NAMESPACE = re.compile(rb"(?:mnt|net|pid|user|uts|ipc|time|cgroup):\[[0-9]{1,10}\]")
_WORKER = re.compile(rb"kworker/u?[0-9]{1,4}:[0-9]{1,4}[HRI]?(?=[-+][A-Za-z]|[ /]|$)")
_STAMP = re.compile(rb"\[ *[0-9]+\.[0-9]{6}\] ")
#: What an invented network address may look like: of the fourth version first, which has colons around it in places.
_ADDRESSES = (
    re.compile(rb"(?<![0-9A-Za-z])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z])"),
    re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){1,7}(?![0-9A-Za-z])"),
)
#: In memory, what is shorter is as often a number or a pointer.
_LONG = re.compile(rb"[0-9A-Za-z]{6,}")
#: A number beside a word may look like so many letters more of it; what is left is a word from so many on.
_STRAY, _SHORTEST = 3, 4


def words_left(
    texts: Iterable[bytes],
    units: Collection[bytes],
    invented: Collection[bytes],
) -> list[bytes]:
    """The words in texts that are neither the kernel's own nor invented, sorted.

    :param texts: without those that stay whole: what fields of the kernel's hold, names of fields
    :param units: what may stand in a text as it is: the kernel's release
    :param invented: words and network addresses that stand for others
    """
    left: set[bytes] = set()
    for text in texts:
        left.update(_left_in(text, units, invented))
    return sorted(left)


def words_left_in_memory(memory: bytes, own: Iterable[bytes], invented: Collection[bytes]) -> list[bytes]:
    """The words of six letters and digits or more that are neither the kernel's own nor invented, sorted.

    :param memory: pages side by side. A word at either end of them may go on elsewhere, and is passed over
    :param own: texts of the kernel's in it, of which the words say nothing
    """
    known = {word for text in own for word in _LONG.findall(text)}
    left: set[bytes] = set()
    for match in _LONG.finditer(memory):
        word = match[0]
        at_end = match.start() == 0 or match.end() == len(memory)
        if not (at_end or word in known or _may_stay(word) or _is_with_stray(word, invented)):
            left.add(word)
    return sorted(left)


def _is_with_stray(word: bytes, invented: Collection[bytes]) -> bool:
    """Whether it is an invented word, or one of the kernel's own, with a few bytes of something else beside it."""
    return any(
        (part := word[first : len(word) - last]) in invented or part in _KEPT
        for first in range(_STRAY + 1)
        for last in range(_STRAY + 1 - first)
        if len(word) - first - last >= _SHORTEST
    )


def _left_in(text: bytes, units: Collection[bytes], invented: Collection[bytes]) -> Iterator[bytes]:
    for pattern in (_STAMP, _NAMESPACE, _WORKER):
        text = pattern.sub(b"/", text)
    for unit in units:
        if unit:
            text = re.sub(rb"(?<![0-9A-Za-z])%s(?![0-9A-Za-z])" % re.escape(unit), b"/", text)
    for pattern in _ADDRESSES:
        text = pattern.sub(lambda match: b"/" if match[0] in invented else match[0], text)
    for part in re.split(rb"[/ ]", text):
        words = [word for word in _words_of(part) if word not in invented]
        numbers = [word for word in words if _DIGITS & set(word) and not _is_numbered(word)]
        strict = len([word for word in numbers if not _is_kernel_address(word)]) > 1
        for word in words:
            own = _is_numbered(word) or _is_kernel_address(word)
            if not _may_stay(word) or (strict and not own and _DIGITS & set(word)):
                yield word


def _words_of(part: bytes) -> Iterator[bytes]:
    start = None
    for at, code in enumerate(part):
        if code in _IN_WORDS:
            start = at if start is None else start
        elif start is not None:
            yield part[start:at]
            start = None
    if start is not None:
        yield part[start:]


def _may_stay(word: bytes) -> bool:
    if word in _KEPT or _is_numbered(word) or _is_kernel_address(word):
        return True
    if len(word) == 1 and word in b"cdeghiIpPstuEfF":  # behind the % of core_pattern
        return True
    digits = word.removeprefix(b"u").rstrip(b"HR")
    if 0 < len(digits) <= 4 and set(digits) <= _DIGITS and len(word) - len(digits) <= 2:
        return True
    return word.startswith(b"0x") and 0 < len(word) - 2 <= 4 and set(word[2:]) <= _HEX


def _is_numbered(word: bytes) -> bool:
    stem = word.rstrip(b"0123456789")
    return stem in _NUMBERED and 0 < len(word) - len(stem) <= 4


def _is_kernel_address(word: bytes) -> bool:
    return len(word) == 18 and word.startswith(b"0xff") and set(word[2:]) <= _HEX
