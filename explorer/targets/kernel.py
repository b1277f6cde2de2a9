"""Open a kernel whole: its memory (:mod:`.program`) and its types and symbols (:mod:`.types`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import drgn

from explorer.model import Source, made
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from explorer.targets.spec import Progress, TargetSpec, no_progress
from explorer.targets.symbols import KernelTypes, attach_types

__all__ = ("OpenKernel", "OpenOptions", "open_kernel")

_source = made(Source)


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open a target; each field is an option of the command line."""

    symbols: Sequence[Path] = ()
    types: Literal["btf", "dwarf"] | None = None
    """``None``: DWARF if symbols are given, else BTF."""
    symbols_file: Path | None = None
    """A ``System.map``; with types from BTF."""
    vmcoreinfo: bytes | None = None
    ram_below_4g: int | None = None
    force: bool = False
    use_cache: bool = True


@dataclass
class OpenKernel:
    """A kernel that can be captured. Close it, or use it in a ``with``."""

    program: OpenProgram
    types: KernelTypes
    notes: list[str] = field(default_factory=list)

    @property
    def prog(self) -> drgn.Program:
        return self.program.prog

    @property
    def source(self) -> Source:
        return _source(kind=self.program.kind, target=self.program.target)

    def close(self) -> None:
        self.program.close()

    def __enter__(self) -> OpenKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_kernel(
    spec: TargetSpec, options: OpenOptions | None = None, progress: Progress | None = None
) -> OpenKernel:
    """Open a target and attach its types.

    :raises TargetError: if that cannot be done; the message is one line for the user
    """
    options = options or OpenOptions()
    report = progress or no_progress
    program = open_program(
        spec, vmcoreinfo=options.vmcoreinfo, ram_below_4g=options.ram_below_4g, progress=report
    )
    try:
        types = attach_types(
            program.prog,
            mode=options.types or ("dwarf" if options.symbols else "btf"),
            symbols=options.symbols,
            use_cache=options.use_cache,
            symbols_file=options.symbols_file,
            force=options.force,
            progress=lambda what: report(what, 0, None),
        )
    except BaseException:
        program.close()
        raise
    return OpenKernel(program, types, [*program.notes, *types.notes])
