"""Mutators of recordings: any byte, and records that are sealed again after the damage."""

from __future__ import annotations

import random
from collections.abc import Callable

from explorer.recording.format import (
    FORMAT_VERSION,
    MAGIC,
    PREAMBLE,
    RECORD_HEAD,
    RecordHead,
    RecordType,
    dictionary_of,
    pack_record,
    parse_head,
    unpack_payload,
)

from .bases import Bases
from .formats import FileCase, changed_json, mutate_bytes

__all__ = ("RECORDING_MUTATORS", "plain_records")


def _recording_bytes(bases: Bases, rng: random.Random) -> FileCase:
    """Any byte of a recording; its checksums notice most of it."""
    return FileCase(mutate_bytes(bases.recording(), rng), ".nxrec")


def _recording_sealed(bases: Bases, rng: random.Random) -> FileCase:
    """Records whose content is damaged and whose checksums are right: a stranger's recording."""
    documents = plain_records(bases.recording())
    out = [PREAMBLE.pack(MAGIC, FORMAT_VERSION, 0)]
    wanted = set(rng.sample(range(len(documents)), min(2, len(documents))))
    dictionary = None
    for number, (head, plain) in enumerate(documents):
        if number in wanted:
            plain = mutate_bytes(plain, rng) if rng.random() < 0.3 else changed_json(plain, rng)
        kind = RecordType(head.type)
        out.append(
            pack_record(
                kind, head.segment, head.time_ns, plain, dictionary if kind is RecordType.DELTA else None
            )
        )
        if kind is RecordType.KEY:
            dictionary = dictionary_of(plain)
        if rng.random() < 0.02:
            out.append(out[-1])
    return FileCase(b"".join(out), ".nxrec")


def plain_records(content: bytes) -> list[tuple[RecordHead, bytes]]:
    """The records of a sound recording but its index, unpacked."""
    found, at, dictionary = [], PREAMBLE.size, None
    while at + RECORD_HEAD.size <= len(content):
        head = parse_head(content[at : at + RECORD_HEAD.size])
        payload = content[at + RECORD_HEAD.size : at + RECORD_HEAD.size + head.length]
        if head.type == RecordType.INDEX:
            break
        plain = unpack_payload(head, payload, dictionary if head.type == RecordType.DELTA else None)
        if head.type == RecordType.KEY:
            dictionary = dictionary_of(plain)
        found.append((head, plain))
        at += RECORD_HEAD.size + head.length
    return found


RECORDING_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {
    "recording-bytes": _recording_bytes,
    "recording-sealed": _recording_sealed,
}
