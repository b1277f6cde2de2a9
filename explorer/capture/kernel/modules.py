"""The loaded kernel modules, with their taints as /proc/modules shows them."""

from __future__ import annotations

from explorer.capture.memory import SymbolTable
from explorer.model import LoadedModule, made

__all__ = ("read_modules", "taint_letters")

_module = made(LoadedModule)
#: ``taint_flags[].c_true`` of kernel/panic.c, by bit; bit 0 is ``G`` only for a kernel as a whole.
_TAINT_LETTERS = "PFSRMBUDAWCIOELKXTNJ"


def taint_letters(taints: int) -> str:
    """The letters of a module's taints, by bit; a bit that is newer than this program is ``?``."""
    return "".join(
        _TAINT_LETTERS[bit] if bit < len(_TAINT_LETTERS) else "?" for bit in range(64) if taints >> bit & 1
    )


def read_modules(symbols: SymbolTable) -> list[LoadedModule]:
    """All loaded modules by name."""
    return [
        _module(name=module.name, taints=taint_letters(module.taints))
        for module in sorted(symbols.modules.modules(), key=lambda module: module.name)
    ]
