"""The formats that say which physical memory is where in the file, and nothing of the kernel in it: one reader each."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from .containers import RANGED, Format
from .extents import Extents
from .lime import read_lime
from .ranges import Ranged

__all__ = ("RANGED_READERS",)

#: Of a file, its name, and which bytes of it are there (``None``: all).
RANGED_READERS: dict[Format, Callable[[BinaryIO, str, Extents | None], Ranged]] = {Format.LIME: read_lime}
assert RANGED_READERS.keys() == RANGED
