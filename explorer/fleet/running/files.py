"""Files of a dataset: each is whole, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from explorer.places import find_place, replacing

__all__ = ("whole_file",)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name ``path`` at the end of the block, when all of it is on the disk.

    :raises OSError: for anything the operating system refuses, a full disk included
    """
    with find_place(path) as place, replacing(place) as file:
        yield file
