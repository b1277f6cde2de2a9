"""Calls into drgn: one kind of error out, and its log kept off the terminal."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator

import drgn

from explorer.targets.errors import TargetError
from explorer.targets.vmcoreinfo import PhysicalRead, VmcoreInfo

__all__ = (
    "capture_log",
    "drgn_errors",
    "fault_user_half",
    "map_kernel_image",
    "new_program",
    "own_vmcoreinfo",
    "physical_reader",
    "with_libkdumpfile",
)

#: Below this there is no kernel: the lower half of the address space with five-level page tables.
_USER_HALF = 1 << 56

_LOGGER = logging.getLogger("drgn")
# Without a handler, Python prints warnings on stderr, across the screen.
_LOGGER.addHandler(logging.NullHandler())


@contextlib.contextmanager
def drgn_errors(what: str) -> Iterator[None]:
    """Turn what drgn and libkdumpfile raise (``Exception`` itself, even) into a :class:`TargetError`."""
    try:
        yield
    except TargetError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise TargetError(f"{what}: {detail}") from error


class _Collect(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def capture_log() -> Iterator[list[str]]:
    """Collect what drgn logs, down to debug; afterwards, listeners get the levels they asked for."""
    collect = _Collect()
    handlers, level, propagate = _LOGGER.handlers, _LOGGER.level, _LOGGER.propagate
    _LOGGER.handlers, _LOGGER.propagate = [collect], False
    _LOGGER.setLevel(logging.DEBUG)
    try:
        yield collect.messages
    finally:
        _LOGGER.handlers, _LOGGER.propagate = handlers, propagate
        _LOGGER.setLevel(level)
        for record in collect.records:
            if _LOGGER.isEnabledFor(record.levelno):
                _LOGGER.handle(record)


def fault_user_half(prog: drgn.Program) -> None:
    """Let virtual addresses of the user half fault, as they do in the kernel's own page tables.

    The ``PT_LOAD``\\ s of QEMU's ELF dumps have ``p_vaddr == p_paddr``: drgn maps physical memory at
    virtual address 0, and a NULL pointer reads the BIOS interrupt table.
    """

    def fault(address: int, count: int, offset: int, physical: bool) -> bytes:
        raise drgn.FaultError("not a kernel address", address)

    prog.add_memory_segment(0, _USER_HALF, fault)


#: ``__START_KERNEL_map``, and where modules begin with KASLR: arch/x86/include/asm/page_64_types.h
_IMAGE = 0xFFFFFFFF80000000
_IMAGE_SIZE = 1 << 30
_PHYSICAL_SPACE = 1 << 52


def map_kernel_image(prog: drgn.Program, info: VmcoreInfo) -> None:
    """Read the kernel's image without page tables, as ``__phys_addr_nodebug()`` computes: for a dump without some.

    They lie where the kernel began to allocate, at the end of memory: a dump that is cut off lacks these first.
    """
    phys_base = info.numbers.get("phys_base")
    if phys_base is None:
        return
    shift = phys_base - _IMAGE

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        if not 0 <= address + shift < _PHYSICAL_SPACE:  # below the image, or the number is not true
            raise drgn.FaultError("not in the kernel's image", address)
        data: bytes = prog.read(address + shift, count, True)
        return data

    prog.add_memory_segment(_IMAGE, _IMAGE_SIZE, read)


def physical_reader(prog: drgn.Program) -> PhysicalRead:
    """Physical memory of an open program as a :class:`~explorer.targets.vmcoreinfo.PhysicalRead`."""

    def read(address: int, size: int) -> bytes | None:
        try:
            data: bytes = prog.read(address, size, True)
        except (drgn.FaultError, OSError):
            return None
        return data

    return read


def with_libkdumpfile() -> bool:
    """Whether this drgn can read kdump-compressed dumps (its wheels can)."""
    return bool(getattr(importlib.import_module("_drgn"), "_with_libkdumpfile", False))


def new_program(info: VmcoreInfo | None) -> drgn.Program:
    """A program without a target; the platform is given, since libkdumpfile misses it in QEMU's kdumps."""
    with drgn_errors("VMCOREINFO cannot be used (give the right one with --vmcoreinfo)"):
        return drgn.Program(
            drgn.Platform(drgn.Architecture.X86_64), vmcoreinfo=info.raw if info is not None else None
        )


def own_vmcoreinfo(prog: drgn.Program, name: str) -> VmcoreInfo:
    """The VMCOREINFO that drgn found by itself."""
    with drgn_errors(f"{name}: its VMCOREINFO cannot be read"):
        return VmcoreInfo.parse(prog["VMCOREINFO"].to_bytes_().split(b"\0", 1)[0])
