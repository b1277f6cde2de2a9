"""The options that name a target, shared by all commands, and the way from them to a snapshot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import click

from explorer.caller import allow_strangers
from explorer.wire import PROGRAM

from .completion import complete_files, complete_targets
from .process import cache_no_more, give_up_rights_but_for, look_at_no_task, parse_without_rights
from .progress import ProgressLine
from .streams import escape_lines
from .units import Size

if TYPE_CHECKING:
    from explorer.capture import CaptureStats
    from explorer.model import Snapshot
    from explorer.plugin import LoadedPlugins, PluginSet
    from explorer.targets import CrashGuard, OpenKernel, OpenOptions, TargetSpec

__all__ = (
    "GIVEN",
    "TargetArguments",
    "check_symbols",
    "give_kernel",
    "guard_reader",
    "hold_all",
    "is_given",
    "plugin_option",
    "read_named_snapshot",
    "say_broken",
    "say_left",
    "symbols_file_option",
    "target_options",
)

_F = TypeVar("_F", bound=Callable[..., Any])
#: What cannot be read is said by whoever reads it, in the words for a target.
_FILE = click.Path(path_type=Path, readable=False)
#: What a target is called that somebody has open, and gave (:func:`give_kernel`).
GIVEN = "the program that is open"
_given: tuple[OpenKernel, list[Snapshot]] | None = None
#: Of this process: it is forked off once, before drgn is there, whatever is read then.
_guard: CrashGuard | None = None


class TargetArguments(NamedTuple):
    """What the user said about the target."""

    target: str | None
    core: str | None
    kernel: bool
    qemu: str | None
    symbols: tuple[Path, ...]
    symbols_file: Path | None
    types: Literal["btf", "dwarf"] | None
    vmcoreinfo: Path | None
    ram_below_4g: int | None
    force: bool
    cache: bool
    stats: bool
    debug: bool
    plugins: tuple[Path, ...]
    progress_lines: bool
    allow_plugins_as_root: bool

    def is_named(self) -> bool:
        """Whether any target was named at all."""
        return bool(self._named())

    def _named(self) -> list[str]:
        return [
            name
            for name in (
                self.target,
                self.core,
                "live" if self.kernel else None,
                None if self.qemu is None else f"qemu:{self.qemu}",
            )
            if name is not None
        ]

    def name(self) -> str:
        """The one target named. :raises click.UsageError: if there is none, or more than one"""
        named = self._named()
        if not named:
            raise click.UsageError("Missing TARGET: live, a vmcore, qemu:SOCKET, physmem:FILE or sample.")
        if len(named) > 1:
            raise click.UsageError(f"One target at a time, not {' and '.join(named)}.")
        return named[0]

    @property
    def is_proc(self) -> bool:
        """Whether it is what /proc tells."""
        return self.name() == "proc"

    def spec(self) -> TargetSpec:
        from explorer.targets import detect_target

        return detect_target(self.name())

    def open_options(self) -> OpenOptions:
        from explorer.targets import MAX_VMCOREINFO, OpenOptions
        from explorer.targets.dumps import read_small_file

        check_symbols(self.symbols_file, self.symbols, self.types)
        vmcoreinfo = None
        if self.vmcoreinfo is not None:
            vmcoreinfo = read_small_file(self.vmcoreinfo, "--vmcoreinfo", MAX_VMCOREINFO)
        return OpenOptions(
            symbols=self.symbols,
            symbols_file=self.symbols_file,
            types=self.types,
            vmcoreinfo=vmcoreinfo,
            ram_below_4g=self.ram_below_4g,
            force=self.force,
            use_cache=self.cache,
        )

    def plugin_set(self) -> PluginSet:
        """The plugins that were asked for: a command makes the set once, and hands it on."""
        from explorer.plugin import PluginSet

        return PluginSet(self.plugins)


def plugin_option(words: str) -> Callable[[_F], _F]:
    """``--plugin``: files beside the plugins that are installed. :param words: what is done with them"""
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, readable=False, path_type=Path),
        metavar="FILE",
        help=words,
    )


def symbols_file_option(words: str) -> Callable[[_F], _F]:
    """``--symbols-file``. :param words: what needs it"""
    return click.option("--symbols-file", type=_FILE, metavar="FILE", help=words)


def check_symbols(file: Path | None, symbols: tuple[Path, ...], types: str | None) -> None:
    """:raises click.UsageError: if symbols are said to come from two places"""
    if file is not None and (symbols or types == "dwarf"):
        raise click.UsageError(
            "--symbols-file goes with the kernel's own types: debug info has symbols of its own."
        )


_OPTIONS = (
    click.argument("target", required=False, shell_complete=complete_targets()),
    click.option(
        "-c",
        "--core",
        metavar="FILE",
        shell_complete=complete_files,
        help="A vmcore (same as naming it as TARGET).",
    ),
    click.option("-k", "--kernel", is_flag=True, help="The running kernel (same as TARGET live)."),
    click.option(
        "--qemu",
        metavar="SOCKET|HOST:PORT",
        shell_complete=complete_files,
        help="A guest's QMP socket (same as qemu:…).",
    ),
    click.option(
        "-s",
        "--symbols",
        multiple=True,
        type=_FILE,
        metavar="FILE",
        help="A vmlinux with debug info (DWARF).",
    ),
    symbols_file_option("The kernel's System.map, for a dump of one older than 6.0."),
    click.option(
        "--types",
        type=click.Choice(["btf", "dwarf"]),
        help="Where types come from. Default: dwarf with -s, else the kernel's own BTF.",
    ),
    click.option("--vmcoreinfo", type=_FILE, metavar="FILE", help="VMCOREINFO, where the target has none."),
    click.option(
        "--ram-below-4g", type=Size(), help="physmem: RAM below the hole under 4 GiB, if it is not guessed."
    ),
    click.option("--force", is_flag=True, help="Use symbols whose BUILD-ID differs."),
    click.option("--cache/--no-cache", default=True, help="Keep types and symbols for the next time."),
    plugin_option("One more plugin: a Python file, run with your rights."),
    click.option(
        "--allow-plugins-as-root",
        is_flag=True,
        help="Under sudo, load plugins that did not come with the tool, too: they run as root.",
    ),
    click.option("--stats", is_flag=True, help="Say on stderr what the capture cost."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
    click.option("--progress-lines", is_flag=True, hidden=True, help="Progress for programs, on stderr."),
)


def target_options(function: _F) -> _F:
    """Adds TARGET and its options; the command gets them as one :class:`TargetArguments`."""

    @functools.wraps(function)
    def wrapper(**values: Any) -> Any:
        arguments = TargetArguments(**{name: values.pop(name) for name in TargetArguments._fields})
        if arguments.allow_plugins_as_root:
            allow_strangers()
        return function(arguments, **values)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return cast("_F", wrapper)


def read_named_snapshot(
    arguments: TargetArguments,
    *,
    output: Path | None = None,
    is_held: bool = False,
    plugins: PluginSet | None = None,
    holders_of: Callable[[Snapshot], Collection[int]] | None = None,
    only_tasks: bool = False,
) -> tuple[Snapshot, str]:
    """The snapshot of a target, captured from a kernel or loaded from a file; and what to call it, not escaped.

    What came from a file is called by it, and then by what it once was taken of. This process gives up its rights
    before anything of it is parsed.

    :param output: what will be written
    :param is_held: that is done: see :func:`hold_all`
    :param plugins: what collects; those of the arguments, if the command has no use for them itself
    :param holders_of: chooses mounts of which the holders are to be read, by address
    :param only_tasks: of a kernel nothing else is read, and no plugin asked but where one is named

    :raises TargetError: if the target cannot be opened; SnapshotError, if it is a snapshot file that cannot be read
    """
    if _given is not None and is_given(arguments):
        return _capture_given(*_given, plugins or arguments.plugin_set(), holders_of)
    spec = arguments.spec()
    if spec.kind in ("snapshot", "recording"):
        return _load_named(spec, output, is_held, plugins)
    if spec.kind == "proc":
        return _read_proc(arguments, spec, output, is_held)
    progress = ProgressLine(arguments.progress_lines)
    guard = guard_reader(spec.text, progress)
    try:
        options = arguments.open_options()
        if not is_held:
            parse_without_rights([(spec, options)], output)
        # Only now, without rights; and what is imported before a fork is copied.
        from explorer.capture import CaptureStats, capture_kernel, capture_tasks
        from explorer.targets import open_kernel

        stats = CaptureStats()
        with open_kernel(spec, options, progress) as kernel:
            stats.mark("opening")
            if not is_held:
                cache_no_more()
            if only_tasks and not arguments.plugins:
                snapshot = capture_tasks(kernel, progress, stats, guard)
            else:
                guard.doing("it loaded the plugins")
                loaded = (plugins or arguments.plugin_set()).loaded
                snapshot = capture_kernel(kernel, loaded, progress, stats, guard, holders_of)
    finally:
        guard.release()
        progress.clear(guard.crashed)
    _say_cost(stats, arguments)
    return snapshot, snapshot.capture.source.target


def hold_all(sides: Sequence[TargetArguments]) -> None:
    """Of a command that reads several targets: open them all, and give the rights up, before one is parsed.

    :raises TargetError: if one cannot be opened
    """
    named = [(side.spec(), side) for side in sides if not is_given(side)]
    saved = [spec.path for spec, _ in named if spec.is_saved and spec.path is not None]
    kernels = [(spec, side) for spec, side in named if not spec.is_saved]
    if not kernels:
        return give_up_rights_but_for(*saved)
    guard_reader(" and ".join(spec.text for spec, _ in kernels), ProgressLine(sides[0].progress_lines))
    parse_without_rights(((spec, side.open_options()) for spec, side in kernels), reads=tuple(saved))
    return None


def is_given(arguments: TargetArguments) -> bool:
    """Whether it is the kernel of :func:`give_kernel`."""
    return _given is not None and arguments.name() == GIVEN


def _load_named(
    spec: TargetSpec, output: Path | None, is_held: bool, plugins: PluginSet | None
) -> tuple[Snapshot, str]:
    if plugins is not None and plugins.has_strangers:
        guard_reader(spec.text, ProgressLine()).doing("plugins judged")
    if not is_held and spec.path is not None:
        give_up_rights_but_for(spec.path, output=output)
    from explorer.reading import load_saved

    return load_saved(spec)


@contextmanager
def give_kernel(kernel: OpenKernel | None) -> Iterator[list[Snapshot]]:
    """Within the block :data:`GIVEN` names this kernel, and what is captured of it is in the list."""
    global _given
    captured: list[Snapshot] = []
    before, _given = _given, None if kernel is None else (kernel, captured)
    try:
        yield captured
    finally:
        _given = before


def _capture_given(
    kernel: OpenKernel,
    captured: list[Snapshot],
    plugins: PluginSet,
    holders_of: Callable[[Snapshot], Collection[int]] | None,
) -> tuple[Snapshot, str]:
    from explorer.capture import capture_kernel

    captured.append(capture_kernel(kernel, plugins.loaded, holders_of=holders_of))
    return captured[-1], kernel.source.target


def _read_proc(
    arguments: TargetArguments, spec: TargetSpec, output: Path | None, is_held: bool
) -> tuple[Snapshot, str]:
    """What /proc tells: some rights are needed to the end of that."""
    progress = ProgressLine(arguments.progress_lines)
    if not is_held:
        parse_without_rights([(spec, arguments.open_options())], output)
    from explorer.procfs import capture_proc

    try:
        snapshot = capture_proc(progress)
    finally:
        progress.clear()
    if not is_held:
        look_at_no_task()
    return snapshot, spec.text


def guard_reader(target: str, progress: ProgressLine, *, passes_on: bool = False) -> CrashGuard:
    """Go on in a process that may crash: see :mod:`explorer.targets.crash`. Only where this process is the command.

    :param target: what to call it
    :param passes_on: as of :func:`~explorer.targets.crash.fork_reader`

    :raises TargetError: if it did, and nothing could be kept
    """
    from explorer.targets import CrashGuard, TargetError, fork_reader

    from .process import is_program, note_watcher

    global _guard
    if not is_program():
        return CrashGuard()
    if _guard is None:
        try:
            _guard = fork_reader(target, passes_on=passes_on)
        except TargetError:
            progress.clear("")
            raise
        note_watcher(_guard.ends)
    _guard.begin()
    return _guard


def say_left(what: str) -> None:
    """What there will be if the process that reads crashes from here on; it has its target open. :param what: words"""
    if _guard is not None:
        _guard.doing("it read the target")
        _guard.leaves(what)


def say_broken(loaded: LoadedPlugins, snapshot: Snapshot | None = None) -> int:
    """A line for every plugin that could not be loaded, and that the snapshot's errors do not have; exit code 4 if any.

    For commands whose output has no place for it.
    """
    from .process import ExitCode

    known = set() if snapshot is None else {(error.where, error.why) for error in snapshot.errors}
    for broken in loaded.errors:
        if (f"plugin {broken.name}", broken.why) not in known:
            click.echo(f"{PROGRAM}: {escape_lines(f'plugin {broken.name}: load: {broken.why}')}", err=True)
    return ExitCode.ERRORS if loaded.errors else ExitCode.OK


def _say_cost(stats: CaptureStats, arguments: TargetArguments) -> None:
    if arguments.stats:
        per_task = stats.seconds / stats.tasks * 1e6 if stats.tasks else 0.0
        spent = ", ".join(f"{phase} {seconds * 1000:.1f}" for phase, seconds in stats.phases.items())
        click.echo(
            f"{stats.tasks} tasks in {stats.seconds * 1000:.1f} ms ({per_task:.1f} µs a task), "
            f"{stats.reads} reads, {stats.bytes_read / 1e6:.2f} MB\nms: {spent}",
            err=True,
        )
    for trace in stats.tracebacks if arguments.debug else ():
        click.echo(escape_lines(trace), err=True)
