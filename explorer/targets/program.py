"""Open what the user named: from a :class:`TargetSpec` to a drgn ``Program`` that reads a Linux kernel."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import drgn

from explorer.targets import dumps, running
from explorer.targets.detect import detect_target
from explorer.targets.drgn_calls import (
    capture_log,
    drgn_errors,
    fault_user_half,
    map_kernel_image,
    new_program,
    own_vmcoreinfo,
    physical_reader,
    with_libkdumpfile,
)
from explorer.targets.dumps import (
    COMPRESSED,
    DUMPS,
    RANGED,
    ElfCore,
    Extents,
    Format,
    Unpacking,
    decompress,
    file_errors,
    hide_absent,
    open_file,
    rarely_read,
    read_elf_core,
    segment_reader,
    sniff,
    stored_ranges,
)
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.spec import Progress, TargetSpec, no_progress
from explorer.targets.vmcoreinfo import VmcoreInfo

__all__ = ("detect_target", "open_program")

#: Without the last line libkdumpfile looks for the page tables to count their levels, and reads nothing without them.
_ANY_VMCOREINFO = (
    b"OSRELEASE=6.12.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff81000000\n"
    b"NUMBER(pgtable_l5_enabled)=0\n"
)
#: Of makedumpfile's dump level: pages of users, and those that it takes for such on kernels that it does not know.
_USER_PAGES = 8
_FILTERED_KDUMP = (
    "makedumpfile filtered this dump (level {}), and may have dropped pages of the kernel with those of users: "
    "take the next one with -d 23"
)
_LEFT_OUT = "makedumpfile left {} of {} out of this dump"
_FILTERED_ELF = (
    _LEFT_OUT + ", and may have dropped pages of the kernel with those of users: take the next one with -d 23"
)
_INCOMPLETE = "makedumpfile marked this dump incomplete (it ran out of space)"
_TAKEN_LIVE = "{} files are written while the kernel runs: what is in it need not be of one moment"
#: Headers and notes of the sample have less.
_SAMPLE_HEADERS = 1 << 16
_NEITHER = "neither an ELF nor a kdump-compressed dump"


def open_program(
    spec: TargetSpec,
    *,
    vmcoreinfo: bytes | None = None,
    ram_below_4g: int | None = None,
    progress: Progress | None = None,
) -> OpenProgram:
    """Open a kernel. Raises :class:`TargetError` for whatever keeps it from being read.

    :param vmcoreinfo: VMCOREINFO text (``--vmcoreinfo FILE``) that replaces the target's own.
    :param ram_below_4g: bytes of a physical memory image that lie below 4 GiB (``--ram-below-4g``).
    """
    with file_errors(spec.text):
        return _open(spec, vmcoreinfo, ram_below_4g, progress or no_progress)


def _open(
    spec: TargetSpec, vmcoreinfo: bytes | None, ram_below_4g: int | None, report: Progress
) -> OpenProgram:
    given = VmcoreInfo.parse(_text_of(vmcoreinfo)) if vmcoreinfo is not None else None
    if spec.kind == "live":
        return running.open_running(spec, given)
    if spec.kind in ("vmcore", "sample") and spec.path is not None:
        return _open_vmcore(spec, spec.path, given, report)
    if spec.kind == "qemu" and spec.address is not None:
        from explorer.targets.qemu import open_qemu

        guest = open_qemu(spec.address, given, report)
        return OpenProgram(
            guest.prog,
            "qemu",
            spec.text,
            guest.vmcoreinfo,
            not guest.running,
            guest.notes,
            closers=[guest.release],
        )
    if spec.kind == "physmem" and spec.path is not None:
        from explorer.targets.dumps import open_physmem

        image = open_physmem(spec.path, given, ram_below_4g, report)
        return OpenProgram(
            image.prog, "physmem", spec.text, image.vmcoreinfo, True, image.notes, closers=[image.release]
        )
    if spec.kind == "snapshot":
        raise TargetError(f"{spec.text}: a saved snapshot, not a kernel")
    if spec.kind == "recording":
        raise TargetError(f"{spec.text}: a recording, not a kernel")
    if spec.kind == "proc":
        raise TargetError("proc: what /proc tells, not a kernel's memory: say live for that")
    if spec.kind == "trace":
        raise TargetError(f"{spec.text}: a trace of lookups, which has no tasks: open shows it")
    raise TargetError(f"{spec.text}: cannot be opened")


def _text_of(data: bytes) -> bytes:
    """The text within what ``--vmcoreinfo`` may be given: the text itself, or the ELF note around it."""
    return data[max(data.find(b"OSRELEASE="), 0) :].split(b"\0", 1)[0]


def _open_vmcore(spec: TargetSpec, path: Path, given: VmcoreInfo | None, progress: Progress) -> OpenProgram:
    name = spec.text
    dump = _sample_file(path, name) if spec.kind == "sample" else _plain_file(path, name, progress)
    try:
        form = sniff(os.pread(dump.file.fileno(), 4096, 0))
        if form in RANGED:
            return _open_ranged(spec, dump, form, given, progress)
        core = _check_elf(dump, name) if form is Format.ELF else None
        if core is not None and core.is_physical:
            return _open_physical(spec, dump, core, given, progress)
        if core is not None:
            info = _elf_vmcoreinfo(dump, core, name, given, progress)
        else:
            info = _kdump_vmcoreinfo(dump, name, given, progress)
        prog = new_program(info)
        with capture_log(), drgn_errors(f"{name}: cannot be opened as a vmcore"):
            # drgn owns the descriptor from here on, and closes it when it fails.
            prog.set_core_dump(os.dup(dump.file.fileno()))
            if core is not None:
                hide_absent(prog, core)
                _unpack_when_read(prog, core, dump)
            fault_user_half(prog)
        info = info or own_vmcoreinfo(prog, name)
        if dump.cut_off is not None:
            map_kernel_image(prog, info)
        return OpenProgram(
            prog,
            "vmcore",
            name,
            info,
            True,
            dump.notes,
            missing_memory=dump.filtered,
            cut_off=dump.cut_off,
            is_slice=core is not None and core.is_slice,
        )
    finally:
        dump.file.close()


@dataclass
class _Dump:
    """An ELF or kdump file one can seek in, and what is said of how it came to be."""

    file: BinaryIO
    notes: list[str] = field(default_factory=list)
    #: Which bytes of it are there; ``None``: all.
    present: Extents | None = None
    #: Why some are not, as far as the containers around it tell.
    cut_off: str | None = None
    #: What its writer left out on purpose.
    filtered: str | None = None
    #: What gives the rest of it, if that begins somewhere and is not there yet.
    rest: Unpacking | None = None
    rest_begins: int = 0

    def cut(self, what: str) -> Callable[[], None]:
        """For whoever finds that ``what`` is cut off."""

        def note() -> None:
            self.cut_off = f"{what} is cut off"

        return note

    def judge(self, flagged: bool, missing: int, of: int) -> None:
        """Say why memory is missing that should be there, and how much.

        :param flagged: makedumpfile says that it is incomplete
        :param missing: bytes of memory that the file should hold and does not
        """
        why = _INCOMPLETE if flagged else self.cut_off
        if missing:
            what = f"{_bytes(missing)} of {_bytes(of)} of memory are missing"
            self.cut_off = f"{why or 'the file is cut off'}: {what}"
        elif flagged:
            self.cut_off = f"{why}: some memory is missing"
        elif why is not None:
            self.cut_off = None
            self.notes.append(f"{why}, but all of the memory is there")


def _plain_file(path: Path, name: str, progress: Progress) -> _Dump:
    """What is compressed or flattened goes to a temporary file."""
    dump = _Dump(open_file(path))
    try:
        form = sniff(os.pread(dump.file.fileno(), 4096, 0))
        if form in COMPRESSED:
            with dump.file as packed:
                cut = dump.cut(f"the {form.value} file")
                dump.file = decompress(packed, form, name, progress, cut=cut)
            dump.notes.append(f"decompressed {_size(dump.file)} to a temporary file")
            form = sniff(os.pread(dump.file.fileno(), 4096, 0))
        if form is Format.FLATTENED:
            with dump.file as flattened:
                dump.file, present = dumps.reassemble(
                    flattened, name, progress, cut=dump.cut("the flattened dump")
                )
            dump.notes.append(f"reassembled a flattened dump of {_size(dump.file)} into a temporary file")
            dump.present = None if dump.cut_off is None else present
            form = sniff(os.pread(dump.file.fileno(), 4096, 0))
        if form is Format.FLATTENED or form not in DUMPS:
            what = f"{dump.cut_off} before the dump in it begins" if dump.cut_off else _NEITHER
            raise TargetError(f"{name}: {what}")
    except BaseException:
        dump.file.close()
        raise
    return dump


def _sample_file(path: Path, name: str) -> _Dump:
    """The dump that came with the package, which is no stranger's: what is rarely read is unpacked when it is."""
    rest = Unpacking(open_file(path), Format.ZSTD, name)
    rest.reach(_SAMPLE_HEADERS)
    begins, end = rarely_read(rest.file, name)
    rest.reach(begins)
    note = f"decompressed {_bytes(rest.size)} of {_bytes(end)} to a temporary file"
    rest.file.truncate(end)
    return _Dump(os.fdopen(os.dup(rest.file.fileno()), "rb"), [note], rest=rest, rest_begins=begins)


def _unpack_when_read(prog: drgn.Program, core: ElfCore, dump: _Dump) -> None:
    """Let the reads of what is not there yet bring it."""
    if (rest := dump.rest) is None:
        return
    for part in core.segments:
        if part.file_offset < dump.rest_begins:
            continue

        def read(
            address: int, count: int, offset: int, physical: bool, begin: int = part.file_offset
        ) -> bytes:
            rest.reach(None)
            return os.pread(rest.file.fileno(), count, begin + offset)

        prog.add_memory_segment(part.physical_address, part.file_size, read, physical=True)
        prog.add_memory_segment(part.virtual_address, part.file_size, read)


def _size(file: BinaryIO) -> str:
    return _bytes(os.fstat(file.fileno()).st_size)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _check_elf(dump: _Dump, name: str) -> ElfCore:
    """Headers, and what of the memory that they promise is there."""
    core = read_elf_core(dump.file, name, dump.present)
    dump.judge(core.incomplete, core.cut_off, core.memory - core.left_out)
    if core.left_out:
        sizes = _bytes(core.left_out), _bytes(core.memory)
        dump.filtered = _FILTERED_ELF.format(*sizes)
        dump.notes.append(_LEFT_OUT.format(*sizes))
    return core


def _elf_vmcoreinfo(
    dump: _Dump, core: ElfCore, name: str, given: VmcoreInfo | None, progress: Progress
) -> VmcoreInfo | None:
    """What drgn has to be told about an ELF vmcore; ``None`` if its own note will do."""
    if given is not None:
        return given
    if core.vmcoreinfo is not None:
        VmcoreInfo.parse(core.vmcoreinfo)
        return None
    if core.is_process:
        raise TargetError(f"{name}: the core dump of a process, not of a kernel")
    info, address = dumps.find_kernel(
        segment_reader(dump.file, core), stored_ranges(dump.file, core), name, progress
    )
    dump.notes.append(dumps.FOUND.format(address))
    return info


def _open_physical(
    spec: TargetSpec, dump: _Dump, core: ElfCore, given: VmcoreInfo | None, progress: Progress
) -> OpenProgram:
    parts = (dumps.Part(one.physical_address, one.file_size, one.file_offset) for one in core.segments)
    try:
        ranges = dumps.FileRanges(dump.file, parts)
    except ValueError as error:
        raise TargetError(f"{spec.text}: damaged: {error}") from error
    if given is None and core.vmcoreinfo is not None:
        given = VmcoreInfo.parse(core.vmcoreinfo)
    return _open_ranges(spec, dump, ranges, given, progress)


def _open_ranged(
    spec: TargetSpec, dump: _Dump, form: Format, given: VmcoreInfo | None, progress: Progress
) -> OpenProgram:
    held = dumps.RANGED_READERS[form](dump.file, spec.text, dump.present)
    if held.missing:
        dump.judge(False, held.missing, held.memory)
    elif held.is_cut or dump.cut_off:
        dump.cut_off = (
            f"{dump.cut_off or 'the file is cut off'}: nothing says how much of the memory is missing"
        )
    opened = _open_ranges(spec, dump, held.ranges, given, progress)
    if held.taken_live:
        opened.notes.append(_TAKEN_LIVE.format(form.value))
        opened.consistent = False
    return opened


def _open_ranges(
    spec: TargetSpec, dump: _Dump, ranges: dumps.FileRanges, given: VmcoreInfo | None, progress: Progress
) -> OpenProgram:
    """Physical memory without addresses of the kernel's, and without VMCOREINFO: that is searched for."""
    info = given
    if info is None:
        try:
            info, address = dumps.find_kernel(ranges.read, ranges.stored(), spec.text, progress)
        except TargetError as error:
            if dump.cut_off is None:
                raise
            raise TargetError(
                f"{spec.text}: {dump.cut_off}, and in what is there no kernel is found: copy it again"
            ) from error
        dump.notes.append(dumps.FOUND.format(address))
    prog = new_program(info)
    with capture_log(), drgn_errors(f"{spec.text}: cannot be opened"):
        ranges.add_to(prog)
        prog.set_linux_kernel_custom(info.raw, is_live=False)
    if dump.cut_off is not None:
        map_kernel_image(prog, info)
    opened = OpenProgram(
        prog, "vmcore", spec.text, info, True, dump.notes, missing_memory=dump.filtered, cut_off=dump.cut_off
    )
    opened.closers.append(ranges.own())
    return opened


def _kdump_vmcoreinfo(
    dump: _Dump, name: str, given: VmcoreInfo | None, progress: Progress
) -> VmcoreInfo | None:
    """What drgn has to be told about a kdump-compressed dump; ``None`` if its own VMCOREINFO will do.

    Of one that is not all there, ``dump`` gets the copy that says so.
    """
    if not with_libkdumpfile():
        raise TargetError(
            f"{name}: kdump-compressed, and this drgn was built without libkdumpfile: "
            "install the drgn wheel, or convert the dump to ELF with makedumpfile -E"
        )
    header = dumps.read_kdump_header(dump.file, name, dump.present)
    if header.cut:
        with dump.file as cut:
            present = dump.present or Extents.of_file(cut.fileno())
            dump.file, pages = dumps.without_missing_pages(cut, header, present, name, progress)
        if not pages:
            raise TargetError(f"{name}: cut off before its first page of memory: nothing can be read")
        dump.judge(header.incomplete, (header.named - pages) * dumps.PAGE, header.named * dumps.PAGE)
        header = dumps.read_kdump_header(dump.file, name)
    else:
        dump.judge(header.incomplete, 0, header.pages * dumps.PAGE)
    if header.level & _USER_PAGES:
        dump.filtered = _FILTERED_KDUMP.format(header.level)
    if given is not None:
        return given
    if header.vmcoreinfo is not None:
        VmcoreInfo.parse(header.vmcoreinfo.split(b"\0", 1)[0])
        return None
    # Any VMCOREINFO makes libkdumpfile open it; physical memory can be read whatever it says.
    prog = new_program(VmcoreInfo.parse(_ANY_VMCOREINFO))
    with capture_log(), drgn_errors(f"{name}: cannot be opened as a kdump"):
        prog.set_core_dump(os.dup(dump.file.fileno()))
    info, address = dumps.find_kernel(
        physical_reader(prog), dumps.dumped_ranges(dump.file, header), name, progress
    )
    dump.notes.append(dumps.FOUND.format(address))
    return info
