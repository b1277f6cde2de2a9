"""``dataclass`` as the standard library has it, for classes of which most are never used by the command that runs.

There each class has up to eight methods made for it when it is defined, from source text: half a millisecond, and a
command defines eighty. Here no method is text, but for the ``__init__`` of a class of which many objects are made.
Fields are those of the standard library, so its ``replace``, ``asdict`` and ``fields`` work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import Any, TypeVar, cast, dataclass_transform, overload

__all__ = ("dataclass",)

_T = TypeVar("_T")
#: Objects of one class. A method of its own costs as much as the general one takes longer for two hundred.
_MANY = 50


@overload
def dataclass(cls: type[_T], /) -> type[_T]: ...
@overload
def dataclass(
    *, frozen: bool = False, slots: bool = False, eq: bool = True
) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataclass(
    cls: type[_T] | None = None, /, *, frozen: bool = False, slots: bool = False, eq: bool = True
) -> type[_T] | Callable[[type[_T]], type[_T]]:
    """What :func:`dataclasses.dataclass` gives, but for when its methods are made."""

    def make(given: type[_T]) -> type[_T]:
        own = set(vars(given))
        if given.__doc__ is None:
            given.__doc__ = (
                given.__name__
            )  # else it is made of a signature, which takes longer than all the rest
        made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(given)
        fields = tuple(dataclasses.fields(made))  # type: ignore[arg-type]
        methods: dict[str, Any] = {
            "__init__": _general_init(made, fields, frozen),
            "__repr__": _repr_of(fields),
        }
        if eq:
            methods |= _comparison(fields, frozen)
        if frozen and slots:
            methods |= _state(fields)
        for name, method in methods.items():
            if name not in own or (name == "__hash__" and "__eq__" in own):
                setattr(made, name, method)
        if frozen:
            _freeze(made, fields)
        return made

    return make if cls is None else make(cls)


def _general_init(cls: Any, fields: tuple[Field[Any], ...], frozen: bool) -> Callable[..., None]:
    """For the first objects of a class: what many are made of gets a method of its own."""
    taken = tuple(field.name for field in fields if field.init)
    constant = {field.name: field.default for field in fields if field.default is not MISSING}
    factories = {
        field.name: field.default_factory for field in fields if field.default_factory is not MISSING
    }
    needed = {field.name for field in fields if field.init} - constant.keys() - factories.keys()
    is_finished_later = hasattr(cls, "__post_init__")
    made = 0
    put = object.__setattr__

    def __init__(self: Any, *given: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        values = dict(zip(taken, given, strict=False))
        is_said_twice = len(given) > len(taken) or not values.keys().isdisjoint(named)
        values |= named
        if made > _MANY or is_said_twice or not needed <= values.keys() <= {*taken}:
            cls.__init__ = init = _own_init(cls, fields, frozen)
            init(self, *given, **named)  # which says, too, what is wrong with these
            return
        for name, value in constant.items():
            values.setdefault(name, value)
        for name, make in factories.items():
            if name not in values:
                values[name] = make()
        for name, value in values.items():
            put(self, name, value)
        if is_finished_later:
            self.__post_init__()

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _own_init(cls: Any, fields: tuple[Field[Any], ...], frozen: bool) -> Callable[..., None]:
    """As the standard library makes it, for a class of the same fields."""
    alike: dict[str, Any] = {field.name: _alike(field) for field in fields}
    alike["__annotations__"] = {field.name: field.type for field in fields}
    alike |= {"__qualname__": cls.__qualname__, "__doc__": cls.__doc__ or cls.__name__}
    if hasattr(cls, "__post_init__"):
        alike["__post_init__"] = None  # that there is one is what counts
    options = dataclasses.dataclass(repr=False, eq=False, frozen=frozen, match_args=False)
    made: Any = options(type(cls.__name__, (), alike))
    init: Any = made.__init__
    init.of = made  # else that is left to the garbage collector, in the middle of whatever is done
    return cast("Callable[..., None]", init)


def _alike(field: Field[Any]) -> Any:
    if field.init or field.default is MISSING:
        return dataclasses.field(
            default=field.default, default_factory=field.default_factory, init=field.init
        )
    return dataclasses.field(default_factory=lambda: field.default, init=False)


def _repr_of(fields: tuple[Field[Any], ...]) -> Callable[[Any], str]:
    shown = [field.name for field in fields if field.repr]

    @recursive_repr()
    def __repr__(self: Any) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({values})"

    return __repr__


def _comparison(fields: tuple[Field[Any], ...], frozen: bool) -> dict[str, Any]:
    names = [field.name for field in fields if field.compare]
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    if not frozen:
        return {"__eq__": __eq__, "__hash__": None}
    return {"__eq__": __eq__, "__hash__": lambda self: hash(values(self))}


def _state(fields: tuple[Field[Any], ...]) -> dict[str, Any]:
    """For copies and pickles, which set what is in slots attribute by attribute, and may not."""
    names = [field.name for field in fields]

    def __setstate__(self: Any, state: list[Any]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return {
        "__getstate__": lambda self: [getattr(self, name) for name in names],
        "__setstate__": __setstate__,
    }


def _freeze(cls: Any, fields: tuple[Field[Any], ...]) -> None:
    """Only what is a field of this class: one derived from it that is not frozen may have more."""
    names = {field.name for field in fields}

    def __setattr__(self: Any, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__ = __setattr__
    cls.__delattr__ = __delattr__
