"""The lab for people: ``python -m tests.kernels.lab fetch``, ``... boot --kernel 7.3 --scenario lively``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.kernels.lab.errors import LabError
from tests.kernels.lab.guest import Guest, GuestOptions
from tests.kernels.lab.kernels import LINES, OTHER_LINES, get_kernel
from tests.kernels.lab.scenarios import SCENARIOS

_FORMATS = ("elf", "kdump-zlib", "kdump-lzo", "kdump-snappy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser(
        "fetch", help="fetch the newest kernels of the lines (those of most tests without an argument)"
    )
    fetch.add_argument("lines", nargs="*", metavar="LINE", help=", ".join((*LINES, *OTHER_LINES)))
    fetch.add_argument("--debug", action="store_true", help="and their vmlinux with DWARF (350 MB each)")
    boot = commands.add_parser("boot", help="boot a scenario, and say what the guest says")
    boot.add_argument("--kernel", default=LINES[-1], choices=(*LINES, *OTHER_LINES))
    boot.add_argument("--scenario", default="lively", choices=sorted(SCENARIOS))
    boot.add_argument("--memory-mb", type=int)
    boot.add_argument("--smp", type=int, default=1)
    boot.add_argument("--filler-mb", type=int, default=0, help="dead weight in the initramfs")
    boot.add_argument("--append", default="", help="more kernel command line")
    boot.add_argument("--dump", type=Path, metavar="FILE", help="stop the guest and dump its memory")
    boot.add_argument("--format", default="elf", choices=_FORMATS, help="of the dump (kdump-*: flattened)")
    boot.add_argument("--oracle", type=Path, metavar="FILE", help="write the listing from before the dump")
    boot.add_argument(
        "--oracle-after", type=Path, metavar="FILE", help="write the listing from after the dump"
    )
    boot.add_argument("--hold", action="store_true", help="keep the guest running until Enter is pressed")
    return parser


def _boot(arguments: argparse.Namespace) -> None:
    options = GuestOptions(
        memory_mb=arguments.memory_mb,
        smp=arguments.smp,
        append=arguments.append,
        filler_mb=arguments.filler_mb,
    )
    with Guest.boot(arguments.kernel, arguments.scenario, options) as guest:
        print(f"{guest.kernel.release} {guest.scenario.name}: ready, QEMU is pid {guest.pid}")
        for name, pid in guest.states.items():
            print(f"  {name:16} pid {pid}")
        for name, number in guest.skipped.items():
            print(f"  {name:16} not on this kernel (errno {number})")
        if arguments.oracle:
            arguments.oracle.write_text(guest.oracle().text)
        if arguments.dump:
            guest.stop()
            guest.dump(arguments.dump, arguments.format)
            guest.cont()
        if arguments.oracle_after:
            arguments.oracle_after.write_text(guest.oracle().text)
        if arguments.hold:
            input(f"QMP: {guest.qmp_socket}\nPress Enter to end the guest. ")


def main() -> int:
    """Run one command; the exit status."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "boot":
            _boot(arguments)
            return 0
        for line in arguments.lines or LINES:
            kernel = get_kernel(line, debug=arguments.debug)
            print(f"{line}: {kernel.release} in {kernel.directory}")
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
