"""Snapshots in which every text that a kernel or a stranger supplies is a weapon, the facts of all plugins included."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from itertools import cycle
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from explorer.model import CaptureError, KernelSetting, PathRef, Reference, Snapshot
from explorer.plugin import Plugin

__all__ = ("WEAPONS", "arm", "hostile_facts")

WEAPONS = (
    "\x1b]0;owned\x07",
    "\x1b[31m\x1b[2J",
    "\x9b31m",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "a\rb\nc\td\x08\x7f",
    "\udcff\udc1b",
    "=1+1",
    "@SUM(A1)",
    "\uff1d1+1",
    "[/red][bold]x",
    "[@click=app.bell]x[/]",
    "{0}%s%n",
    "../../../tmp/x",
    "\u200b\ufeff",
    "](https://example.invalid)",
    "<script>x</script>",
)
#: Strings that the program itself reads: an address in a plugin's facts is one in JSON only.
_OWN = ("0x",)


def arm(snapshot: Snapshot, plugins: list[Plugin], first: int = 0) -> Snapshot:
    """The same kernel with a weapon in, or in front of, every text of the model; facts of all plugins, and of one more.

    :param first: which weapon begins
    """
    weapons = cycle(WEAPONS[first:] + WEAPONS[:first])
    armed: Snapshot = _armed(snapshot, weapons)
    armed.log = list(WEAPONS)
    armed.capture.notes = list(WEAPONS)
    armed.capture.source.target = WEAPONS[0]
    armed.plugins = {plugin.name: hostile_facts(plugin, weapons) for plugin in plugins}
    # Of a plugin that is not installed here: its very name, and the names of its facts, are a stranger's.
    nested = {weapon: [weapon, {weapon: weapon}, 1, None] for weapon in WEAPONS}
    armed.plugins |= {weapon: {"state": "loaded"} | nested for weapon in WEAPONS}
    armed.plugins |= {f"{weapon}2": {"state": weapon} for weapon in WEAPONS}
    armed.errors += [
        CaptureError(where=f"plugin {name}", what=weapon, why=weapon)
        for name, weapon in zip(("umh", "\x1b[2J"), WEAPONS, strict=False)
    ]
    return armed


def _armed(value: Any, weapons: Iterator[str]) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        values = {
            name: _armed_field(getattr(value, name), fields[name].annotation, weapons) for name in fields
        }
        return value.model_copy(update=values)
    if isinstance(value, list):
        return [_armed(item, weapons) for item in value]
    return value


def _armed_field(value: Any, annotation: Any, weapons: Iterator[str]) -> Any:
    """A text that may be any: not one of an enumeration's."""
    if isinstance(value, str) and not isinstance(value, Enum):
        free = annotation is str or str in get_args(annotation)
        return next(weapons) + value[:20] if free and not value.startswith(_OWN) else value
    if annotation == list[str]:
        return [next(weapons) + item[:20] for item in value] + [next(weapons)]
    return _armed(value, weapons)


def hostile_facts(plugin: Plugin, weapons: Iterator[str]) -> dict[str, Any]:
    """Facts such as the plugin itself could have given, with everything there, and a weapon in every text."""
    values = {name: _value(field.annotation, weapons) for name, field in plugin.facts.model_fields.items()}
    return plugin.facts.model_validate(values | {"state": "loaded"}).model_dump(mode="json")


def _value(annotation: Any, weapons: Iterator[str]) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0], weapons)
    if origin in (Union, types.UnionType):
        return _value(next(each for each in arguments if each is not type(None)), weapons)
    if origin is Literal:
        return arguments[0]
    if origin in (list, tuple):
        return [_value(arguments[0], weapons) for _ in range(2)]
    if origin is dict:
        return {_value(arguments[0], weapons): _value(arguments[1], weapons)}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return {name: _value(field.annotation, weapons) for name, field in fields.items()} | _own(
            annotation, weapons
        )
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    return next(weapons) if annotation is str else annotation(1)


def _own(annotation: type[BaseModel], weapons: Iterator[str]) -> dict[str, Any]:
    """What makes the rules of plugins speak: paths that are found, and not where they were."""
    if annotation is KernelSetting:
        return {"found": "yes"}
    if annotation is PathRef:
        return {"mount": "0xffff888000000001", "dentry": "0xffff888000000002", "placement": "detached"}
    return {"kind": "task"} if annotation is Reference else {}
