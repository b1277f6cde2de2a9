"""Our ``dataclass`` against the standard library's: the same classes, made both ways."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from explorer.ground import dataclass

_WAYS: list[Any] = [dataclasses.dataclass, dataclass]
_OPTIONS = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"slots": True, "eq": False},
]


def _point(way: Callable[..., Any], options: dict[str, bool]) -> Any:
    @way(**options)
    class Point:
        """A place."""

        x: int
        name: str = "?"
        seen: list[int] = field(default_factory=list, compare=False)
        hidden: int = field(default=7, repr=False)
        later: int = field(default=3, init=False)

    return Point


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
def test_an_object_is_what_the_standard_librarys_is_however_many_there_are(options: dict[str, bool]) -> None:
    theirs, ours = (_point(way, options) for way in _WAYS)
    for _ in range(200):
        for given, named in (((1,), {}), ((1, "a"), {}), ((), {"x": 2, "hidden": 0}), ((1,), {"seen": [4]})):
            a, b = theirs(*given, **named), ours(*given, **named)
            assert dataclasses.asdict(a) == dataclasses.asdict(b)
            assert repr(a).rpartition(".")[2] == repr(b).rpartition(".")[2]
            assert hasattr(a, "__dict__") == hasattr(b, "__dict__")
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    assert ours.__match_args__ == theirs.__match_args__
    assert ours(1).seen is not ours(1).seen
    assert dataclasses.replace(ours(1), name="b").name == "b"


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
def test_objects_are_equal_and_hashed_as_the_standard_librarys_are(options: dict[str, bool]) -> None:
    for cls in (_point(way, options) for way in _WAYS):
        is_compared = options.get("eq", True)
        assert (cls(1, seen=[1]) == cls(1, seen=[2])) is is_compared
        assert cls(1) != cls(2)
        assert cls(1) != (1, "?", 7, 3)
        if options.get("frozen"):
            assert len({cls(1), cls(1), cls(2)}) == 2
        elif is_compared:
            with pytest.raises(TypeError, match="unhashable"):
                hash(cls(1))
        else:
            assert len({cls(1), cls(1)}) == 2


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("given", "named"),
    [((), {}), ((1, "a", [], 1, 1), {}), ((1,), {"x": 1}), ((1,), {"later": 2}), ((1,), {"y": 2})],
)
def test_what_does_not_fit_the_fields_is_refused_in_the_standard_librarys_words(
    options: dict[str, bool], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    said = []
    for way in _WAYS:
        with pytest.raises(TypeError) as refused:
            _point(way, options)(*given, **named)
        said.append(str(refused.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("options", [{"frozen": True}, {"frozen": True, "slots": True}], ids=str)
def test_a_frozen_object_stays_as_it_is(options: dict[str, bool]) -> None:
    point = _point(dataclass, options)(1)
    for name in ("x", "later", "other"):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(point, name, 5)
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert (point.x, point.later) == (1, 3)


@dataclass(frozen=True, slots=True)
class _Pair:
    a: int
    b: list[int]


@dataclass(slots=True)
class _Open:
    a: int


@dataclass
class _Sum:
    a: int
    b: int
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.a + self.b


@dataclass
class _More(_Sum):
    c: int = 0

    def __repr__(self) -> str:
        return "more"


def test_copies_and_pickles_have_the_same_in_them() -> None:
    for thing in (_Pair(1, [2]), _Open(3), _Sum(1, 2)):
        for again in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
            assert again == thing and again is not thing


def test_what_a_class_computes_or_says_itself_is_kept_and_fields_are_inherited() -> None:
    for number in range(100):
        assert _Sum(number, b=2).total == number + 2
        more = _More(number, 2, c=3)
        assert (more.total, more.c, repr(more)) == (number + 2, 3, "more")
    assert repr(_Sum(1, 2)) == "_Sum(a=1, b=2, total=3)"
