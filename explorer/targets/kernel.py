"""Open a kernel whole: its memory (:mod:`.program`) and its types and symbols (:mod:`.types`).

What opens it is imported when it is opened: rights are given up before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from explorer.targets.dumps import hold_open
from explorer.targets.privilege import Needs
from explorer.targets.running import hold_running
from explorer.targets.spec import Progress, TargetSpec, no_progress

if TYPE_CHECKING:
    import drgn

    from explorer.model import Source
    from explorer.targets.opened import OpenProgram
    from explorer.targets.symbols import KernelTypes

__all__ = ("OpenKernel", "OpenOptions", "hold_target", "open_kernel")


class OpenOptions(NamedTuple):
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
        from explorer.model import Source, made

        return made(Source)(kind=self.program.kind, target=self.program.target)

    def close(self) -> None:
        self.program.close()

    def __enter__(self) -> OpenKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold_target(spec: TargetSpec, options: OpenOptions) -> Needs:
    """Open what takes rights to open; nothing of it is parsed. :func:`open_kernel` finds it open.

    :returns: what is still needed to read it

    :raises TargetError: if it cannot be opened
    """
    more = () if options.symbols_file is None else (options.symbols_file,)
    # What is not there is said by whoever opens it; no right would make it be there.
    needs = Needs(tuple(path for path in (*options.symbols, *more) if path.exists()))
    if spec.kind == "proc":
        return Needs(tasks=True)
    if spec.kind == "live":
        hold_running()
        if options.types == "dwarf" and not options.symbols:
            from explorer.targets.symbols import debug_places

            needs += Needs(tuple(path for path in debug_places() if path.is_file()))
    elif spec.address is not None:
        from explorer.targets.qemu import hold_guest

        needs += Needs(guest=hold_guest(spec.address))
    elif spec.path is not None and spec.is_saved:
        return Needs((spec.path,))
    elif spec.path is not None:
        hold_open(spec.path)
    return needs + Needs(caches=options.use_cache)


def open_kernel(
    spec: TargetSpec, options: OpenOptions | None = None, progress: Progress | None = None
) -> OpenKernel:
    """Open a target and attach its types.

    :raises TargetError: if that cannot be done; the message is one line for the user
    """
    from explorer.targets.program import open_program
    from explorer.targets.symbols import attach_types

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
