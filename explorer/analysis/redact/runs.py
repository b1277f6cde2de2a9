"""Where numbers are none of the kernel's: two or more in a part of a path, or in a word of a text, are an address, a
date or a name, whatever stands between them.

By itself a short number says nothing and may stay (``kswapd0``, ``pts/3``). What looks like an address is not looked
for: ``core.192.168.10.77``, ``ip-10-0-0-1``, ``fe80::1:/export``, ``0011.2233.4455`` and a part of any are alike here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

__all__ = ("find_runs", "is_part_of_address")

_PART = re.compile(rb"[^/ ]+")
_WORD = re.compile(rb"[0-9A-Za-z\x00-\x1f\x7f-\xff]+")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,4}")
_DIGIT = re.compile(rb"[0-9]")
#: Addresses of the kernel's.
_KERNELS = re.compile(rb"0xff[0-9a-f]{14}")
_MOST = 1


def find_runs(text: bytes, is_kernels: Callable[[bytes], bool]) -> Iterator[tuple[int, int]]:
    """[start, end) of each part with more than one word that has digits, or of nothing but three words of hex digits.

    :param is_kernels: words with a number that are the kernel's own
    """
    for part in _PART.finditer(text):
        words = _WORD.findall(part[0])
        if len(words) <= _MOST:
            continue
        numbers = [
            word
            for word in words
            if _DIGIT.search(word) and not is_kernels(word) and not _KERNELS.fullmatch(word)
        ]
        if len(numbers) > _MOST or (len(words) > 2 and all(map(_HEX.fullmatch, words))):
            yield part.span()


def is_part_of_address(word: bytes) -> bool:
    """Whether a word in a run may be a part of an address, though it may stay elsewhere: ``be``, ``add``."""
    return _HEX.fullmatch(word) is not None
