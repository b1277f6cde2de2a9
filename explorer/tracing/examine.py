"""What this machine offers for ``trace``, and what to do about each lack.

What a kernel's tracing can do stands in the file ``README`` of its tracefs (``readme_msg`` in kernel/trace/trace.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from explorer.targets import Check, TargetError

from .instances import find_tracefs, stale_names

__all__ = ("examine_tracing",)

_FPROBES, _BTF_ARGUMENTS = "f[:[<group>/][<event>]] <func-name>", "<argname>[->field"
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_CONFIDENTIAL = "[confidentiality]"


def examine_tracing() -> Iterator[Check]:
    """Look at everything. Never raises for what it finds."""
    lockdown = _lockdown()
    try:
        tracefs = find_tracefs()
    except TargetError as error:
        yield Check("tracefs", False, "cannot be used", f"trace: {error}")
        yield lockdown
        return
    yield Check("tracefs", True, str(tracefs))
    yield _events(tracefs)
    yield lockdown
    yield _left_over(tracefs)


def _events(tracefs: Path) -> Check:
    name = "lookup events"
    try:
        readme = (tracefs / "README").read_text(errors="replace")
        has_kprobes = (tracefs / "kprobe_events").exists()
    except OSError as error:
        return Check(name, False, f"{tracefs}/README: {error.strerror}", "trace: needs root")
    if _FPROBES in readme and _BTF_ARGUMENTS in readme:
        return Check(name, True, "fprobe events with BTF arguments")
    if has_kprobes:
        lacks = "fprobe events" if _FPROBES not in readme else "BTF arguments"
        return Check(
            name, True, f"kprobe events (no {lacks}: the start of a relative path is that of its task)"
        )
    return Check(name, False, "neither fprobe nor kprobe events", "trace: needs CONFIG_KPROBE_EVENTS")


def _lockdown() -> Check:
    try:
        state = _LOCKDOWN.read_text(errors="replace").strip()
    except FileNotFoundError:
        return Check("lockdown", True, "this kernel has none")
    except OSError as error:
        return Check(
            "lockdown", False, f"{_LOCKDOWN}: {error.strerror}", "whether trace may run needs root to see"
        )
    if _CONFIDENTIAL in state:
        remedy = (
            "trace and live: lockdown=integrity on the kernel's command line, or none, and Secure Boot off"
        )
        return Check("lockdown", False, state, remedy)
    return Check("lockdown", True, state)


def _left_over(tracefs: Path) -> Check:
    try:
        names = stale_names(tracefs)
    except OSError as error:
        return Check("traces", False, f"{tracefs}: {error.strerror}", "trace: needs root")
    if names:
        return Check("traces", False, f"{len(names)} that were killed have left something", "trace --clean")
    return Check("traces", True, "none that was killed has left anything")
