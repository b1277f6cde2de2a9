"""Dumps as the real makedumpfile leaves them: of a guest's memory, filtered, and when the disk was full."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from explorer.capture.request import CaptureRequest
from explorer.targets.detect import detect_target
from explorer.targets.dumps.elfcore import read_elf_core, write_vmcore
from explorer.targets.kernel import open_kernel

__all__ = ("left_out", "makedumpfile", "pages_within", "proc_vmcore", "without_frame")

_PAGE = 4096
_BIOS = 0xF0000000
#: Lets a file of makedumpfile's grow to FULL_AT bytes and no further, as a file system does that is full.
_FULL_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t (*really)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    off_t full = atoll(getenv("FULL_AT")), at = lseek(fd, 0, SEEK_CUR);
    struct stat info;

    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || at < 0)
        return really(fd, data, size);
    if (at >= full) {
        errno = ENOSPC;
        return -1;
    }
    return really(fd, data, size < full - at ? size : full - at);
}
"""


def proc_vmcore(dump: Path, target: Path) -> int:
    """QEMU's ELF dump as the crash kernel's /proc/vmcore: headers in a row, VMCOREINFO, the direct map's addresses.

    Returns the first address of the direct map.
    """
    with dump.open("rb") as file, open_kernel(detect_target(str(dump))) as kernel:
        start = CaptureRequest.from_kernel(kernel).symbols.symbol_address("page_offset_base")
        assert start is not None
        base = int(kernel.prog.read_u64(start))
        ram = [part for part in read_elf_core(file, str(dump)).segments if part.physical_address < _BIOS]
        pieces = (
            (
                part.physical_address,
                base + part.physical_address,
                os.pread(file.fileno(), part.file_size, part.file_offset),
            )
            for part in ram
        )
        write_vmcore(target, kernel.program.vmcoreinfo.raw, pieces)
    return base


def makedumpfile(source: Path, target: Path, *options: str, full_at: int | None = None) -> None:
    """Run it; with ``full_at`` the disk is full when the dump has so many bytes."""
    env = dict(os.environ)
    if full_at is not None:
        library = target.with_suffix(".so")
        build = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
        subprocess.run(build, input=_FULL_DISK.encode(), check=True)
        env |= {"LD_PRELOAD": str(library), "FULL_AT": str(full_at)}
    flat = "-F" in options
    with target.open("wb") if flat else Path(os.devnull).open("wb") as out:
        command = ["makedumpfile", "-f", *options, str(source), *([] if flat else [str(target)])]
        ended = subprocess.run(command, env=env, stdout=out, stderr=subprocess.PIPE, check=False, timeout=300)
    if full_at is None:
        assert ended.returncode == 0, ended.stderr.decode()
    else:
        assert ended.returncode != 0, "the disk was not full"
        assert target.stat().st_size <= full_at


def left_out(path: Path) -> int:
    """Bytes of memory that the program headers of an ELF dump name and have nothing in the file of."""
    with path.open("rb") as file:
        count = struct.unpack_from("<H", file.read(64), 56)[0]
        headers = [struct.unpack("<IIQQQQQQ", file.read(56)) for _ in range(count)]
    return sum(memsz - filesz for kind, _, _, _, _, filesz, memsz, _ in headers if kind == 1)


def pages_within(path: Path, end: int) -> int:
    """How many pages of a kdump-compressed file have descriptor and content before its byte ``end``."""
    data = path.read_bytes()
    descriptors, bitmap = _bitmap(data)
    count = int.from_bytes(bitmap, "little").bit_count()
    found = 0
    for number in range(count):
        at = descriptors + 24 * number
        offset, size = struct.unpack_from("<QI", data, at)
        found += size > 0 and at + 24 <= end and offset + size <= end
    return found


def without_frame(path: Path, target: Path, frame: int) -> None:
    """A kdump-compressed file of which the descriptor of one page was never written."""
    data = bytearray(path.read_bytes())
    descriptors, bitmap = _bitmap(data)
    bits = int.from_bytes(bitmap, "little")
    assert bits >> frame & 1, "the page is not in the dump"
    at = descriptors + 24 * (bits & (1 << frame) - 1).bit_count()
    data[at : at + 24] = bytes(24)
    target.write_bytes(data)


def _bitmap(data: bytes | bytearray) -> tuple[int, bytes]:
    """Where the descriptors begin, and the bitmap of the pages that have one."""
    sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 432)
    descriptors = (1 + sub_blocks + bitmap_blocks) * _PAGE
    return descriptors, bytes(data[descriptors - bitmap_blocks * _PAGE // 2 : descriptors])
