"""Mutators of files that are made to cost much: small ones that say they are large, or lead to the same bytes."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import zstandard

from explorer.recording.format import (
    FORMAT_VERSION,
    MAGIC,
    PREAMBLE,
    RECORD_HEAD,
    TRAILER,
    RecordType,
    encode_json,
    pack_record,
)
from tests.unit.ko_builder import module_bytes

from .bases import SMALLEST, Bases, flatten
from .formats import FileCase, mutate_bytes
from .recordings import plain_records

__all__ = ("CRAFTED_FILE_MUTATORS",)

_PAGE = 4096
_SIZES = (1 << 12, 1 << 16, 1 << 17, 1 << 28, 1 << 30, 1 << 31, 1 << 40, 1 << 51, 1 << 63)


def _kdump_sizes(bases: Bases, rng: random.Random) -> FileCase:
    """Pages and bitmaps by the terabyte, in headers that agree with one another."""
    out = bytearray(bases.kdump())
    blocks = struct.unpack_from("<I", out, 436)[0]
    if rng.random() < 0.5:
        start = (2 + blocks // 2) * _PAGE
        del out[start : start + blocks // 2 * _PAGE]  # one bitmap, as an early dump has
        blocks //= 2
    if rng.random() < 0.7:
        pages = rng.choice(_SIZES) + rng.choice((-1, 0, 1))
        struct.pack_into("<I", out, 440, min(pages, 2**32 - 1))
        struct.pack_into("<QQ", out, _PAGE + 88, pages, pages)
    if rng.random() < 0.5:
        blocks = min(rng.choice(_SIZES), 2**32 - 1)
    struct.pack_into("<I", out, 436, blocks)
    for _ in range(rng.randint(0, 3)):
        descriptor = (2 + blocks) * _PAGE + 24 * rng.randrange(1000)
        if descriptor + 24 <= len(out):
            struct.pack_into(
                "<QII",
                out,
                descriptor,
                rng.choice(_SIZES),
                rng.choice((1 << 31, 0, 4096)),
                1 << rng.randrange(8),
            )
    content = bytes(out)
    if rng.random() < 0.3:
        content = flatten(content)[:-16]
        content += (
            struct.pack(">qq", rng.choice(_SIZES) & (1 << 62) - 1, 4) + b"tail" + struct.pack(">qq", -1, -1)
        )
    return FileCase(content, ".kdump", ("--no-cache",))


def _elf_alias(bases: Bases, rng: random.Random) -> FileCase:
    """Thousands of segments, all of the same bytes, and nothing that says where VMCOREINFO is."""
    content = bytearray(bases.elf(SMALLEST).replace(b"VMCOREINFO\0", b"NOTHINGNEW\0"))
    count = rng.choice((2, 500, 20_000, 60_000))
    table, size = len(content), rng.choice((_PAGE, 1 << 20, len(content)))
    stride, lies = rng.choice((_PAGE, size, 1 << 30)), rng.choice((0, 0, 0, 1))
    for number in range(count):
        physical = (1 << 40) + number * stride
        held = 1 << 40 if rng.random() < lies / count else size
        content += struct.pack(
            "<IIQQQQQQ", 1, 7, 0, 0xFFFF888000000000 + physical, physical, held, max(held, size), 0
        )
    struct.pack_into("<Q", content, 32, table)
    struct.pack_into("<H", content, 56, count)
    return FileCase(bytes(content), ".elf", ("--no-cache",))


def _texts(bases: Bases, rng: random.Random) -> FileCase:
    """Texts like VMCOREINFO at the start of every page, and the kernel's own after them, or not at all."""
    content = bytearray(bases.elf(SMALLEST).replace(b"VMCOREINFO\0", b"NOTHINGNEW\0"))
    step = rng.choice((_PAGE, _PAGE, 8 * _PAGE))
    lines = (b"PAGESIZE=4096\n", b"SYMBOL(swapper_pg_dir)=%x\n" % rng.getrandbits(64), b"SYMBOL(_stext)=0\n")
    for number, at in enumerate(range(2 * _PAGE, len(content) - _PAGE, step)):
        text = b"OSRELEASE=5.%d.%d\n" % (number, rng.randrange(100)) + b"".join(lines)
        text += b"SYMBOL(init_uts_ns)=%x\n" % rng.getrandbits(
            64
        ) + b"NUMBER(phys_base)=%d\n" % rng.getrandbits(40)
        content[at : at + len(text)] = text
    return FileCase(bytes(content), ".elf", ("--no-cache",))


def _recording_bombs(bases: Bases, rng: random.Random) -> FileCase:
    """Records of few bytes that unpack to many, and heads that say more than there is."""
    count = rng.choice((1000, 1 << 20, 20 << 20))
    many = rng.choice((b"[],", b"{},", b"0,", b'"",', b"[[]],"))
    plain = b'{"schema_version":1,"why":"start","tasks":[' + many * (count // len(many)) + b"0]}"
    kinds = list(RecordType)
    records = [PREAMBLE.pack(MAGIC, FORMAT_VERSION, 0)]
    header = {"schema_version": 1, "tool_version": "1", "mode": "live", "target": "x", "step_s": 0.1}
    records.append(
        pack_record(RecordType.HEADER, 0, 0, encode_json({**header, "started_at": "2026-01-01T00:00:00Z"}))
    )
    records.append(pack_record(RecordType.SEGMENT, 0, 0, encode_json({"why": "start"})))
    bomb = pack_record(rng.choice(kinds), 0, rng.randrange(1 << 40), plain)
    records += [bomb] * rng.choice((1, 5, 40))
    if rng.random() < 0.5:
        lie = RECORD_HEAD.pack(
            rng.choice(kinds),
            0,
            0,
            rng.choice((0, 1, 2**31, 2**32 - 1)),
            rng.choice((0, 100, 2**32 - 1)),
            0,
            0,
        )
        records.insert(rng.randrange(1, len(records) + 1), lie)
    content = b"".join(records)
    if rng.random() < 0.5:
        offsets = [rng.randrange(len(content)) for _ in range(rng.choice((3, 1000)))]
        index = pack_record(RecordType.INDEX, 0, 0, encode_json({"offsets": offsets}))
        content += index + TRAILER.pack(rng.choice((len(content), len(content) // 2, 2**63)), MAGIC)
    return FileCase(content, ".nxrec")


def _modules(_: Bases, rng: random.Random) -> FileCase:
    """Kernel modules, damaged or with more in them than any has."""
    names = b"\0" + rng.randbytes(rng.choice((30, 5000, 1 << 20))).replace(b"\0", b"x" * rng.randint(1, 2))
    many = rng.choice((10, 1000, 1 << 16, 1 << 20))
    info = rng.choice(
        (b"name=x\0license=\x1b]0;owned\a\0vermagic=\xe2\x80\xae\0", b"a=" * 500_000, b"=\0" * 1000)
    )
    content = module_bytes(
        "filp_open",
        modinfo=info,
        order=rng.choice("<>"),
        symbol_table=names,
        symbols_at=(rng.randrange(len(names)) if rng.random() < 0.01 else at for at in range(many)),
    )
    if rng.random() < 0.7:
        content = mutate_bytes(content, rng, 4, rng.choice((64, len(content))))
    if rng.random() < 0.2:
        content = zstandard.compress(content)
        content = mutate_bytes(content, rng, 4) if rng.random() < 0.5 else content
    return FileCase(content, ".ko")


_PARTS = (
    "/",
    "a",
    "0",
    "-1",
    " ",
    "1.",
    "(",
    "[",
    "\x1b",
    "\u65e5",
    "ab ",
    "0x",
    "%",
    "::",
    "\udcff",
    "*",
    "\\",
    "'",
    ".0",
)
_FIELDS = (
    ("comm", "full_name"), ("path", "source"), ("name", "value", "text"), ("release", "cmdline", "why", "what"), ()
)  # fmt: skip


def _endless_texts(bases: Bases, rng: random.Random) -> FileCase:
    """Names without end, in a snapshot or in the frames of a recording: of the sort on which searches begin anew."""
    text = rng.choice(_PARTS) * rng.choice((2000, 20_000, 100_000)) + rng.choice(("", "x"))
    fields, budget = rng.choice(_FIELDS), [8_000_000]
    if rng.random() < 0.5:
        document = _with_texts(json.loads(bases.snapshot_json("isolated")), text, fields, budget)
        return FileCase(json.dumps(document).encode(), ".json", ("--no-cache",))
    out = [PREAMBLE.pack(MAGIC, FORMAT_VERSION, 0)]
    for head, plain in plain_records(bases.recording()):
        if head.type == RecordType.KEY:
            document = _with_texts(json.loads(plain), text, fields, budget)
            document["noise"] = rng.randbytes(
                40_000
            ).hex()  # without it the record would be too small for what it gives
            plain = encode_json(document)
        if head.type != RecordType.DELTA:
            out += [pack_record(RecordType(head.type), head.segment, head.time_ns, plain)] * rng.randint(1, 2)
    return FileCase(b"".join(out), ".nxrec")


def _with_texts(value: Any, text: str, fields: tuple[str, ...], budget: list[int]) -> Any:
    """The document with that text in place of those of some fields, or of any, while there is budget: characters."""
    if isinstance(value, list):
        return [_with_texts(item, text, fields, budget) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        if (
            isinstance(item, str)
            and (key in fields or not fields)
            and budget[0] > 0
            and not item.startswith("0x")
        ):
            budget[0] -= len(text)
            item = text
        found[key] = _with_texts(item, text, fields, budget)
    return found


CRAFTED_FILE_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {
    "kdump-sizes": _kdump_sizes,
    "elf-alias": _elf_alias,
    "texts": _texts,
    "recording-bombs": _recording_bombs,
    "modules": _modules,
    "endless-texts": _endless_texts,
}
