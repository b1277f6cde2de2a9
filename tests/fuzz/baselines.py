"""Mutators of baselines: files that somebody keeps, edits by hand, and gets from others."""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Callable

from explorer.analysis import FoundObjects, audit_with, baseline_of, entry_of
from explorer.codec import write_baseline
from explorer.plugin import PluginSet

from .bases import Bases
from .formats import FileCase, changed_json, mutate_bytes

__all__ = ("AUDITED", "BASELINE_MUTATORS", "BASELINE_SUFFIX")

AUDITED = "isolated"
BASELINE_SUFFIX = ".baseline"


@functools.cache
def _valid(bases: Bases) -> bytes:
    """What accepts all that is found."""
    snapshot = bases.warm(AUDITED).snapshot
    findings = audit_with(PluginSet(), snapshot).findings
    found, out = FoundObjects(findings, snapshot), io.BytesIO()
    write_baseline(baseline_of(entry_of(finding, found) for finding in findings), out)
    return out.getvalue()


def _baselines(bases: Bases, rng: random.Random) -> FileCase:
    """Bytes, values, entries out of place or without end."""
    content = _valid(bases)
    match rng.randrange(6):
        case 0:
            content = mutate_bytes(content, rng)
        case 1 | 2 | 3:
            content = changed_json(content, rng)
        case 4:
            document = json.loads(content)
            some = changed_json(json.dumps(rng.choice(document["accepted"])).encode(), rng)
            document["accepted"] += [json.loads(some)] * rng.choice((1, 2, 1000))
            content = json.dumps(document).encode()
        case _:
            start = rng.choice((b"", b'{"format":"nullfs-explorer baseline","version":1,"accepted":'))
            content = start + rng.choice((b"[", b'{"a":', b"9", b" ")) * rng.randint(1, 200_000)
    return FileCase(content, BASELINE_SUFFIX)


BASELINE_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {"baselines": _baselines}
