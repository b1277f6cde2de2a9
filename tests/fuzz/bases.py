"""What the mutators start from: the committed slices, open and warm, and files made from them."""

from __future__ import annotations

import functools
import io
import os
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import drgn
import zstandard

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.codec.snapshots import write_json, write_jsonl
from explorer.model import Snapshot
from explorer.plugin import load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.dumps.elfcore import read_elf_core
from explorer.targets.kernel import OpenKernel, OpenOptions, open_kernel
from tests.conftest import FIXTURES
from tests.foreign import lime_header, virtualbox_headers
from tests.unit.recordings import make_snapshots, small, write_recording

from .sites import Sites, find_sites

__all__ = ("SMALLEST", "Bases", "WarmKernel", "flatten", "kdump_of")

_PAGE = 4096
#: The smallest slice: what whole files are made from.
SMALLEST = "rfc-v1"


@dataclass(frozen=True, slots=True)
class WarmKernel:
    """A slice with types attached: a case adds its damage in a process of its own."""

    name: str
    kernel: OpenKernel
    snapshot: Snapshot
    pages: list[int]
    """Physical addresses."""
    direct_map: int
    sites: Sites

    @property
    def prog(self) -> drgn.Program:
        return self.kernel.prog


class Bases:
    """Base inputs, each made when it is first asked for, in a directory of this process."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="nx-fuzz-")
        self.path = Path(self._directory.name)
        os.environ["XDG_CACHE_HOME"] = str(self.path / "cache")

    def close(self) -> None:
        self._directory.cleanup()

    @functools.cache  # noqa: B019 - one instance a process
    def elf(self, name: str) -> bytes:
        """The slice as a plain ELF vmcore."""
        with FIXTURES[name].open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file).read()

    @functools.cache  # noqa: B019
    def elf_path(self, name: str) -> Path:
        path = self.path / f"{name}.elf"
        path.write_bytes(self.elf(name))
        return path

    @functools.cache  # noqa: B019
    def warm(self, name: str) -> WarmKernel:
        """Open, captured once: types are made, and what a capture caches of memory is forgotten again."""
        path = self.elf_path(name)
        kernel = open_kernel(detect_target(str(path)), OpenOptions())
        plugins = load_plugins().plugins
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))
        with path.open("rb") as file:
            segments = read_elf_core(file, name).segments
        pages = [
            page
            for part in segments
            for page in range(part.physical_address, part.physical_address + part.file_size, _PAGE)
        ]
        direct_map = segments[0].virtual_address - segments[0].physical_address
        sites = find_sites(kernel.prog, snapshot)
        kernel.types.modules.forget()
        return WarmKernel(name, kernel, snapshot, sorted(pages), direct_map, sites)

    @functools.cache  # noqa: B019
    def kdump(self) -> bytes:
        return kdump_of(self.elf_path(SMALLEST))

    @functools.cache  # noqa: B019
    def lime(self) -> bytes:
        ranges, memory = self._physical()
        parts = zip(ranges, memory, strict=True)
        return b"".join(lime_header(first, end) + data for (first, end, _), data in parts)

    @functools.cache  # noqa: B019
    def physical_core(self) -> bytes:
        """A core without virtual addresses, as VirtualBox writes it."""
        ranges, memory = self._physical()
        return virtualbox_headers(ranges) + b"".join(memory)

    def _physical(self) -> tuple[list[tuple[int, int, int]], list[bytes]]:
        content, path = self.elf(SMALLEST), self.elf_path(SMALLEST)
        with path.open("rb") as file:
            segments = read_elf_core(file, SMALLEST).segments
        ranges = sorted(
            (part.physical_address, part.physical_address + part.file_size, part.file_offset)
            for part in segments
        )
        return ranges, [content[offset : offset + end - first] for first, end, offset in ranges]

    @functools.cache  # noqa: B019
    def flattened(self) -> bytes:
        return flatten(self.kdump())

    @functools.cache  # noqa: B019
    def snapshot_json(self, name: str) -> bytes:
        out = io.BytesIO()
        write_json(self.warm(name).snapshot, out)
        return out.getvalue()

    @functools.cache  # noqa: B019
    def snapshot_lines(self, name: str) -> bytes:
        out = io.BytesIO()
        write_jsonl(self.warm(name).snapshot, out)
        return out.getvalue()

    @functools.cache  # noqa: B019
    def cache_file(self, name: str) -> tuple[Path, bytes]:
        """The type cache that opening the slice has left."""
        kernel = self.warm(name).kernel
        path = Path(os.environ["XDG_CACHE_HOME"], "nullfs-explorer", f"{kernel.types.build_id}.nxcache")
        return path, path.read_bytes()

    @functools.cache  # noqa: B019
    def snapshot_path(self, name: str) -> Path:
        path = self.path / f"{name}.json"
        path.write_bytes(self.snapshot_json(name))
        return path

    @functools.cache  # noqa: B019
    def recording(self) -> bytes:
        """A short recording of a kernel that changes from frame to frame."""
        path = self.path / "base.nxrec"
        write_recording(path, make_snapshots(small(self.warm(SMALLEST).snapshot, 20), 12))
        return path.read_bytes()

    def vmcoreinfo(self, name: str) -> bytes:
        return self.warm(name).kernel.program.vmcoreinfo.raw


def kdump_of(path: Path) -> bytes:
    """An ELF vmcore's pages as makedumpfile compresses them: headers, two bitmaps, descriptors, zlib pages."""
    with path.open("rb") as file:
        core = read_elf_core(file, str(path))
    content = path.read_bytes()
    pages = {
        part.physical_address + at: content[part.file_offset + at : part.file_offset + at + _PAGE]
        for part in core.segments
        for at in range(0, part.file_size, _PAGE)
    }
    max_mapnr = max(pages) // _PAGE + 1
    bitmap = bytearray((max_mapnr + 7) // 8)
    for physical in pages:
        bitmap[physical // _PAGE // 8] |= 1 << physical // _PAGE % 8
    bitmap += bytes(-len(bitmap) % _PAGE)
    blocks = 2 * len(bitmap) // _PAGE
    header = bytearray(_PAGE)
    struct.pack_into("<8si", header, 0, b"KDUMP   ", 6)
    header[12 + 4 * 65 : 12 + 4 * 65 + 6] = b"x86_64"
    struct.pack_into("<IiiIII", header, 424, 1, _PAGE, 1, blocks, min(max_mapnr, 2**32 - 1), 0)
    struct.pack_into("<i", header, 460, 1)
    info = core.vmcoreinfo or b""
    note = struct.pack("<III", 11, len(info), 0) + b"VMCOREINFO\0\0" + info + bytes(-len(info) % 4)
    sub = bytearray(_PAGE)
    struct.pack_into(
        "<QiiQQ6Q", sub, 0, 0, 0, 0, 0, max_mapnr, _PAGE + 536, len(info), _PAGE + 512, len(note), 0, 0
    )
    struct.pack_into("<QQQ", sub, 80, 0, max_mapnr, max_mapnr)
    sub[512 : 512 + len(note)] = note
    at = (2 + blocks) * _PAGE + 24 * len(pages)
    descriptors, data = bytearray(), bytearray()
    for _, page in sorted(pages.items()):
        packed = zlib.compress(page, 1)
        descriptors += struct.pack("<QIIQ", at + len(data), len(packed), 1, 0)
        data += packed
    return bytes(header + sub + bitmap + bitmap + descriptors + data)


def flatten(content: bytes, step: int = 1 << 16) -> bytes:
    """A dump as ``makedumpfile -F`` writes it to a pipe."""
    records = [
        struct.pack(">qq", at, len(content[at : at + step])) + content[at : at + step]
        for at in range(0, len(content), step)
    ]
    head = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(_PAGE, b"\0")
    return head + b"".join(records) + struct.pack(">qq", -1, -1)
