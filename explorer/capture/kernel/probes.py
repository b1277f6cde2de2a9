"""How often the probes of dynamic events missed their function: tracing itself says nothing of that.

Mirrors kernel/trace/trace_fprobe.c, trace_kprobe.c and trace_dynevent.h: all dynamic events are in one list, each
within the structure of its sort. A probe of a return misses it when as many returns are waited for as it can.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import MemoryReader, ReadError, SymbolTable, member_offset

__all__ = ("ProbeMisses",)

_MAX_EVENTS = 65_536
_MAX_NAME = 256
#: By the symbol of what handles it: its structure, and where that counts.
_PROBES = {
    "trace_fprobe_ops": ("trace_fprobe", "fp.nmissed"),
    "trace_kprobe_ops": ("trace_kprobe", "rp.kp.nmissed"),
}


class _Probe(NamedTuple):
    """Offsets in the structure of one sort."""

    event: int
    calls: int
    returns: int | None
    """Of a kprobe, which counts the returns that it missed apart."""


class ProbeMisses:
    """Of the events of one group.

    :raises LookupError: if this kernel's types or symbols lack something
    """

    def __init__(self, prog: drgn.Program, symbols: SymbolTable, group: str) -> None:
        self._reader = MemoryReader(prog)
        self._group = group.encode()
        head = symbols.symbol_address("dyn_event_list")
        if head is None:
            raise LookupError("this kernel has no symbol dyn_event_list")
        self._head = head
        self._ops = member_offset(prog, "dyn_event", "ops")
        self._system = member_offset(prog, "trace_probe_event", "class.system")
        self._probes: dict[int, _Probe] = {}
        for symbol, (type_name, calls) in _PROBES.items():
            address = symbols.symbol_address(symbol)
            if address is not None:
                self._probes[address] = _Probe(
                    member_offset(prog, type_name, "tp.event"),
                    member_offset(prog, type_name, calls),
                    member_offset(prog, type_name, "rp.nmissed") if type_name == "trace_kprobe" else None,
                )
        if not self._probes:
            raise LookupError("this kernel has no symbols of its dynamic events")

    def count(self) -> int:
        """Calls that were missed, of whatever task, since the events were defined. :raises ReadError: if unreadable"""
        missed, at = 0, self._reader.read_u64(self._head)
        for _ in range(_MAX_EVENTS):
            if at == self._head:
                return missed
            probe = self._probes.get(self._reader.read_u64(at + self._ops))
            if probe is not None:
                missed += self._missed_by(at, probe)
            at = self._reader.read_u64(at)
        raise ReadError(f"the list of dynamic events has no end after {_MAX_EVENTS}")

    def _missed_by(self, at: int, probe: _Probe) -> int:
        event = self._reader.read_u64(at + probe.event)
        system = self._reader.read_u64(event + self._system)
        if self._reader.read_c_string(system, _MAX_NAME) != self._group:
            return 0
        missed = self._reader.read_u64(at + probe.calls)
        return missed + (0 if probe.returns is None else self._reader.read_u32(at + probe.returns))
