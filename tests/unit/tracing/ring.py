"""Pages of a ring buffer as the kernel lays them out, for tests: a writer beside the reader."""

from __future__ import annotations

import struct

__all__ = (
    "COMMIT_SIZE",
    "DATA_AT",
    "FORMATS",
    "STACK_FORMAT",
    "absolute",
    "end",
    "event",
    "page",
    "stack",
    "walk",
)

COMMIT_SIZE, DATA_AT = 8, 16
_COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)
WALK, LOOK, OPEN, PATH, STACK = 1672, 1673, 1675, 1676, 4


def _format(name: str, number: int, *fields: tuple[str, int, int]) -> str:
    lines = "".join(
        f"\tfield:{what};\toffset:{at};\tsize:{size};\tsigned:{int('loc' in what)};\n"
        for what, at, size in fields
    )
    return f'name: {name}\nID: {number}\nformat:\n{_COMMON}{lines}\nprint fmt: "x"\n'


_ENTRY = (("unsigned long __probe_func", 8, 8), ("unsigned long __probe_ret_ip", 16, 8))
FORMATS = {
    "walk": _format(
        "walk", WALK, *_ENTRY, ("u64 head[]", 24, 256), ("u64 start", 280, 8), ("u64 root", 288, 8),
        ("u32 flags", 296, 4), ("u64 nd", 300, 8), ("__data_loc char[] comm", 308, 4),
    ),
    "path": _format("path", PATH, *_ENTRY, ("__data_loc char[] path", 24, 4), ("u64 nd", 28, 8)),
    "look": _format("look", LOOK, *_ENTRY, ("u64 result", 24, 8), ("u64 nd", 32, 8)),
    "open": _format("open", OPEN, *_ENTRY, ("u64 result", 24, 8), ("u64 nd", 32, 8)),
}  # fmt: skip
STACK_FORMAT = _format("kernel_stack", STACK, ("int size", 8, 4), ("unsigned long caller[8]", 16, 64))


def _common(kind: int, pid: int) -> bytes:
    return struct.pack("<HBBi", kind, 0, 0, pid)


def walk(
    pid: int, nd: int, path: bytes, *, start: int = 0x1000, root: int = 0x1000, comm: bytes = b"k"
) -> bytes:
    """An event ``walk``, which has the beginning of the path."""
    text = comm + b"\0"
    head = struct.pack("<QQ256sQQIQI", 1, 2, path + b"\0", start, root, 0x101, nd, len(text) << 16 | 312)
    return _common(WALK, pid) + head + text


def path_event(pid: int, nd: int, path: bytes) -> bytes:
    """An event ``path``."""
    text = path + b"\0"
    return _common(PATH, pid) + struct.pack("<QQIQ", 1, 2, len(text) << 16 | 36, nd) + text


def stack(pid: int, *callers: int) -> bytes:
    """The event ``kernel_stack`` behind it."""
    return _common(STACK, pid) + struct.pack(f"<ii{len(callers)}Q", len(callers), 0, *callers)


def end(pid: int, nd: int, result: int, kind: int = LOOK) -> bytes:
    """An event ``look`` or ``open``."""
    return _common(kind, pid) + struct.pack("<QQQQ", 1, 2, result & (1 << 64) - 1, nd)


def event(data: bytes, delta: int = 1) -> bytes:
    """An event in its page: short ones with their length in the word, others behind it."""
    data += bytes(-len(data) % 4)
    if len(data) <= 28 * 4:
        return struct.pack("<I", delta << 5 | len(data) // 4) + data
    return struct.pack("<II", delta << 5, len(data) + 4) + data


def absolute(kind: int, time: int) -> bytes:
    """A time stamp (31) or an extension of the time (30)."""
    return struct.pack("<II", (time & (1 << 27) - 1) << 5 | kind, time >> 27)


def page(time: int, *parts: bytes, flags: int = 0, stored: int | None = None, size: int = 4096) -> bytes:
    """A page: what is behind the last event is what the page had before."""
    data = b"".join(parts)
    tail = b"" if stored is None else struct.pack("<Q", stored)
    whole = struct.pack("<QQ", time, len(data) | flags) + data + tail
    return whole + b"\xaa" * (size - len(whole))
