"""Structures of the kernel being read as plain values: where their members lie, and how bytes become numbers.

A :class:`Decoder` turns the bytes of one structure, read at once, into a tuple of plain values, with offsets and widths
computed once from the kernel's own types.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar, cast

import drgn

__all__ = (
    "NOT_READ",
    "Decoder",
    "LayoutError",
    "Member",
    "Wanted",
    "find_member",
    "make_decoder",
    "member_offset",
    "optional_offset",
    "probed",
)

_T = TypeVar("_T")
#: Of ``Program.cache``.
_LAYOUTS = "nullfs-explorer layouts"


class LayoutError(LookupError):
    """The kernel lacks a member this program cannot do without; the message names it."""


class Member(NamedTuple):
    """A member found: byte offset in the outermost structure, and its type without typedefs."""

    offset: int
    type: drgn.Type


def _strip(type_: drgn.Type) -> drgn.Type:
    while type_.kind is drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def find_member(type_: drgn.Type, *designators: str) -> Member | None:
    """The first of several spellings of a member that the structure has.

    :param designators: dotted paths such as ``"seq.seqcount.sequence"``; anonymous members are looked through
    :return: ``None`` when the structure has none of them
    :raises LayoutError: if it has one of a type that is none
    """
    for designator in designators:
        current, offset = _strip(type_), 0
        for name in designator.split("."):
            if current.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
                break
            if not current.has_member(name):
                break
            member = current.member(name)
            offset += member.bit_offset // 8
            try:
                current = _strip(member.type)  # made when it is first asked for
            except ValueError as error:
                raise LayoutError(
                    f"this kernel's {type_.type_name()} has a damaged {name}: {error}"
                ) from error
        else:
            return Member(offset, current)
    return None


_INTEGERS = {(1, True): "b", (1, False): "B", (2, True): "h", (2, False): "H"}
_INTEGERS |= {(4, True): "i", (4, False): "I", (8, True): "q", (8, False): "Q"}


def _format_of(type_: drgn.Type) -> str:
    if type_.kind is drgn.TypeKind.POINTER:
        return "Q"
    if type_.kind is drgn.TypeKind.ARRAY:
        return f"{drgn.sizeof(type_)}s"
    if type_.kind is drgn.TypeKind.BOOL:
        return "?"
    if type_.kind is drgn.TypeKind.ENUM:
        return _INTEGERS[drgn.sizeof(type_), False]
    if type_.kind is drgn.TypeKind.INT:
        return _INTEGERS[drgn.sizeof(type_), type_.is_signed]
    raise LayoutError(f"a member of type {type_.type_name()} is no plain value")


#: (what was unpacked, address) -> (address, the values in the order asked for..., more)
Arrange = Callable[[tuple[Any, ...], int], tuple[Any, ...]]


def _arranger(slots: Sequence[int], missing: int, tail: tuple[Any, ...]) -> Arrange:
    """Puts values into order: those of a structure whose fields are asked for as they lie in it are there already.

    :param slots: of each value asked for, which of those unpacked it is; ``missing``, their number: ``None``
    """
    there = [slot for slot in slots if slot != missing]
    if there == list(range(missing)):
        gaps = [index for index, slot in enumerate(slots) if slot == missing]
        if not gaps:
            return lambda values, address: (address,) + values + tail  # noqa: RUF005 - twice as fast, as below
        if len(gaps) == 1:
            [gap] = gaps
            return lambda values, address: (address,) + values[:gap] + (None,) + values[gap:] + tail  # noqa: RUF005
    pick = itemgetter(missing + 1, *slots, *range(missing + 2, missing + 2 + len(tail)))
    return lambda values, address: pick(values + (None, address) + tail)  # noqa: RUF005


class Decoder:
    """Decodes one structure from one read.

    Read ``span`` bytes from ``address + base`` and hand them to :meth:`decode`: a tuple comes back with one
    value for every field asked for, in the order asked; ``None`` for a member this kernel has not.
    """

    __slots__ = (
        "_missing",
        "_pick",
        "_slots",
        "_struct",
        "base",
        "fields",
        "members",
        "name",
        "size",
        "span",
    )

    def __init__(self, type_: drgn.Type, found: Sequence[Member | None], fields: Sequence[str]) -> None:
        present = sorted((m.offset, i) for i, m in enumerate(found) if m is not None)
        if not present:
            raise LayoutError(f"{type_.type_name()} has none of the members wanted")
        self.name = type_.type_name()
        #: What the values are called, in the order they are given.
        self.fields = tuple(fields)
        self.size = drgn.sizeof(type_)
        self.base = present[0][0]
        #: Of every field: where it lies from the start of the structure, and how it is read by itself.
        self.members = tuple(
            None if member is None else (member.offset, struct.Struct(f"<{_format_of(member.type)}"))
            for member in found
        )
        code, at = "<", self.base
        slot_of: dict[int, int] = {}
        for slot, (offset, index) in enumerate(present):
            member = found[index]
            assert member is not None
            if offset < at:
                raise LayoutError(f"members of {type_.type_name()} overlap")
            code += f"{offset - at}x{_format_of(member.type)}"
            at = offset + drgn.sizeof(member.type)
            slot_of[index] = slot
        self._struct = struct.Struct(code)
        self.span = self._struct.size
        self._missing = missing = len(present)
        self._slots = slots = [slot_of.get(index, missing) for index in range(len(found))]
        self._pick = itemgetter(*slots) if len(slots) > 1 else lambda values: (values[slots[0]],)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values of one structure; raises :class:`struct.error` when ``data`` is shorter than span."""
        picked: tuple[Any, ...] = self._pick((*self._struct.unpack_from(data), None))
        return picked

    def recover(
        self, read: Callable[[int, int], bytes | None], address: int
    ) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """The structure at ``address`` member by member, where one read of all of it has failed.

        :param read: memory by address and size; ``None`` where that is not there
        :return: the values as :meth:`decode` gives them, ``None`` for those that are not there; and their indices
        """
        values: list[Any] = []
        unread = []
        for index, member in enumerate(self.members):
            data = None if member is None else read(address + member[0], member[1].size)
            if member is not None and data is None:
                unread.append(index)
            values.append(None if member is None or data is None else member[1].unpack(data)[0])
        return tuple(values), tuple(unread)

    def parts(self, tail: tuple[Any, ...] = ()) -> tuple[Callable[..., tuple[Any, ...]], Arrange]:
        """:meth:`decode` in two steps, for bulk: ``unpack``, and ``arrange`` what it gives.

        ``arrange(unpack(data), address)`` is (address, the values..., ``tail``...).
        """
        return self._struct.unpack_from, _arranger(self._slots, self._missing, tail)


#: A field wanted: spellings in order of preference; a leading "?" marks one that a kernel may lack, a trailing "[]" an
#: array, of which the bytes are given.
Wanted = str | tuple[str, ...]
#: A member that is not to be read, whether the kernel has it or not: its value is ``None``.
NOT_READ: tuple[str, ...] = ()


def make_decoder(
    prog: drgn.Program, type_name: str, *wanted: Wanted, fields: Sequence[str] | None = None
) -> Decoder:
    """A decoder of ``struct type_name`` for the members wanted.

    :param fields: what to call their values, if not as they are spelled
    :raises LayoutError: if a member without a leading ``?`` is missing, or is an array where a number is wanted, or not
        one where one is
    """
    type_ = prog.type(f"struct {type_name}")
    found: list[Member | None] = []
    for spelling in wanted:
        designators = (spelling,) if isinstance(spelling, str) else spelling
        if not designators:
            found.append(None)
            continue
        optional = designators[0].startswith("?")
        is_array = designators[0].endswith("[]")
        member = find_member(type_, *(d.removeprefix("?").removesuffix("[]") for d in designators))
        if member is None and not optional:
            raise LayoutError(f"this kernel's struct {type_name} has no {' or '.join(designators)}")
        if member is not None and is_array is not (member.type.kind is drgn.TypeKind.ARRAY):
            what = member.type.type_name()
            raise LayoutError(f"this kernel's struct {type_name} has {what} for {designators[0]}")
        found.append(member)
    names = (spelling if isinstance(spelling, str) else next(iter(spelling), "") for spelling in wanted)
    return Decoder(type_, found, fields or [name.removeprefix("?").removesuffix("[]") for name in names])


def member_offset(prog: drgn.Program, type_name: str, *designators: str) -> int:
    """Offset of a member in bytes. :raises LayoutError: if ``struct type_name`` has none of the spellings"""
    member = find_member(prog.type(f"struct {type_name}"), *designators)
    if member is None:
        raise LayoutError(f"this kernel's struct {type_name} has no {' or '.join(designators)}")
    return member.offset


def optional_offset(prog: drgn.Program, type_name: str, *designators: str) -> int | None:
    member = find_member(prog.type(f"struct {type_name}"), *designators)
    return None if member is None else member.offset


def probed(prog: drgn.Program, what: str, probe: Callable[[drgn.Program], _T]) -> _T:
    """What ``probe`` finds in a kernel's types, found once however often the kernel is captured.

    :param what: a name of its own
    :raises LookupError: as ``probe`` does, each time
    """
    known = prog.cache.setdefault(_LAYOUTS, {})
    if what not in known:
        known[what] = probe(prog)
    return cast(_T, known[what])
