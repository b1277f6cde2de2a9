"""Where a working directory lies, in a word: what of a root is a chroot is, of a working directory, no root at all."""

from __future__ import annotations

from explorer.model import Placement

__all__ = ("PWD_PLACEMENTS", "pwd_placement")

#: A snapshot has one set of words for both: nobody called chroot() for a working directory that is just somewhere.
PWD_PLACEMENTS = {
    placement: "not-a-root" if placement is Placement.CHROOT else placement.value for placement in Placement
}


def pwd_placement(placement: Placement | None) -> str | None:
    """The word for a working directory; ``None``: it is not known."""
    return None if placement is None else PWD_PLACEMENTS[placement]
