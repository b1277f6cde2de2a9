"""The paths that the kernel itself will open: where they are set, and what they mean where the kernel looks them up.

Mirrors what takes each of them apart: ``format_corename()`` of fs/coredump.c, ``fw_get_filesystem_firmware()`` of
drivers/base/firmware_loader/main.c, ``argv_split()`` for the commands of kernel/reboot.c.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from explorer.capture.memory import Memory
from explorer.capture.paths import DcacheLookup
from explorer.model import KernelSetting

__all__ = ("command_path", "core_pattern_path", "read_settings")

_POINTER = 8
_FW_PATHS = 5
_MAX_VALUE = 4096
#: Character arrays with a command line in them: the first word is run.
_COMMANDS = ("modprobe_path", "poweroff_cmd", "reboot_cmd", "uevent_helper")
_SPACE = b" \t\n\v\f\r"


def core_pattern_path(pattern: bytes, sockets: bool) -> bytes | None:
    """The path to look up for a ``core_pattern``; ``None`` if it names none that is absolute.

    A pipe's program and a socket are looked up themselves. Of a file, its directory is: the file is made when
    something crashes, and its name depends on what that is. A pattern with specifiers is cut before the
    component with the first of them.

    :param sockets: the kernel knows ``@`` (6.16 on); before that, it begins a file name like any other
    """
    if pattern.startswith(b"|"):
        program = (pattern[1:].split() or [b""])[0]
        return _before_specifiers(program) if program.startswith(b"/") else None
    if sockets and pattern.startswith(b"@"):
        path = pattern[1:].removeprefix(b"@")
        return path if path.startswith(b"/") else None
    if not pattern.startswith(b"/"):
        return None
    directory = _before_specifiers(pattern)
    return directory if directory != pattern else _directory_of(pattern)


def _before_specifiers(path: bytes) -> bytes:
    return _directory_of(path.partition(b"%")[0]) if b"%" in path else path


def _directory_of(path: bytes) -> bytes:
    return path[: path.rindex(b"/")] or b"/"


def command_path(command: bytes) -> bytes | None:
    """The program that a command line runs, if it is absolute."""
    words = command.split()
    return words[0] if words and words[0].startswith(b"/") else None


def read_settings(memory: Memory, lookup: DcacheLookup) -> list[KernelSetting]:
    """Every setting this kernel has, by name. One that cannot be read has the value ``None``."""
    found: list[KernelSetting] = []
    for name, value in _values(memory):
        if value is None:
            found.append(KernelSetting(name=name, value=None, path=None, found="unknown", target=None))
            continue
        if name == "core_pattern":
            path = core_pattern_path(value, _has_core_sockets(memory.prog))
        elif name in _COMMANDS:
            path = command_path(value)
        else:
            path = value.rstrip(_SPACE)
        found.append(lookup.look_up(name, path or b"", value))
    return sorted(found, key=lambda setting: setting.name)


def _values(memory: Memory) -> Iterator[tuple[str, bytes | None]]:
    for name in ("core_pattern", *_COMMANDS):
        address = memory.symbols.symbol_address(name)
        if address is not None:
            yield name, _string(memory, name, address)
    yield from _firmware_paths(memory)


def _firmware_paths(memory: Memory) -> Iterator[tuple[str, bytes | None]]:
    """``fw_path_para``, which is ``fw_path[0]`` and may hold several paths, and the built-in ones behind it."""
    parameter = memory.symbols.symbol_address("fw_path_para")
    if parameter is not None:
        value = _string(memory, "fw_path_para", parameter)
        parts = [value] if value is None else value.split(b";")
        for index, part in enumerate(parts):
            yield ("fw_path_para" if index == 0 else f"fw_path_para[{index}]"), part
    table = memory.symbols.symbol_address("fw_path")
    if table is None:
        return
    for index in range(1, _FW_PATHS):
        name = f"fw_path[{index}]"
        with memory.errors.guard(f"setting {name}", "value"):
            pointer = memory.reader.read_u64(table + _POINTER * index)
            yield name, _string(memory, name, pointer)


def _string(memory: Memory, name: str, address: int) -> bytes | None:
    with memory.errors.guard(f"setting {name}", "value"):
        return memory.reader.read_c_string(address, _MAX_VALUE)
    return None


def _has_core_sockets(prog: drgn.Program) -> bool:
    try:
        prog.constant("COREDUMP_SOCK")
    except LookupError:
        return False
    return True
