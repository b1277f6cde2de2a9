"""Mutators of traces: files that ``trace -o`` wrote, and pages of the kernel's ring buffer with what describes them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .bases import Bases
from .formats import FileCase, changed_json, mutate_bytes

__all__ = ("PAGE_MUTATOR", "TRACE_COMMANDS", "TRACE_MUTATORS", "TRACE_SUFFIX", "damaged_pages", "feed_pages")

PAGE_MUTATOR = "trace-pages"
TRACE_SUFFIX = ".trace.jsonl"
TRACE_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("trace",),
    ("trace", "--stack", "--width", "60"),
    ("trace", "--format", "json"),
    ("trace", "--format", "jsonl"),
    ("trace", "--format", "sarif"),
    ("trace", "--where", "kind:kernel not result:0"),
)
_DATA = Path(__file__).parents[1] / "data" / "trace"
_KERNELS = ("6.1", "6.12", "7.3")
_SAVED = ("saved-6.12.jsonl", "saved-7.3.jsonl")


def _trace_file(bases: Bases, rng: random.Random) -> FileCase:
    """Lines damaged, dropped, doubled, in another order, with other values; cut off anywhere."""
    lines = (_DATA / rng.choice(_SAVED)).read_bytes().splitlines(keepends=True)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines[at] = mutate_bytes(lines[at], rng)
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 3:
                whole = (_DATA / _SAVED[0]).read_bytes().splitlines()
                lines[at] = changed_json(rng.choice(whole), rng) + b"\n"
            case _:
                rng.shuffle(lines)
    data = b"".join(lines)
    return FileCase(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data, TRACE_SUFFIX)


TRACE_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {"traces": _trace_file}


def damaged_pages(rng: random.Random) -> dict[str, bytes]:
    """The files of one kernel's buffers, some of them damaged; pages most of all."""
    folder = _DATA / rng.choice(_KERNELS)
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    pages = [name for name in files if name.endswith(".raw")]
    for name in rng.sample(pages, rng.randint(1, len(pages))):
        files[name] = mutate_bytes(files[name], rng)
    if rng.random() < 0.3:
        other = rng.choice([name for name in files if name not in ("about.json", "account.json")])
        files[other] = mutate_bytes(files[other], rng)
    return files


def feed_pages(files: dict[str, bytes], folder: Path) -> NoReturn:
    """What a live trace does with them; prints the lookups as its file has them."""
    from explorer.codec import encode_trace_line
    from explorer.model import kernel_text
    from explorer.tracing.formats import FormatError
    from tests.unit.traced_pages import joined_pages, made_lookup
    from tests.unit.traces import header

    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        lookups, names, _ = joined_pages(folder)
    except (FormatError, ValueError) as error:  # ValueError: addresses are hidden
        sys.stderr.write(f"nullfs-explorer: {str(error)[:300]!a}\n")
        sys.exit(3)
    out = sys.stdout.buffer
    out.write(encode_trace_line(header()))
    for lookup in lookups:
        made = made_lookup(lookup, names)
        assert made.path is None or kernel_text(made.path.encode("utf-8", "surrogateescape")) == made.path
        out.write(encode_trace_line(made))
    out.flush()
    sys.exit(0)
