"""A kernel's symbols out of its ``System.map``, or ``/proc/kallsyms``: for one that does not say where kallsyms lie.

Before Linux 6.0 VMCOREINFO does not say where kallsyms lie. The file says where the kernel was linked to; how far it
was moved from there is the distance between its ``_stext`` and VMCOREINFO's. Per-CPU symbols are offsets, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from drgn import Symbol, SymbolBinding, SymbolKind

from explorer.targets.dumps import read_small_file
from explorer.targets.errors import TargetError
from explorer.targets.symbols.kallsyms import SymbolTable, letter_means, vmcoreinfo_symbol

__all__ = ("load_system_map", "read_system_map")

#: A distribution's has 8 MB.
_MAX_FILE = 256 << 20
_LINE = re.compile(rb"^([0-9a-f]{1,16}) ([A-Za-z?]) (\S+)$", re.MULTILINE)
#: What VMCOREINFO gives besides ``_stext``, of each kernel some.
_CHECKED = ("swapper_pg_dir", "init_top_pgt", "init_uts_ns", "node_online_map")
_KERNEL = 1 << 47
_ADDRESSES = (1 << 64) - 1


def load_system_map(path: Path, info: str) -> SymbolTable:
    """The core kernel's symbols; those of modules, which ``/proc/kallsyms`` has too, are left out.

    :param info: VMCOREINFO
    :raises TargetError: if it cannot be read, or is of another kernel
    """
    return read_system_map(read_small_file(path, "--symbols-file", _MAX_FILE), str(path), info)


def read_system_map(data: bytes, path: str, info: str) -> SymbolTable:
    """As :func:`load_system_map`. :param path: what to call it"""
    found = [(int(at, 16), letter, name) for at, letter, name in _LINE.findall(data)]
    linked = {name.decode("utf-8", "surrogateescape"): at for at, _, name in found}
    base = vmcoreinfo_symbol(info, "_stext")
    if base is None:
        raise TargetError(
            "VMCOREINFO does not say where _stext is, so symbols cannot be placed: give a vmlinux with -s"
        )
    if "_stext" not in linked:
        raise TargetError(
            f"{path} is no System.map: it does not have _stext (Debian puts the real one into linux-image-...-dbg)"
        )
    if not linked["_stext"]:
        raise TargetError(f"{path} has no addresses: /proc/kallsyms shows them to root alone")
    moved = base - linked["_stext"]
    for name in _CHECKED:
        said = vmcoreinfo_symbol(info, name)
        if said is not None and name in linked and (linked[name] + moved) & _ADDRESSES != said:
            raise TargetError(f"{path} is of another kernel: {name} is elsewhere in it than VMCOREINFO says")
    return SymbolTable.build(base, _symbols(found, moved))


def _symbols(found: list[tuple[int, bytes, bytes]], moved: int) -> Iterator[Symbol]:
    means: dict[bytes, tuple[SymbolBinding, SymbolKind]] = {}
    for at, letter, name in found:
        if letter not in means:
            means[letter] = letter_means(letter[0])
        binding, kind = means[letter]
        address = at if at < _KERNEL else (at + moved) & _ADDRESSES
        yield Symbol(name.decode("utf-8", "surrogateescape"), address, 0, binding, kind)
