"""Build drgn types from BTF, each when it is first asked for, and find them by name.

One :class:`BtfTypes` speaks for the BTF of vmlinux and, behind it, for the split BTF of modules. drgn wants the members
of a struct as callables, so a lookup of ``struct task_struct`` builds one type, not the thousands it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drgn import (
    Object,
    Program,
    Qualifiers,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeKindSet,
    TypeMember,
    TypeParameter,
    sizeof,
)

from explorer.targets.symbols.btf import MAX_CHAIN, Btf, BtfError, Kind, Member

__all__ = ("BtfTypes",)

_KINDS = {
    TypeKind.INT: (Kind.INT,),
    TypeKind.BOOL: (Kind.INT,),
    TypeKind.FLOAT: (Kind.FLOAT,),
    TypeKind.STRUCT: (Kind.STRUCT, Kind.FWD),
    TypeKind.UNION: (Kind.UNION, Kind.FWD),
    TypeKind.ENUM: (Kind.ENUM, Kind.ENUM64, Kind.FWD),
    TypeKind.TYPEDEF: (Kind.TYPEDEF,),
}
_QUALIFIERS = {
    Kind.CONST: Qualifiers.CONST,
    Kind.VOLATILE: Qualifiers.VOLATILE,
    Kind.RESTRICT: Qualifiers.RESTRICT,
}
#: What can be looked up in modules; scalars are all in vmlinux, or drgn makes them itself.
_IN_MODULES = frozenset({TypeKind.STRUCT, TypeKind.UNION, TypeKind.ENUM, TypeKind.TYPEDEF})
_COMPOSITES = (Kind.STRUCT, Kind.UNION)
_MAX_MEMBERS = 1 << 16  # of one struct, BTF itself cannot describe more; the largest of a kernel have 300
_INT_BOOL = 4
_MAX_INT = 16  # __int128
_INT_SIGNED = 1
#: By size, the integer type behind an enum: BTF does not say which, DWARF spells it this way.
_ENUM_INTS = {1: "char", 2: "short", 4: "int", 8: "long"}


class BtfTypes:
    """drgn types of one program, by BTF id and by name.

    :param prog: the program that the types belong to.
    :param vmlinux: BTF of the core kernel: its names come first.
    :param modules: called for the split BTFs of modules, when a name is not in vmlinux's. Large modules carry
        private copies of core structs, so their own names are only the last resort.
    """

    def __init__(
        self, prog: Program, vmlinux: Btf, modules: Callable[[], Iterable[Btf]] | None = None
    ) -> None:
        self._prog = prog
        self.vmlinux = vmlinux
        self._modules = modules or (lambda: ())
        self._types: dict[tuple[Btf, int], Type] = {}
        self._named: dict[tuple[str, tuple[TypeKind, ...]], Type | None] = {}
        self._counts: dict[tuple[Btf, int], int] = {}
        self._depth = 0
        self._has_unresolved = False
        """A type was made that a module may have which is not loaded yet."""

    def __call__(self, prog: Program, kinds: TypeKindSet, name: str, filename: str | None) -> Type | None:
        """The signature of ``Program.register_type_finder()``. BTF knows no file names: none ever matches."""
        if filename:
            return None
        wanted = tuple(kind for kind in _KINDS if kind in kinds)
        key = (name, wanted)
        if key not in self._named:
            self._named[key] = self._search(wanted, name)
        return self._named[key]

    def forget_missing(self) -> None:
        """Look again for the names not found so far: the loaded modules have changed."""
        self._named = {key: found for key, found in self._named.items() if found is not None}
        if self._has_unresolved:
            self._has_unresolved = False
            self._types.clear()

    def _search(self, wanted: tuple[TypeKind, ...], name: str) -> Type | None:
        found = self._find(self.vmlinux, wanted, name)
        if (found is not None and found.is_complete()) or not _IN_MODULES.intersection(wanted):
            return found
        for btf in self._modules():
            other = self._find(btf, wanted, name)
            if other is not None and other.is_complete():
                return other
            found = found or other
        return found

    def _find(self, btf: Btf, wanted: Iterable[TypeKind], name: str) -> Type | None:
        """The first complete type of the name and one of the kinds; a forward declaration if there is only that."""
        incomplete: Type | None = None
        for kind in wanted:
            for type_id in btf.find(name, _KINDS[kind]):
                found = self.type(btf, type_id)
                if found.kind is not kind:
                    continue
                if found.is_complete():
                    return found
                incomplete = incomplete or found
        return incomplete

    def type(self, btf: Btf, type_id: int) -> Type:
        """The drgn type of a BTF id.

        :raises BtfError: if the type, or what it refers to, is damaged.
        """
        owner = btf.owner(type_id)
        key = (owner, type_id)
        found = self._types.get(key)
        if found is None:
            if self._depth > MAX_CHAIN:
                raise BtfError(f"BTF type {type_id} refers to itself, or is nested too deep")
            self._depth += 1
            try:
                found = self._types[key] = self._build(owner, type_id)
            except (ValueError, TypeError, OverflowError) as error:
                if isinstance(error, BtfError):
                    raise
                raise BtfError(f"BTF type {type_id} is no valid C type: {error}") from error
            finally:
                self._depth -= 1
        return found

    def _build(self, btf: Btf, type_id: int) -> Type:
        prog, head = self._prog, btf.type(type_id)
        name, kind = head.name or "", head.kind
        if kind in _COMPOSITES:
            make = prog.struct_type if kind is Kind.STRUCT else prog.union_type
            return make(head.name, head.ref, self._members(btf, type_id))
        if kind is Kind.PTR:
            return prog.pointer_type(self.type(btf, head.ref))
        if kind is Kind.TYPEDEF:
            return prog.typedef_type(name, self.type(btf, head.ref))
        if kind in _QUALIFIERS:
            inner = self.type(btf, head.ref)
            return inner.qualified(inner.qualifiers | _QUALIFIERS[kind])
        if kind in (Kind.TYPE_TAG, Kind.FUNC, Kind.VAR):
            return self.type(btf, head.ref)
        if kind is Kind.FWD:
            return self._forward(btf, name, union=head.kind_flag)
        if kind in (Kind.ENUM, Kind.ENUM64):
            return self._enum(btf, type_id)
        if kind is Kind.FUNC_PROTO:
            return self._function(btf, type_id)
        if kind is Kind.VOID:
            return prog.void_type()
        return self._scalar(btf, type_id)

    def _scalar(self, btf: Btf, type_id: int) -> Type:
        prog, head = self._prog, btf.type(type_id)
        if head.kind is Kind.ARRAY:
            element, length = btf.array_of(type_id)
            return prog.array_type(self.type(btf, element), length)
        if head.kind is Kind.FLOAT:
            return prog.float_type(head.name or "", head.ref)
        if head.kind is Kind.INT:
            encoding, _, _ = btf.int_encoding(type_id)
            if not 1 <= head.ref <= _MAX_INT:
                raise BtfError(f"BTF integer {type_id} has a size of {head.ref} bytes")
            if encoding & _INT_BOOL:
                return prog.bool_type(head.name or "", head.ref)
            return prog.int_type(head.name or "", head.ref, bool(encoding & _INT_SIGNED))
        raise BtfError(f"BTF type {type_id} ({head.kind.name}) is no C type")

    def _forward(self, btf: Btf, name: str, *, union: bool) -> Type:
        """The complete type that a forward declaration announces: the module's own or vmlinux's, else another module's.

        ``nfs`` knows what a layout driver is by name alone, ``nfsv4`` has the type.
        """
        kind = Kind.UNION if union else Kind.STRUCT
        level: Btf | None = btf
        while level is not None:
            for type_id in level.find(name, (kind,)):
                return self.type(level, type_id)
            level = level.base
        for other in self._modules():
            for type_id in other.find(name, (kind,)):
                if other.owner(type_id) is other:
                    return self.type(other, type_id)
        self._has_unresolved = True
        return self._prog.union_type(name) if union else self._prog.struct_type(name)

    def _members(self, btf: Btf, type_id: int) -> list[TypeMember]:
        members = btf.members(type_id)
        if any(not member.name for member in members):
            self._count_members(btf, type_id)
        # A flexible array can only be the last of several members.
        last = members[-1] if len(members) > 1 and btf.type(type_id).kind is Kind.STRUCT else None
        return [
            TypeMember(self._member(btf, type_id, member, member is last), member.name, member.bit_offset)
            for member in members
        ]

    def _count_members(self, btf: Btf, type_id: int, outer: tuple[int, ...] = ()) -> int:
        """How many members drgn finds in a type, looking through the anonymous ones.

        :raises BtfError: if there are too many: anonymous structs of two anonymous structs each double with every level
        """
        key = (btf.owner(type_id), type_id)
        known = self._counts.get(key)
        if known is not None:
            return known
        if type_id in outer or len(outer) > MAX_CHAIN:
            raise BtfError(f"BTF type {type_id} contains itself, or is nested too deep")
        count = 0
        for member in btf.members(type_id):
            inner = type_id if member.name else btf.strip(member.type_id)
            looked_through = not member.name and btf.type(inner).kind in _COMPOSITES
            count += self._count_members(btf, inner, (*outer, type_id)) if looked_through else 1
        if count > _MAX_MEMBERS:
            raise BtfError(f"BTF type {type_id} has {count} members in its anonymous members")
        self._counts[key] = count
        return count

    def _member(
        self, btf: Btf, parent: int, member: Member, may_be_flexible: bool
    ) -> Callable[[], Object | Type]:
        def evaluate() -> Object | Type:
            _check_member(btf, parent, member)
            if may_be_flexible and btf.type(member.type_id).kind is Kind.ARRAY:
                element, length = btf.array_of(member.type_id)
                if not length:  # "T name[]": BTF writes it like "T name[0]"
                    return self._prog.array_type(self.type(btf, element))
            member_type = self.type(btf, member.type_id)
            try:
                sizeof(member_type)  # a member must have one
                if not member.bit_size:
                    return member_type
                return Object(self._prog, member_type, bit_field_size=member.bit_size)
            except (TypeError, ValueError, OverflowError) as error:
                raise BtfError(
                    f"BTF member {member.name} of type {parent} is no C member: {error}"
                ) from error

        return evaluate

    def _enum(self, btf: Btf, type_id: int) -> Type:
        head = btf.type(type_id)
        if not head.vlen and head.name:
            # "enum foo;" is an ENUM without enumerators: prefer the one that has them.
            level: Btf | None = btf
            while level is not None:
                for other in level.find(head.name, (Kind.ENUM, Kind.ENUM64)):
                    if level.type(other).vlen:
                        return self.type(level, other)
                level = level.base
            return self._prog.enum_type(head.name)
        if head.ref not in _ENUM_INTS:
            raise BtfError(f"BTF enum {type_id} has size {head.ref}")
        spelling = _ENUM_INTS[head.ref]
        if not head.kind_flag:
            spelling = f"unsigned {spelling}"
        elif spelling == "char":
            spelling = "signed char"
        base = self._prog.int_type(spelling, head.ref, head.kind_flag)
        return self._prog.enum_type(
            head.name, base, [TypeEnumerator(name, value) for name, value in btf.enumerators(type_id)]
        )

    def _function(self, btf: Btf, type_id: int) -> Type:
        parameters, variadic = btf.parameters(type_id)
        return self._prog.function_type(
            self.type(btf, btf.type(type_id).ref),
            [TypeParameter(self._reference(btf, ref), name) for name, ref in parameters],
            variadic,
        )

    def _reference(self, btf: Btf, type_id: int) -> Callable[[], Type]:
        return lambda: self.type(btf, type_id)

    def constant(self, name: str) -> Object | None:
        """The enumerator of that name as a constant, of its enum's type (vmlinux only: helpers probe for many
        that do not exist, and that must not cost a read of every module's BTF)."""
        for type_id in self.vmlinux.find_enumerator(name):
            for found, value in self.vmlinux.enumerators(type_id):
                if found == name:
                    return Object(self._prog, self.type(self.vmlinux, type_id), value)
        return None

    def named(self, name: str, kind: Kind) -> Type | None:
        """The type of the FUNC or VAR of that name."""
        for type_id in self.vmlinux.find(name, (kind,)):
            return self.type(self.vmlinux, type_id)
        return None


def _check_member(btf: Btf, parent: int, member: Member) -> None:
    """A member must lie within its parent, and a struct cannot hold itself by value.

    drgn looks into anonymous members recursively; a struct inside itself would send it round for ever.
    """
    size = btf.type(parent).ref
    bits = member.bit_size or btf.size_of(member.type_id) * 8
    if member.bit_offset + bits > size * 8:
        raise BtfError(f"BTF member {member.name or '(anonymous)'} is outside its type {parent}")
    # Whatever holds itself by value holds, all the way down, members as large as it is.
    pending, seen = [member.type_id], {parent}
    while pending:
        type_id = btf.strip(pending.pop())
        head = btf.type(type_id)
        if head.kind not in _COMPOSITES or head.ref != size:
            continue
        if type_id == parent:
            raise BtfError(f"BTF type {parent} contains itself")
        if type_id not in seen:
            seen.add(type_id)
            pending += [inner.type_id for inner in btf.members(type_id)]
