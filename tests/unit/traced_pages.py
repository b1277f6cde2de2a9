"""Pages of a ring buffer through all that a live trace does with them, but for the kernel: for tests and the fuzzer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from explorer.model import Lookup, kernel_text
from explorer.tracing.decode import CpuDecoder, EndEvent, Formats, WalkEvent
from explorer.tracing.formats import parse_event_format, parse_page_header
from explorer.tracing.joining import JoinedLookup, Joiner
from explorer.tracing.kallsyms import Kallsyms, open_kallsyms
from explorer.tracing.pages import DamagedPageError, read_page
from explorer.tracing.places import StackNames, kernel_kind

__all__ = ("joined_pages", "made_lookup")


def joined_pages(folder: Path) -> tuple[list[JoinedLookup], StackNames, tuple[Joiner, int]]:
    """The lookups in the buffers of all CPUs; names for their stacks; the joiner, and how much made no sense.

    :raises FormatError: if what describes the pages cannot be understood
    """

    def text(name: str) -> str:
        return (folder / name).read_text("utf-8", "surrogateescape")

    about: dict[str, Any] = json.loads((folder / "about.json").read_text())
    formats = Formats.of(
        {name: parse_event_format(text(f"{name}.format")) for name in about["events"]},
        parse_event_format(text("kernel_stack.format")),
    )
    layout, size, damaged = parse_page_header(text("header_page")), about["page_kb"] << 10, 0
    events: list[WalkEvent | EndEvent] = []
    for path in sorted(folder.glob("cpu*.raw")):
        decoder, raw = CpuDecoder(formats, int(path.stem[3:])), path.read_bytes()
        for at in range(0, len(raw), size):
            try:
                events += decoder.decode(read_page(raw[at : at + size], *layout).events)
            except DamagedPageError:
                damaged += 1
        events += decoder.flush()
        damaged += decoder.damaged
    joiner = Joiner()
    out: list[JoinedLookup] = []
    for event in sorted(events, key=lambda each: each.time):
        out += joiner.walk(event) if isinstance(event, WalkEvent) else joiner.end(event)
    out += joiner.flush(None)
    return (
        out,
        StackNames(Kallsyms(open_kallsyms(str(folder / "kallsyms"), str(folder / "modules")))),
        (joiner, damaged),
    )


def made_lookup(joined: JoinedLookup, names: StackNames) -> Lookup:
    """As it is written, without where it started: that takes a snapshot."""
    walk = joined.walk
    stack = None if walk.stack is None else names.frames(walk.stack)
    kind = None if stack is None else kernel_kind(stack)
    return Lookup(
        time_s=walk.time / 1e9,
        cpu=walk.cpu,
        pid=walk.pid,
        comm=kernel_text(walk.comm),
        kind=kind,
        in_kernel=kind is not None,
        path=None if walk.path is None else kernel_text(walk.path),
        path_cut=walk.path_cut,
        flags=walk.flags,
        start=None,
        root=None,
        result=joined.result,
        tries=joined.tries,
        stack=stack,
    )
