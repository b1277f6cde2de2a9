"""Names in a slice, replaced in the memory itself: the same ones by the same ones, of the same length.

What a capture did not read byte for byte becomes zero, so that nothing else of a page goes along; so do hashes of
names, and what lies behind a name in its array. Of what it read, names are replaced where they are known to be (tasks,
dentries, control groups, the host's name), then wherever a word of the snapshot stands again, and at last whatever
else looks like text. Tables that came with the kernel (its rodata with kallsyms and BTF, those of modules) stay as
they are. The result is captured once more: it must show the redacted snapshot of the original, or it is not written.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

import drgn

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.capture import CaptureRequest, capture_snapshot
from explorer.capture.memory import INLINE_NAME, Decoder, find_member, probe_layout
from explorer.capture.paths import probe_dcache
from explorer.capture.tasks import cgroup_names
from explorer.model import PathRef, Snapshot
from explorer.plugin import Plugin
from explorer.targets import OpenOptions, TargetError, TargetSpec, VmcoreInfo, open_kernel

from .cut import RecordedSlice, Slice
from .pages import SliceMemory

__all__ = ("redact_slice",)

_PAGE = 4096
_NOT_DONE = bytes(_PAGE)
_COMM = 16
_UTS_FIELD = 65
_OWN_UTS = ("sysname", "release", "version", "machine")
_MAX_STRING = 4096
_NAME_MAX = 255
#: Longer names are not in the dentry itself (DNAME_INLINE_LEN, of all configurations the smallest).
_INLINE = 31
_MAX_ANCESTORS = 256
_MAX_KEPT = 1 << 28
_WORD = re.compile(rb"[0-9A-Za-z]{4,}")
#: No pointer and hardly a number has six printable bytes side by side.
_TEXT = 6
_SHORTEST = 4
_LOG_ID = 8


def redact_slice(recorded: RecordedSlice, plugins: Sequence[Plugin]) -> Slice:
    """The slice with other names.

    :raises TargetError: if the result would not show the same kernel, or a name is left in it
    :raises RedactionError: if there are not enough words of some length, or too many names that are no text
    """
    original = recorded.piece
    names = Redactor([original.snapshot.kernel.release])
    expected = redact_snapshot(original.snapshot, plugins, names)
    info = VmcoreInfo.parse(original.vmcoreinfo)
    memory = SliceMemory(recorded.prog, recorded.types, _touched(recorded), original.direct_map, info)
    kept = _kept_pages(memory)
    own = _protect_own(memory)
    _redact_log(memory, names, original.snapshot)
    _redact_known(memory, names, recorded)
    _redact_words(memory, names, kept)
    pages = {address: bytes(page) for address, page in memory.pages.items()}
    piece = dataclasses.replace(original, pages=pages, snapshot=expected)
    target = original.snapshot.capture.source.target
    left = names.leaks_in_memory(list(_changed(pages, kept)), own)
    if left:
        raise TargetError(
            f"{target}: {len(left)} names would be left in the slice: not written; please report it"
        )
    difference = _difference(_capture_again(piece, plugins), expected)
    if difference:
        why = "the kernel is damaged" if expected.errors else "please report it"
        raise TargetError(
            f"{target}: the redacted slice would not show the same kernel ({difference}): not written; {why}"
        )
    return piece


def _capture_again(piece: Slice, plugins: Sequence[Plugin]) -> Snapshot:
    """What anybody will see who opens the slice."""
    with tempfile.TemporaryFile() as file:
        piece.write(cast("BinaryIO", file))
        file.flush()
        spec = TargetSpec("vmcore", "the redacted slice", path=Path(f"/proc/self/fd/{file.fileno()}"))
        with open_kernel(spec, OpenOptions(use_cache=False)) as kernel:
            return capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))


def _touched(recorded: RecordedSlice) -> dict[int, bytearray]:
    """The pages, with zeros for every byte that was not asked for."""
    pages = {}
    for address, page in recorded.piece.pages.items():
        wanted = recorded.touched[address]
        pages[address] = bytearray(byte if want else 0 for byte, want in zip(page, wanted, strict=True))
    return pages


def _kept_pages(memory: SliceMemory) -> set[int]:
    """Physical pages of tables that came with the kernel and its modules."""
    kept: set[int] = set()
    find = memory.types.symbol_address
    start, end = find("__start_rodata"), find("__end_rodata")
    if start is None or end is None:
        raise TargetError("the kernel does not say where its read-only data is: its slice cannot be redacted")
    spans = [(start, end - start)]
    for module in memory.types.modules.modules():
        kallsyms = drgn.Object(memory.prog, "struct module", address=module.address).kallsyms
        if _value(kallsyms):
            count = _value(kallsyms.num_symtab)
            spans += [(_value(kallsyms.symtab), 24 * count), (_value(kallsyms.strtab), 64 * count)]
    spans += memory.types.modules.btf_places()
    for virtual, size in spans:
        for page in range(virtual & -_PAGE, virtual + min(size, _MAX_KEPT), _PAGE):
            physical = memory.physical(page)
            if physical is not None:
                kept.add(physical & -_PAGE)
    return kept


def _protect_own(memory: SliceMemory) -> list[bytes]:
    """Leave the kernel's release and the names of its modules as they are; returns them."""
    uts = memory.prog["init_uts_ns"].name
    places = [(uts.member_(name).address_ or 0, _UTS_FIELD) for name in _OWN_UTS]
    name = memory.prog.type("struct module").member("name")
    size = drgn.sizeof(name.type)
    places += [(module.address + name.offset, size) for module in memory.types.modules.modules()]
    own = []
    for address, size in places:
        text = memory.read(address, size).split(b"\0", 1)[0]
        memory.protect(address, len(text))
        own.append(text)
    return own


def _redact_log(memory: SliceMemory, names: Redactor, snapshot: Snapshot) -> None:
    """Of the kernel's log, the lines that a snapshot shows are left."""
    if memory.types.symbol_address("prb") is None:
        return
    try:
        ring = memory.prog["prb"].text_data_ring
    except drgn.FaultError:
        return  # where the log lies is not there: it is in no slice
    start, size = _value(ring.data), 1 << min(_value(ring.size_bits), 24)
    text = memory.read(start, size)
    if not start or len(text) != size:
        return
    left = bytearray(size)
    for line in snapshot.log:
        words = line.partition("] ")[2].encode("utf-8", "surrogateescape")
        at = text.find(words)
        while at >= 0:
            first = max(0, at - at % _LOG_ID - _LOG_ID)
            last = at + len(words)
            left[first:last] = text[first:at] + names.raw(words)
            at = text.find(words, last)
    memory.write(start, bytes(left))


def _redact_known(memory: SliceMemory, names: Redactor, recorded: RecordedSlice) -> None:
    """Names of tasks, dentries, control groups and hosts: where short ones are changed, too."""
    prog = memory.prog
    comm = drgn.offsetof(prog.type("struct task_struct"), "comm")
    for task in recorded.piece.snapshot.tasks:
        _redact_array(memory, names, task.address + comm, _COMM)
        if task.walk is not None:
            _forget_hash(memory, task.address)
    shape = _DentryShape.of(prog)
    for dentry in _dentries(memory, recorded):
        _redact_dentry(memory, names, shape, dentry)
    devnames = {
        _value(drgn.Object(prog, "struct mount", address=mount.address).mnt_devname)
        for mount in recorded.piece.snapshot.mounts
        if mount.source is not None
    }
    for devname in devnames:
        _redact_string(memory, names, devname, _MAX_STRING)
    for name in cgroup_names(prog, (task.address for task in recorded.piece.snapshot.tasks)):
        _redact_string(memory, names, name, _NAME_MAX + 1)
    uts = prog["init_uts_ns"].name
    for member in (uts.nodename, uts.domainname):
        _redact_array(memory, names, member.address_ or 0, _UTS_FIELD)


@dataclass(frozen=True, slots=True)
class _DentryShape:
    """Offsets in a ``struct dentry``, and the size of the array in it for a short name."""

    pprev: int
    hash: int
    length: int
    name: int
    inline: int
    inline_size: int

    @classmethod
    def of(cls, prog: drgn.Program) -> _DentryShape:
        dentry = prog.type("struct dentry")
        array = find_member(dentry, *(name.removesuffix("[]") for name in INLINE_NAME))
        assert array is not None  # the layout was probed
        pprev, hash_, length, name = (
            drgn.offsetof(dentry, member)
            for member in ("d_hash.pprev", "d_name.hash", "d_name.len", "d_name.name")
        )
        return cls(pprev, hash_, length, name, array.offset, drgn.sizeof(array.type))


def _redact_dentry(memory: SliceMemory, names: Redactor, shape: _DentryShape, dentry: int) -> None:
    """Its name, what an array for short ones holds besides, and both traces of the name's hash.

    The hash is of the name and the parent's address: whoever guesses a name can tell by it. So can he by where the
    hash table is entered; a dentry only has to be in it still, or not.
    """
    length = int.from_bytes(memory.read(dentry + shape.length, 4), "little")
    name = int.from_bytes(memory.read(dentry + shape.name, 8), "little")
    if length > _NAME_MAX:
        return
    inline = dentry + shape.inline
    text = names.raw(memory.read(name, length))
    if name == inline:
        memory.write(inline, text.ljust(shape.inline_size, b"\0"))
    else:
        memory.write(name, text + b"\0")
        memory.write(inline, bytes(shape.inline_size))
    memory.write(dentry + shape.hash, bytes(4))
    if any(memory.read(dentry + shape.pprev, 8)):
        memory.write(dentry + shape.pprev, memory.direct_map.to_bytes(8, "little"))


def _forget_hash(memory: SliceMemory, task: int) -> None:
    """A path walk has the hash of the component it looks up."""
    prog = memory.prog
    at = task + drgn.offsetof(prog.type("struct task_struct"), "nameidata")
    nameidata = int.from_bytes(memory.read(at, 8), "little")
    memory.write(nameidata + drgn.offsetof(prog.type("struct nameidata"), "last.hash"), bytes(4))


def _redact_array(memory: SliceMemory, names: Redactor, address: int, size: int) -> None:
    """A string in an array of so many bytes, and what an earlier one has left behind it."""
    text = names.raw(memory.read(address, size).split(b"\0", 1)[0])
    memory.write(address, text.ljust(size, b"\0"))


def _redact_string(memory: SliceMemory, names: Redactor, address: int, size: int) -> None:
    """A string of at most so many bytes."""
    memory.write(address, names.raw(memory.read(address, size).split(b"\0", 1)[0]))


def _dentries(memory: SliceMemory, recorded: RecordedSlice) -> set[int]:
    """Every dentry that was read: by how much is read of one, and those the snapshot leads to."""
    prog = memory.prog
    found: set[int] = set()
    inline = probe_dcache(prog).inline_name
    decoders: list[Decoder] = [probe_layout(prog).dentry, probe_dcache(prog).dentry]
    pointer = drgn.offsetof(prog.type("struct dentry"), "d_name.name")
    for decoder in decoders:
        for physical, size in _whole_reads(recorded.reads):
            if size == decoder.span:
                address = memory.direct_map + physical - decoder.base
                name = int.from_bytes(memory.read(address + pointer, 8), "little")
                if name == address + inline or _is_external(memory, address + pointer - 4, name):
                    found.add(address)
    return found | set(_ancestors(prog, recorded.piece.snapshot))


def _is_external(memory: SliceMemory, length_at: int, name: int) -> bool:
    """Whether what looks like a dentry has a long name elsewhere: so many bytes, then a NUL."""
    length = int.from_bytes(memory.read(length_at, 4), "little")
    if not _INLINE < length <= _NAME_MAX:
        return False
    text = memory.read(name, length + 1)
    return len(text) == length + 1 and text.find(b"\0") == length


def _whole_reads(reads: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every read, and every two that are one across the border of two pages."""
    for (address, size), (following, more) in pairwise([*reads, (0, 0)]):
        yield address, size
        if address + size == following and following % _PAGE == 0:
            yield address, size + more


def _ancestors(prog: drgn.Program, snapshot: Snapshot) -> Iterator[int]:
    refs = [ref for fs in snapshot.fs_structs for ref in (fs.root, fs.pwd)]
    refs += [ref for task in snapshot.tasks if task.walk for ref in (task.walk.root, task.walk.start)]
    refs += [setting.target for setting in snapshot.settings]
    todo = {ref.dentry for ref in refs if isinstance(ref, PathRef)}
    for mount in snapshot.mounts:
        found = drgn.Object(prog, "struct mount", address=mount.address)
        todo |= {_value(found.mnt_mountpoint), _value(found.mnt.mnt_root)}
    for dentry in todo - {0}:
        for _ in range(_MAX_ANCESTORS):
            yield dentry
            parent = _value(drgn.Object(prog, "struct dentry", address=dentry).d_parent)
            if not parent or parent == dentry:
                break
            dentry = parent


def _value(number: drgn.Object) -> int:
    """Of a number or a pointer; 0 for one that is not there: then what it leads to is not in the slice either."""
    try:
        return int(number.value_())
    except drgn.FaultError:
        return 0


def _redact_words(memory: SliceMemory, names: Redactor, kept: set[int]) -> None:
    """Texts and words of the snapshot, wherever they stand, and whatever else looks like text."""
    texts = _texts(names)
    for first, last in _runs(memory.pages, kept):
        data = bytearray(b"".join(memory.pages[page] for page in range(first, last, _PAGE)))
        done = bytearray(b"".join(memory.done.get(page, _NOT_DONE) for page in range(first, last, _PAGE)))
        for match in texts.finditer(bytes(data)):
            at, end = match.span(1)
            before = data[at - 1 : at]
            # Strings of the kernel's begin at multiples of eight; what is before them is something else.
            if not any(done[at:end]) and (at % 8 == 0 or not before.isalnum()):
                data[at:end] = names.texts[match[1]]
                done[at:end] = b"\1" * (end - at)
        for match in _WORD.finditer(bytes(data)):
            at, end = match.span()
            if not any(done[at:end]):
                data[at:end] = _replace(match[0], names)
        for at, page in enumerate(range(first, last, _PAGE)):
            memory.pages[page][:] = data[at * _PAGE : (at + 1) * _PAGE]


def _texts(names: Redactor) -> re.Pattern[bytes]:
    """Whole texts of the snapshot: some words in them are too short to be looked for by themselves."""
    wanted = sorted((text for text in names.texts if len(text) >= _SHORTEST), key=len, reverse=True)
    return re.compile(rb"(%s)(?![0-9A-Za-z])" % (b"|".join(map(re.escape, wanted)) or rb"(?!)"))


def _replace(word: bytes, names: Redactor) -> bytes:
    if word in names.replaced:
        return names.replaced[word]
    if len(word) < _TEXT or word in names.outputs:
        return word
    return names.word(word)


def _changed(pages: Mapping[int, bytes], kept: set[int]) -> Iterator[bytes]:
    """The pages that may hold names, those side by side in one."""
    for first, last in _runs(pages, kept):
        yield b"".join(pages[page] for page in range(first, last, _PAGE))


def _runs(pages: Collection[int], kept: set[int]) -> Iterator[tuple[int, int]]:
    """[first, last) of pages side by side that may be changed: a name may lie across two."""
    wanted = sorted(set(pages) - kept)
    if not wanted:
        return
    first = wanted[0]
    for page, following in pairwise([*wanted, -1]):
        if following != page + _PAGE:
            yield first, page + _PAGE
            first = following


def _difference(shown: Snapshot, expected: Snapshot) -> str:
    """The parts of two snapshots that differ; nothing of how they were made is compared.

    Of errors, how many there are: each says in words of ours, which redaction may have replaced, what is damaged.
    """
    parts = (
        snapshot.model_dump(mode="json", exclude={"capture", "errors"}) for snapshot in (shown, expected)
    )
    a, b = parts
    different = [name for name in a if a[name] != b[name]]
    if len(shown.errors) != len(expected.errors):
        different.append(f"{len(shown.errors)} errors in place of {len(expected.errors)}")
    return ", ".join(different)
