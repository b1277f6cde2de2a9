"""Functions of kernel stacks: /proc/kallsyms, read again when /proc/modules says that modules have come or gone.

A symbol has no size there. What lies in no module's memory and not between ``_stext`` and ``_end`` has no name: the
nearest symbol below would be another's. Nor has what lies where a module was that has just gone: another may be there.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import NamedTuple

from .instances import read_anew

__all__ = ("Kallsyms", "Symbol", "open_kallsyms")

#: Some 200,000 lines, of up to 500 bytes each.
_MAX_BYTES = 256 << 20
_TEXT = frozenset("tTwW")


class Symbol(NamedTuple):
    """What lies at an address."""

    function: str
    module: str | None


def open_kallsyms(symbols: str = "/proc/kallsyms", modules: str = "/proc/modules") -> list[int]:
    """Both files, with the rights of this moment; they show addresses for good then.

    :raises OSError: if they cannot be opened
    """
    return [os.open(name, os.O_RDONLY | os.O_CLOEXEC) for name in (symbols, modules)]


class Kallsyms:
    """What they say: needs no rights.

    :param files: as :func:`open_kallsyms` gives them; closed with this

    :raises ValueError: if addresses are hidden
    """

    def __init__(self, files: list[int]) -> None:
        self._files = files
        self._addresses: list[int] = []
        self._symbols: list[Symbol] = []
        self._ranges: dict[str, tuple[int, int]] = {}
        self._gone: list[tuple[int, int]] = []
        self._core = (0, 0)
        self._read(self._module_ranges())
        if not self._core[0]:
            self.close()
            raise ValueError("addresses are hidden (kernel.kptr_restrict): root is needed")

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []

    @property
    def modules(self) -> list[str]:
        """Those that were loaded when last looked at."""
        return list(self._ranges)

    def look(self) -> bool:
        """See which modules there are now, before addresses of stacks that have come are named. Whether that changed.

        All symbols take a second and more to read where that is slow; so that is done only then.
        """
        before, ranges = self._ranges, self._module_ranges()
        was_gone, self._gone = self._gone, [at for name, at in before.items() if ranges.get(name) != at]
        if ranges != before:
            self._read(ranges)
        return ranges != before or was_gone != self._gone

    def find(self, address: int) -> Symbol | None:
        """The function in which an address lies; ``None``: none that is known."""
        at = self._find(address)
        return None if at is None else self._symbols[at]

    def start(self, address: int) -> int | None:
        """Where the function begins in which an address lies; ``None``: none that is known."""
        at = self._find(address)
        return None if at is None else self._addresses[at]

    def _find(self, address: int) -> int | None:
        at = bisect_right(self._addresses, address) - 1
        if at < 0 or any(low <= address < high for low, high in self._gone):
            return None
        module = self._symbols[at].module
        low, high = self._core if module is None else self._ranges.get(module, (0, 0))
        return at if low <= address < high else None

    def _module_ranges(self) -> dict[str, tuple[int, int]]:
        """Where each module lies that is loaded now."""
        ranges: dict[str, tuple[int, int]] = {}
        for line in _content(self._files[1]).splitlines():
            words = line.split()
            if len(words) >= 6 and words[5].startswith("0x"):
                low = int(words[5], 16)
                ranges[words[0]] = (low, low + int(words[1]))
        return ranges

    def _read(self, ranges: dict[str, tuple[int, int]]) -> None:
        self._ranges = ranges
        limits: dict[str, int] = {}
        found: list[tuple[int, Symbol]] = []
        for line in _content(self._files[0]).splitlines():
            words = line.split()
            if len(words) < 3:
                continue
            if words[1] in _TEXT or words[2] in ("_stext", "_end"):
                address, name = int(words[0], 16), words[2]
                if name in ("_stext", "_end"):
                    limits.setdefault(name, address)
                elif address:
                    found.append((address, Symbol(name, words[3].strip("[]") if len(words) > 3 else None)))
        self._core = (limits.get("_stext", 0), limits.get("_end", 0))
        found.sort(key=lambda each: each[0])
        self._addresses = [address for address, _ in found]
        self._symbols = [symbol for _, symbol in found]


def _content(descriptor: int) -> str:
    return read_anew(descriptor, _MAX_BYTES).decode("utf-8", "surrogateescape")
