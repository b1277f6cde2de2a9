"""A real QEMU whose CPUs never run, with a sample kernel in its memory: it costs no boot, and no processor time.

A sample has the pages that a capture reads, page tables among them. What it lacks to be found in a guest is put
there: VMCOREINFO, and the name and release by which a kernel is known as the one that it tells of.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

from explorer.targets.dumps import read_elf_core, translate
from explorer.targets.vmcoreinfo import VmcoreInfo

__all__ = ("StandingGuest", "guest_memory", "standing_guest")

_PAGE = 4096
_PIECE = 1 << 20
_QEMU = "qemu-system-x86_64"


@dataclass(frozen=True)
class StandingGuest:
    """Its QMP sockets; each serves one client at a time."""

    memory: Path
    control: Path


@cache
def guest_memory(sample: Path) -> bytes:
    """All of a guest's RAM, from a sample."""
    plain = zstandard.ZstdDecompressor().stream_reader(sample.read_bytes()).read()
    with tempfile.TemporaryFile() as file:
        file.write(plain)
        core = read_elf_core(file, sample.name)
    assert core.vmcoreinfo is not None
    info = VmcoreInfo.parse(core.vmcoreinfo)
    top = max(segment.physical_address + segment.file_size for segment in core.segments)
    memory = bytearray((top >> 20) + 2 << 20)
    used = set()
    for one in core.segments:
        content = plain[one.file_offset : one.file_offset + one.file_size]
        memory[one.physical_address : one.physical_address + one.file_size] = content
        used |= set(range(one.physical_address, one.physical_address + one.file_size, _PAGE))
    free = next(page for page in range(1 << 20, len(memory), _PAGE) if page not in used)
    memory[free : free + len(core.vmcoreinfo)] = core.vmcoreinfo
    name = info.symbols["init_uts_ns"] + info.offsets.get("uts_namespace.name", 0)
    at = translate(lambda address, size: bytes(memory[address : address + size]), info, name)
    assert at is not None and at // _PAGE * _PAGE not in used
    fields = (b"Linux", b"standing", info.osrelease.encode())
    uts = b"".join(field.ljust(65, b"\0") for field in fields)
    memory[at : at + len(uts)] = uts
    return bytes(memory)


@contextmanager
def standing_guest(directory: Path, sample: Path, **more: Any) -> Iterator[StandingGuest]:
    """Started, and stopped before its first instruction. :param more: as of ``subprocess.Popen``: its user"""
    if shutil.which(_QEMU) is None:
        pytest.skip(f"no {_QEMU} here")
    ram = directory / "ram"
    content, hole = guest_memory(sample), bytes(_PIECE)
    with ram.open("wb") as file:
        for at in range(0, len(content), _PIECE):
            piece = content[at : at + _PIECE]
            file.seek(at if piece != hole else at + _PIECE)
            file.write(piece if piece != hole else b"")
        file.truncate(len(content))
    size = len(content)
    guest = StandingGuest(directory / "memory", directory / "control")
    command = [
        *(_QEMU, "-nodefaults", "-nographic", "-S", "-M", "q35,memory-backend=ram", "-accel", "tcg"),
        *("-cpu", "Nehalem", "-m", f"{size}B"),
        *("-object", f"memory-backend-file,id=ram,mem-path={ram},size={size},share=off,readonly=off"),
    ]
    for path in (guest.memory, guest.control):
        command += ["-qmp", f"unix:{path},server=on,wait=off"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=directory, **more) as process:
        try:
            deadline = time.monotonic() + 30.0
            while not (guest.memory.exists() and guest.control.exists()):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            yield guest
        finally:
            process.kill()
