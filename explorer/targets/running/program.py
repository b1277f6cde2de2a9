"""The running kernel as a drgn ``Program``."""

from __future__ import annotations

import os

from explorer.targets.drgn_calls import capture_log, drgn_errors, new_program, own_vmcoreinfo
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.spec import TargetSpec
from explorer.targets.vmcoreinfo import VmcoreInfo

from .held import open_kcore

__all__ = ("open_running",)


def open_running(spec: TargetSpec, given: VmcoreInfo | None) -> OpenProgram:
    """:raises TargetError: if it cannot be read"""
    machine = os.uname().machine
    if machine != "x86_64":
        raise TargetError(f"the running kernel is {machine}; only x86_64 is supported")
    kcore = open_kcore()
    try:
        prog = new_program(given)
    except BaseException:
        os.close(kcore)
        raise
    with capture_log(), drgn_errors("the running kernel cannot be read"):
        # What drgn_program_set_kernel() does with the path; drgn owns the descriptor, and closes it when it fails.
        prog.set_core_dump(kcore)
    return OpenProgram(prog, "live", spec.text, given or own_vmcoreinfo(prog, "the running kernel"), False)
