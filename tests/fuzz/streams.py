"""Mutators of streams that no command opens by itself: what the screen reads from its child."""

from __future__ import annotations

import random
from collections.abc import Callable

from .bases import SMALLEST, Bases
from .formats import mutate_bytes

__all__ = ("STREAM_MUTATORS",)


def _reader_lines(bases: Bases, rng: random.Random) -> bytes:
    """Lines of a reader's output: damaged, dropped, doubled, in another order."""
    lines = bases.snapshot_lines(SMALLEST).splitlines()
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                lines[at] = mutate_bytes(lines[at], rng)
            case 1:
                del lines[at]
            case 2:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case _:
                rng.shuffle(lines)
    data = b"\n".join(lines)
    return mutate_bytes(data, rng) if rng.random() < 0.5 else data


STREAM_MUTATORS: dict[str, Callable[[Bases, random.Random], bytes]] = {"reader-lines": _reader_lines}
