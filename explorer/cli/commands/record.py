"""``record``: many snapshots of one machine in one file."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from explorer.cli.completion import complete_files, complete_targets
from explorer.cli.documented import Documented
from explorer.cli.ending import told_by_signals
from explorer.cli.formats import OutputFile
from explorer.cli.live_trace import attached_tracer
from explorer.cli.process import ExitCode, is_program, keep_only, open_no_more, parse_without_rights
from explorer.cli.progress import ProgressLine
from explorer.cli.targets import check_symbols, guard_reader, say_broken, say_left, symbols_file_option
from explorer.cli.units import ConditionType, Duration, MemorySize

if TYPE_CHECKING:
    from explorer.analysis.query import Condition
    from explorer.plugin import Plugin
    from explorer.recorder import Machine, RecordRequest, RecordSummary
    from explorer.targets import Needs, OpenOptions
    from explorer.targets.qemu import StartedGuest
    from explorer.tracing import Tracer

__all__ = ("record_command",)

_FILE = click.Path(path_type=Path)
_AS_ASKED = ("done", "until", "interrupted")
_GUEST_STEP_S, _LIVE_STEP_S = 0.05, 1.0
#: With KVM a kernel can be read after a second or two.
_PROOF_S = 30.0


class _AccelerationError(Exception):
    """``--accel auto``: KVM starts, and does not run this kernel; the message says what happened."""


@dataclass(frozen=True, slots=True)
class RecordArguments:
    """What the user said."""

    target: str | None
    qemu: str | None
    control: str | None
    free_running: bool
    boot: Path | None
    initrd: Path | None
    append: str
    memory: int
    disk: Path | None
    console: Path | None
    accel: Literal["auto", "kvm", "tcg"]
    step: float | None
    duration: float | None
    until: Condition | None
    output: Path
    symbols: tuple[Path, ...]
    symbols_file: Path | None
    types: Literal["btf", "dwarf"] | None
    cache: bool
    all_plugins: bool
    trace: bool
    debug: bool

    def mode(self) -> str:
        """``step``, ``poll``, ``live`` or ``boot``. :raises click.UsageError: if what was said does not fit together"""
        named = [name for name in (self.target, self.qemu, self.boot) if name is not None]
        if len(named) != 1 or (self.target is not None and self.target != "live"):
            raise click.UsageError("Say what to record: live, --qemu SOCKET, or --boot KERNEL; one of them.")
        if self.trace and self.target is None:
            raise click.UsageError(
                "--trace is for live: another kernel's tracing cannot be set up from here."
            )
        if self.boot is not None:
            if self.control is not None or self.free_running:
                raise click.UsageError(
                    "--boot starts a guest of its own: --control and --free-running are for --qemu."
                )
            return "boot"
        for name, value in (("--initrd", self.initrd), ("--append", self.append), ("--disk", self.disk)):
            if value:
                raise click.UsageError(f"{name} is for --boot.")
        if self.qemu is None:
            return "live"
        if self.control is None and not self.free_running:
            raise click.UsageError(
                "--control SOCKET (a second QMP socket of the guest) stops it for each frame; "
                "to read it while it runs, say --free-running."
            )
        return "poll" if self.free_running else "step"

    @property
    def name(self) -> str:
        """What is recorded."""
        return self.target or (f"qemu:{self.qemu}" if self.boot is None else f"boot:{self.boot}")

    def open_options(self) -> OpenOptions:
        from explorer.targets import OpenOptions

        check_symbols(self.symbols_file, self.symbols, self.types)
        return OpenOptions(
            symbols=self.symbols, symbols_file=self.symbols_file, types=self.types, use_cache=self.cache
        )

    def plugins(self) -> list[Plugin]:
        """What a frame is captured with: what unpacks the initramfs is known to its plugin alone."""
        from explorer.plugin import PluginSet

        loaded = PluginSet().loaded
        if self.all_plugins:
            say_broken(loaded)
            return list(loaded.plugins)
        return [plugin for plugin in loaded.plugins if plugin.name == "initramfs"]


@click.command(
    "record",
    cls=Documented,
    page="docs/recordings.md",
    epilog="Exit codes: 0 it ended as asked (--for, --until, Ctrl-C), 1 it ended before: the guest shut down or "
    "panicked, QEMU ended, or no kernel was ever readable (the recording says which, and holds what there is), "
    "2 wrong usage or output not writable, 3 the target cannot be opened, or who reads it has crashed (the recording "
    "holds what was read until then), 4 values could not be read.",
)
@click.argument("target", required=False, shell_complete=complete_targets("live", files=False))
@click.option(
    "--qemu",
    metavar="SOCKET",
    shell_complete=complete_files,
    help="A guest's QMP socket, to read its memory.",
)
@click.option(
    "--control",
    metavar="SOCKET",
    shell_complete=complete_files,
    help="Its second QMP socket, to stop it for each frame.",
)
@click.option("--free-running", is_flag=True, help="Do not stop the guest: frames may be inconsistent.")
@click.option(
    "--boot", type=_FILE, metavar="KERNEL", help="Start QEMU with this kernel, and record its boot."
)
@click.option("--initrd", type=_FILE, metavar="FILE", help="--boot: the initramfs.")
@click.option("--append", default="", metavar="TEXT", help="--boot: the kernel's command line.")
@click.option(
    "-m",
    "--memory",
    type=MemorySize(),
    default="512M",
    show_default=True,
    metavar="SIZE",
    help="--boot: RAM, as QEMU takes it: 256 (MiB), 256M, 1G.",
)
@click.option("--disk", type=_FILE, metavar="IMAGE", help="--boot: a raw image, read-only, as /dev/vda.")
@click.option(
    "--console", type=_FILE, metavar="FILE", help="--boot: write there what the guest prints (ttyS0)."
)
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    help="--boot: in hardware or in software. Default: hardware where that runs this kernel.",
)
@click.option(
    "--step",
    "--interval",
    "step",
    type=Duration(),
    metavar="TIME",
    help="Between frames. Default: 50ms; live: 1s.",
)
@click.option("--for", "duration", type=Duration(), metavar="TIME", help="Record for so long.")
@click.option(
    "--until",
    type=ConditionType(),
    metavar="EXPR",
    help="Record until a task matches, such as 'task(1).comm == \"systemd\"' or 'pid:1 comm:systemd'.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    required=True,
    metavar="FILE",
    help="The recording (.nxrec). Mode 0600.",
)
@click.option(
    "-s", "--symbols", multiple=True, type=_FILE, metavar="FILE", help="A vmlinux with debug info (DWARF)."
)
@symbols_file_option("The kernel's System.map, for a guest whose kernel is older than 6.0.")
@click.option(
    "--types", type=click.Choice(["btf", "dwarf"]), help="Where types come from. Default: as elsewhere."
)
@click.option("--cache/--no-cache", default=True, help="Keep types and symbols for the next time.")
@click.option(
    "--plugins", "all_plugins", is_flag=True, help="Run all plugins in every frame: slower, larger."
)
@click.option(
    "--trace", is_flag=True, help="live: with every path lookup of a kernel thread between two frames."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def record_command(**values: Any) -> int:
    """Record a machine: a running guest in steps, a boot from its first moment, or this machine (live).

    Every frame is a snapshot: browse the file, or use FILE@3.4s as a TARGET of any command. Ctrl-C ends it.
    """
    from explorer.output import check_writable

    arguments = RecordArguments(**values)
    mode = arguments.mode()
    check_writable(arguments.output)
    if arguments.output.exists() and not arguments.output.is_file():
        raise click.UsageError(f"{arguments.output} is no regular file: a recording can only be one.")
    progress = ProgressLine()
    guard = guard_reader(arguments.name, progress, passes_on=True)
    try:
        try:
            with ExitStack() as stack:
                summary = _record(arguments, mode, stack, progress)
        except _AccelerationError as error:
            progress.clear()
            _say_emulated(error)
            with ExitStack() as stack:
                summary = _record(replace(arguments, accel="tcg"), mode, stack, progress, quiet=True)
        guard.doing("it closed the recording")
    finally:
        progress.clear()
    return _say(summary, arguments.output)


def _record(
    arguments: RecordArguments, mode: str, stack: ExitStack, progress: ProgressLine, quiet: bool = False
) -> RecordSummary:
    """:param quiet: how the guest runs has been said

    :raises _AccelerationError: if it has to be recorded again, without acceleration
    """
    from explorer.targets import TargetError

    guest = None if arguments.boot is None else stack.enter_context(_start(arguments, arguments.boot, quiet))
    accelerated = guest is not None and guest.accelerator == "kvm"
    on_trial = accelerated and arguments.accel == "auto"
    try:
        machine, target, tracer = _open_machine(arguments, mode, stack, guest, on_trial)
        request = _request(arguments, mode, accelerated, progress)
        if tracer is not None:
            tracer.begin()
            request = replace(request, lookups=tracer.poll_with_lost)
        summary = _record_machine(arguments, machine, stack, (mode, target), request)
    except TargetError as error:
        if on_trial:
            raise _AccelerationError(str(error)) from error
        raise
    if on_trial and not summary.readable and summary.code != "interrupted":
        raise _AccelerationError(summary.reason)
    return summary


def _request(
    arguments: RecordArguments, mode: str, accelerated: bool, progress: ProgressLine
) -> RecordRequest:
    from explorer.recorder import RecordRequest

    until = arguments.until
    return RecordRequest(
        step_s=arguments.step or (_LIVE_STEP_S if mode == "live" else _GUEST_STEP_S),
        duration_s=arguments.duration,
        until=None if until is None else until.holds,
        until_text=str(until or ""),
        plugins=arguments.plugins(),
        proof_s=_PROOF_S if accelerated else None,
        report=progress,
    )


def _record_machine(
    arguments: RecordArguments,
    machine: Machine,
    stack: ExitStack,
    names: tuple[str, str],
    request: RecordRequest,
) -> RecordSummary:
    """:param names: the mode, and the target"""
    from explorer.recorder import Recorder
    from explorer.recording import RecordingWriter

    mode, target = names
    writer = stack.enter_context(
        RecordingWriter(
            arguments.output,
            mode=mode,
            target=target,
            step_s=request.step_s,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
    )
    say_left(f"{arguments.output} holds what was recorded until then")
    open_no_more()
    recorder = Recorder(machine, writer, request)
    # Between two frames, never within one. What may be begun again without acceleration can be ended again, too.
    stack.enter_context(
        told_by_signals(recorder.interrupt, for_good=is_program() and request.proof_s is None)
    )
    try:
        return recorder.run()
    finally:
        if not writer.frames:  # it would be a recording of nothing
            with suppress(
                PermissionError
            ):  # in somebody's directory, and the right to write there is given up
                arguments.output.unlink(missing_ok=True)


def _start(arguments: RecordArguments, kernel: Path, quiet: bool) -> StartedGuest:
    from explorer.targets.qemu import BootOptions, StartedGuest

    if is_program():
        keep_only(_needs_of_boot(arguments, kernel))
    boot = BootOptions(
        kernel=kernel,
        initrd=arguments.initrd,
        append=arguments.append,
        memory=arguments.memory,
        console=arguments.console,
        disk=arguments.disk,
        accelerator=arguments.accel,
    )
    guest = StartedGuest(boot)
    if not quiet:
        click.echo(guest.note, err=True)
    return guest


def _needs_of_boot(arguments: RecordArguments, kernel: Path) -> Needs:
    """QEMU is started with what is left, and is then this process's child, whose memory it may read."""
    from explorer.targets import Needs
    from explorer.targets.qemu import needed_by_qemu, reads_only_as_root

    files = [file for file in (kernel, arguments.initrd, arguments.disk) if file is not None]
    outputs = [file for file in (arguments.output, arguments.console) if file is not None]
    reads = (*files, *needed_by_qemu(arguments.accel), *arguments.symbols)
    return Needs(reads, tuple(outputs), guest=reads_only_as_root(), starts=True, caches=arguments.cache)


def _say_emulated(error: _AccelerationError) -> None:
    from explorer.model import escape_text

    click.echo(
        f"KVM does not run this kernel here: {escape_text(str(error))}; "
        "QEMU starts again, and emulates the guest in software (TCG)",
        err=True,
    )


def _open_machine(
    arguments: RecordArguments, mode: str, stack: ExitStack, guest: StartedGuest | None, on_trial: bool
) -> tuple[Machine, str, Tracer | None]:
    """The machine, which can be read, what to call it, and what traces it. One that cannot costs no file that is there
    already.

    :param on_trial: QEMU may have to be started again
    """
    from explorer.targets import TargetSpec

    if mode == "live":
        return _open_live(arguments, stack)
    from explorer.recorder import QemuMachine
    from explorer.targets.qemu import hold_guest

    options = arguments.open_options()
    memory = arguments.qemu if guest is None else guest.memory
    control = arguments.control if guest is None else guest.control
    assert memory is not None
    machine = QemuMachine(memory, control, stopping=mode != "poll", options=options)
    stack.callback(machine.close)
    if is_program() and not on_trial:
        if control is not None:
            hold_guest(control)
        parse_without_rights(
            [(TargetSpec("qemu", arguments.name, address=memory), options)], arguments.output
        )
    machine.connect()
    machine.attach()
    return machine, arguments.name, None


def _open_live(arguments: RecordArguments, stack: ExitStack) -> tuple[Machine, str, Tracer | None]:
    from explorer.recorder import LiveMachine
    from explorer.targets import TargetSpec

    options, tracer = arguments.open_options(), None
    if arguments.trace:
        from explorer.tracing import TraceOptions

        tracer = stack.enter_context(attached_tracer(TraceOptions(open_options=options)))
    parse_without_rights([(TargetSpec("live", "live"), options)], arguments.output)
    kernel = None if tracer is None else tracer.read_kernel()
    live = stack.enter_context(LiveMachine(options, kernel))
    live.attach()
    return live, "live", tracer


def _say(summary: RecordSummary, output: Path) -> int:
    from explorer.model import escape_text

    frames = f"{summary.frames} frames" if summary.frames != 1 else "1 frame"
    lookups = f", {summary.lookups} path lookups" if summary.lookups else ""
    click.echo(
        f"{escape_text(str(output))}: {frames}, {summary.readable} of them readable{lookups}, "
        f"in {summary.seconds:.3f} s; ended: {escape_text(summary.reason)}",
        err=True,
    )
    if summary.code not in _AS_ASKED or not summary.readable:
        return ExitCode.FOUND
    return ExitCode.ERRORS if summary.errors else ExitCode.OK
