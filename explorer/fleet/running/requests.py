"""What is asked of whoever reads a target, and what comes back: plain values, which cross from process to process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from explorer.fleet.outcomes import Outcome

__all__ = ("Answer", "Examined", "ReadingOptions", "Request", "Result", "Told")


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How targets are read; the same for all of a run."""

    timeout: float = 600.0
    """Seconds that one may take."""
    memory: int | None = None
    """Bytes of address space that one may take; ``None``: what the machine has, divided by its processors."""
    cache: bool = True
    """Types and symbols of kernels are kept for the next time."""
    keep_snapshots: bool = False
    plugins: tuple[str, ...] = ()
    """Files of plugins beside those that are installed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One target to be read."""

    name: str
    options: ReadingOptions


@dataclass(slots=True)
class Answer:
    """What the process that read a target says."""

    outcome: Outcome
    why: str | None = None
    """Not escaped."""
    signal: str | None = None
    kind: str | None = None
    """``None``: what was named is nothing that can be opened."""
    tables: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Columns of each table, without the key; of ``targets`` those that the snapshot says."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    snapshot: bytes | None = None
    """The snapshot as a compressed file, if it is to be kept."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A candidate that was looked at from outside."""

    name: str
    word: str
    named: bool
    key: str | None
    """``None``: it is no target."""
    size: int


@dataclass(slots=True)
class Told:
    """What became of one target."""

    key: str
    outcome: Outcome | None
    """``None``: it turned out to be no target, and there is no row."""
    seconds: float = 0.0
    snapshot: bytes | None = None


@dataclass(slots=True)
class Result:
    """Some targets, ready to be written."""

    targets: list[Told]
    tables: dict[str, Any]
    """A ``pyarrow.Table`` each, with the rows of all of them; empty where there is no row."""
