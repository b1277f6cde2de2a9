"""What the capture asks of a kernel's symbol table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ("ModuleLike", "ModuleList", "SymbolTable", "function_name")


class ModuleLike(Protocol):
    """A loaded module: its name, and its ``TAINT_*`` bits."""

    @property
    def name(self) -> str: ...

    @property
    def taints(self) -> int: ...


class ModuleList(Protocol):
    """The loaded modules; what could not be read of them is in ``notes``."""

    def modules(self) -> Sequence[ModuleLike]: ...


class SymbolTable(Protocol):
    """Symbols of vmlinux and of loaded modules. :class:`explorer.targets.symbols.types.KernelTypes` is one."""

    @property
    def modules(self) -> ModuleList: ...

    def symbol_address(self, name: str) -> int | None:
        """Address of a vmlinux symbol, per-CPU symbols unrelocated; ``None`` if there is none."""

    def symbol_at(self, address: int) -> tuple[str, int, str | None] | None:
        """Name, offset into it, and module (``None`` for vmlinux) of the symbol containing ``address``."""


def function_name(symbols: SymbolTable, address: int) -> str | None:
    """A function as the kernel's ``%ps`` prints it: ``worker_thread`` or ``ksmbd_conn_handler_loop [ksmbd]``.

    An address in no known symbol is given in hex; NULL is ``None``.
    """
    if not address:
        return None
    found = symbols.symbol_at(address)
    if found is None:
        return f"0x{address:x}"
    name, offset, module = found
    text = name if offset == 0 else f"{name}+0x{offset:x}"
    return text if module is None else f"{text} [{module}]"
