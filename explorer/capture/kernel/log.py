"""Lines of the kernel's log that are about filesystem state.

Mirrors kernel/printk/printk_ringbuffer.c: a record's text is one piece of the text ring, behind the id of its
descriptor; the descriptor says where that piece begins, the info beside it when the record was made. The ring is
searched as one block, and only the records around what was found are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import drgn

from explorer.capture.memory import Memory, MemoryReader, ReadError, SymbolTable, make_decoder
from explorer.model import kernel_text

__all__ = ("LOG_WORDS", "read_log", "touch_log")

#: What a line must hold one of to be kept.
LOG_WORDS = (b"Pid 1 stopped sharing", b"nullfs", b"failfs")
_MAX_BITS = 24
_MAX_LINES = 100
_MAX_MATCHES = 4096
_MAX_RECORD = 2048  # PRINTKRB_RECORD_MAX
_ID = 8
#: state_var: the state in the two highest bits, the descriptor's id below.
_STATE_SHIFT = 62
_COMMITTED_OR_FINALIZED = (1, 2)


class _Ring(NamedTuple):
    text_bits: int
    text: int
    count_bits: int
    descs: int
    infos: int
    tail_id: int
    head_id: int

    def holds(self, desc_id: int) -> bool:
        """Whether an id is one of those in use; they wrap around."""
        mask = (1 << _STATE_SHIFT) - 1
        return (desc_id - self.tail_id) & mask <= (self.head_id - self.tail_id) & mask


def read_log(memory: Memory) -> list[str]:
    """The last of the lines that matter, at most 100, each with its time, as dmesg shows them."""
    variable = memory.symbols.symbol_address("prb")
    if variable is None:
        return []  # a kernel without CONFIG_PRINTK
    try:
        records = _Records(memory.prog, memory.reader)
    except LookupError as error:
        memory.errors.add("log", "layout", str(error))
        return []
    lines: list[bytes] = []
    with memory.errors.guard("log", "text"):
        lines = records.matching_lines(memory.reader.read_u64(variable))
    return [kernel_text(line) for line in lines[-_MAX_LINES:]]


def touch_log(prog: drgn.Program, reader: MemoryReader, symbols: SymbolTable) -> None:
    """Read every record of the log, so that what records the reads has what dmesg needs.

    :raises ReadError: if it cannot be read
    :raises LookupError: if the kernel's types lack something
    """
    variable = symbols.symbol_address("prb")
    if variable is not None:
        _Records(prog, reader).touch(reader.read_u64(variable))


class _Records:
    """Finds records by what is in their text."""

    def __init__(self, prog: drgn.Program, reader: MemoryReader) -> None:
        self._reader = reader
        self._ring = make_decoder(
            prog,
            "printk_ringbuffer",
            "text_data_ring.size_bits",
            "text_data_ring.data",
            "desc_ring.count_bits",
            "desc_ring.descs",
            "desc_ring.infos",
            "desc_ring.tail_id.counter",
            "desc_ring.head_id.counter",
        )
        self._desc = make_decoder(
            prog, "prb_desc", "state_var.counter", "text_blk_lpos.begin", "text_blk_lpos.next"
        )
        self._info = make_decoder(prog, "printk_info", "seq", "ts_nsec", "text_len")

    def touch(self, address: int) -> None:
        """Read the text, and the descriptor and info of every id in use."""
        ring = self._read_ring(address)
        self._reader.read(ring.text, 1 << ring.text_bits)
        in_use = (ring.head_id - ring.tail_id) & (1 << _STATE_SHIFT) - 1
        for step in range(min(in_use + 1, 1 << ring.count_bits)):
            index = ring.tail_id + step & (1 << ring.count_bits) - 1
            self._reader.read(ring.descs + index * self._desc.size, self._desc.size)
            self._reader.read(ring.infos + index * self._info.size, self._info.size)

    def _read_ring(self, address: int) -> _Ring:
        ring = _Ring._make(self._reader.decode(self._ring, address))
        if not 0 < ring.text_bits <= _MAX_BITS or not 0 < ring.count_bits <= _MAX_BITS:
            raise ReadError(f"2^{ring.text_bits} bytes in 2^{ring.count_bits} records are no log")
        return ring

    def matching_lines(self, address: int) -> list[bytes]:
        """Every line that matches, in the order it was printed."""
        ring = self._read_ring(address)
        text = self._reader.read(ring.text, 1 << ring.text_bits)
        found: dict[int, list[bytes]] = {}
        end = looked_at = 0
        for offset in sorted(_offsets(text)):
            if offset < end:
                continue  # in a record that was taken already
            looked_at += 1
            if looked_at > _MAX_MATCHES:
                raise ReadError(f"more than {_MAX_MATCHES} records match")
            for seq, lines, record_end in self._record_around(ring, text, offset):
                found[seq] = lines
                end = record_end
        return [line for seq in sorted(found) for line in found[seq]]

    def _record_around(self, ring: _Ring, text: bytes, offset: int) -> Iterator[tuple[int, list[bytes], int]]:
        """The one record, if any, whose text is at ``offset``: what was overwritten in part has none."""
        last = offset // _ID * _ID
        for start in range(last, max(last - _MAX_RECORD - 2 * _ID, -1), -_ID):
            desc_id = int.from_bytes(text[start : start + _ID], "little")
            if desc_id >> _STATE_SHIFT or not ring.holds(desc_id):
                continue
            index = desc_id & (1 << ring.count_bits) - 1
            if not self._owns(ring, index, desc_id, start):
                continue
            info = ring.infos + index * self._info.size
            seq, nanoseconds, length = self._reader.decode(self._info, info)
            begin = start + _ID
            if begin <= offset < begin + length:
                stamp = b"[%5d.%06d] " % (nanoseconds // 10**9, nanoseconds % 10**9 // 1000)
                lines = text[begin : begin + length].splitlines()
                yield seq, [stamp + line for line in lines if _is_wanted(line)], begin + length
            return

    def _owns(self, ring: _Ring, index: int, desc_id: int, start: int) -> bool:
        """Whether the descriptor with that id says that its text is there."""
        address = ring.descs + index * self._desc.size + self._desc.base
        state, begin, following = self._desc.decode(self._reader.read(address, self._desc.span))
        state &= (1 << 64) - 1
        if state >> _STATE_SHIFT not in _COMMITTED_OR_FINALIZED or state & (1 << _STATE_SHIFT) - 1 != desc_id:
            return False
        mask = (1 << ring.text_bits) - 1
        # A piece that does not fit behind the last one is at the start of the ring.
        wrapped = begin >> ring.text_bits != (following - 1) >> ring.text_bits
        return start == (0 if wrapped else begin & mask)


def _is_wanted(line: bytes) -> bool:
    return any(word in line for word in LOG_WORDS)


def _offsets(text: bytes) -> Iterator[int]:
    for word in LOG_WORDS:
        at = text.find(word)
        while at >= 0:
            yield at
            at = text.find(word, at + len(word))
