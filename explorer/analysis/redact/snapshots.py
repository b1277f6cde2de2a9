"""Replace names in a snapshot: of tasks, path components, devices, and whatever words the kernel was told.

Every word that is not on :data:`~explorer.analysis.redact.words.KEPT_WORDS` becomes another of the same length, the
same one wherever it stands: what is equal stays equal, what differs stays different. What is kept besides: addresses,
numbers, times, the kernel's release and build id, and the names of its functions and modules. Network addresses are
replaced whole.
"""

from __future__ import annotations

import functools
import random
import re
import secrets
import string
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import ValidationError

from explorer.model import (
    KERNEL_WORD,
    SNAPSHOT_ARRAYS,
    CaptureError,
    KernelSetting,
    Record,
    Snapshot,
    Task,
    container_of,
    kernel_bytes,
    kernel_text,
)
from explorer.plugin import Plugin

from .words import KEPT_WORDS, NUMBERED_WORDS, SETTING_NAMES

__all__ = ("REDACTED_NOTE", "RedactionError", "Redactor", "UnknownKindError", "redact_snapshot")

REDACTED_NOTE = "Names in it were replaced by others (--redact); equal ones by equal ones."

#: A word: no ASCII punctuation, no space. Bytes above ASCII and control characters belong to words.
_WORD = re.compile(rb"[0-9A-Za-z\x00-\x1f\x7f-\xff]+")
#: Short numbers, and addresses of the kernel's; the name of a disk can be a long one, too.
_NUMBER = re.compile(rb"u?[0-9]{1,4}[HR]?|0x(?:[0-9a-f]{1,4}|ff[0-9a-f]{14})")
_NUMBERED = re.compile(rb"([A-Za-z]+)[0-9]{1,4}")
_UNITS = (
    rb"(?P<specifier>%[A-Za-z%])"  # what core_pattern has for a pid, a signal ...
    rb"|(?P<namespace>(?<![0-9A-Za-z])(?:mnt|net|pid|user|uts|ipc|time|cgroup):\[[0-9]{1,10}\])"  # a file of nsfs
    rb"|(?<![0-9A-Za-z.])(?P<ipv4>(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?![0-9A-Za-z]|\.[0-9])"
    rb"|(?<![0-9A-Za-z:])(?P<ipv6>(?:[0-9A-Fa-f]{1,4}:){4,7}[0-9A-Fa-f]{1,4}"  # hardware addresses, too
    rb"|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6})(?![0-9A-Za-z:])"
)
_STAMP = re.compile(r"\[ *[0-9]+\.[0-9]{6}\] ")
_INDEX = re.compile(r"\[[0-9]{1,4}\]$")
_FOUND = re.compile(rb"[0-9A-Za-z]{4,}")
_SHORTEST = 4
#: Names that are no plain words, each of which is looked for in a slice by itself. Honest ones have some tens.
_MAX_ODD = 500
#: What new words are made of: the first that has enough of them. The last is for damage, which has every byte in words.
_HEX = b"0123456789abcdef"
#: What a container's id looks like: another of its kind stands for it, so that it is told to be one.
_CONTAINER_ID = re.compile(rb"[0-9a-f]{64}")
_ALPHABETS = (
    string.ascii_lowercase.encode(),
    (string.ascii_letters + string.digits).encode(),
    bytes(code for code in range(1, 256) if _WORD.fullmatch(bytes([code]))),
)
_TRIES = 2_000  # with each
#: Fields of our own models that hold what the tool or the kernel's build says, not what a user did.
_KEPT_FIELDS = frozenset(
    {
        "tool_version", "taken_at", "kernel_time", "boot_time", "build_id", "release", "state", "umask", "taints",
        "struct_sizes", "func", "function", "threadfn", "current_func", "last_func", "module",
    }
)  # fmt: skip
#: Errors are replaced in a way of their own.
_ARRAYS = tuple(name for name in SNAPSHOT_ARRAYS if name != "errors")
_KEPT_IN = {
    "LoadedModule": {"name"},
    "StackFrame": {"source"},
    "TraceHeader": {"tool", "began", "boot_at"},
    "TraceEnd": {"ended"},
}


class RedactionError(ValueError):
    """Nothing can be written, and why not, for the user."""


class UnknownKindError(TypeError):
    """A value in which a name can be, and nobody knows how to replace it."""


class Redactor:
    """One mapping of words, for one snapshot and all that is written beside it.

    :param units: texts that stay as they are, and all words in them, where they stand whole: the kernel's release
    :ivar replaced: each word that was replaced, and by what; each network address, too.
    :ivar texts: each whole text, and what became of it.
    :ivar kept_texts: texts that stand in the output whole, although words in them may be replaced elsewhere.
    :ivar vocabulary: names of fields, and the words that a field is one of.
    """

    def __init__(self, units: Iterable[str] = (), seed: int | None = None) -> None:
        self._random = random.Random(secrets.randbits(128) if seed is None else seed)
        self._kept = {word.encode() for word in KEPT_WORDS}
        self._numbered = {word.encode() for word in NUMBERED_WORDS}
        whole = b"|".join(re.escape(kernel_bytes(text)) for text in units if text) or rb"(?!)"
        self._units = re.compile(rb"(?P<unit>(?<![0-9A-Za-z])(?:%s)(?![0-9A-Za-z]))|" % whole + _UNITS)
        #: What stands for other words by now.
        self.outputs: set[bytes] = set()
        #: By how long a word is, the first of the alphabets that may have words left.
        self._levels: dict[int, int] = {}
        self.replaced: dict[bytes, bytes] = {}
        self.texts: dict[bytes, bytes] = {}
        self.kept_texts: set[str] = set()
        self.vocabulary: set[str] = set()

    def keep(self, text: str) -> str:
        """Note that a text stays as it is."""
        self.kept_texts.add(text)
        return text

    def is_kept(self, word: bytes) -> bool:
        """Kernel words, some with a number behind (``kswapd0``), and numbers that are short."""
        if word in self._kept or _NUMBER.fullmatch(word):
            return True
        numbered = _NUMBERED.fullmatch(word)
        return numbered is not None and numbered[1] in self._numbered

    def word(self, word: bytes) -> bytes:
        """What stands for a word: of the same length, and for no other word."""
        if self.is_kept(word):
            return word
        known = self.replaced.get(word)
        if known is None:
            known = self.replaced[word] = self._invent(word)
        return known

    def _address(self, address: bytes) -> bytes:
        """What stands for a network address: another of the same shape."""
        known = self.replaced.get(address)
        for _ in range(_TRIES if known is None else 0):
            new = re.sub(rb"[0-9A-Fa-f]+", lambda part: self._part(part[0], b"." in address), address)
            if new != address and new not in self.outputs:
                self.outputs.add(new)
                known = self.replaced[address] = self.texts[address] = new
                break
        if known is None:
            raise RedactionError(
                "cannot be redacted: more different network addresses of one shape than can be told apart"
            )
        return known

    def _part(self, part: bytes, decimal: bool) -> bytes:
        if decimal:
            low, high = (0, 9) if len(part) == 1 else (10, 99) if len(part) == 2 else (100, 255)
            return b"%d" % self._random.randint(low, high)
        return bytes(self._random.choices(_HEX, k=len(part)))

    def _invent(self, word: bytes) -> bytes:
        if _CONTAINER_ID.fullmatch(word):
            new = bytes(self._random.choices(_HEX, k=len(word)))
            self.outputs.add(new)
            return new
        for level in range(self._levels.get(len(word), 0), len(_ALPHABETS)):
            self._levels[len(word)] = level  # one that has run out is not tried again
            for _ in range(_TRIES):
                new = bytes(self._random.choices(_ALPHABETS[level], k=len(word)))
                if new != word and new not in self.outputs and not self.is_kept(new):
                    self.outputs.add(new)
                    return new
        raise RedactionError(
            f"cannot be redacted: more different words of {len(word)} bytes than can be told apart"
        )

    def raw(self, text: bytes) -> bytes:
        """A text with every word replaced."""
        parts, end = [], 0
        for match in self._units.finditer(text):
            parts.append(self._words(text[end : match.start()]))
            address = match["ipv4"] or match["ipv6"]
            parts.append(match[0] if address is None else self._address(address))
            end = match.end()
        return b"".join([*parts, self._words(text[end:])])

    def _words(self, text: bytes) -> bytes:
        return _WORD.sub(lambda match: self.word(match[0]), text)

    def text(self, text: str) -> str:
        """Kernel text with every word replaced."""
        raw = kernel_bytes(text)
        new = self.texts[raw] = self.raw(raw)
        return kernel_text(new)

    def log_line(self, line: str) -> str:
        """The same behind the time at its start."""
        match = _STAMP.match(line)
        end = match.end() if match else 0
        return line[:end] + self.text(line[end:])

    def record(self, record: Record) -> Any:
        """A copy of a record: all free text in it replaced, numbers, enumerations and addresses as they are.

        :raises UnknownKindError: if a field holds what nobody knows how to replace
        """
        kept = _kept_fields(type(record))
        if isinstance(record, KernelSetting) and _INDEX.sub("", record.name) in SETTING_NAMES:
            kept |= {"name"}
        values = {}
        for name in type(record).model_fields:
            value = getattr(record, name)
            if name in kept:
                values[name] = self.keep(value) if isinstance(value, str) else value
            else:
                values[name] = self.value(value)
        if isinstance(record, Task) and values["cgroup"] is not None:
            # As it is told from the path that is shown: of parts of words in that (``\x2d``) it is made, too.
            values["container"] = container_of(kernel_bytes(values["cgroup"]))
        return record.model_copy(update=values)

    def value(self, value: Any) -> Any:
        """Any value of a field."""
        if isinstance(value, Enum):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Record):
            return self.record(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(map(self.value, value))
        if value is None or isinstance(value, int | float):
            return value
        raise UnknownKindError(f"a {type(value).__name__} in it")

    def leaks(self, output: bytes, own: Iterable[bytes] = ()) -> list[bytes]:
        """Names of four bytes or more that still stand as words in what is to be written.

        :param own: texts of the kernel's in it, of which the words say nothing
        :raises RedactionError: if there are too many to look for
        """
        wanted = self._wanted() - {word for text in own for word in _FOUND.findall(text)}
        odd = {name for name in wanted if not _FOUND.fullmatch(name)}
        if len(odd) > _MAX_ODD:
            raise RedactionError(f"cannot be redacted: {len(odd)} of its names are no text, so it is damaged")
        return sorted((wanted & set(_FOUND.findall(output))) | {name for name in odd if name in output})

    def leaks_in_texts(self, texts: Iterable[str]) -> list[bytes]:
        """The same for the values of an export: what is kept is so as a whole."""
        wanted, found = self._wanted(), set()
        has_odd = not all(map(_FOUND.fullmatch, wanted))
        fixed = self.kept_texts | self.vocabulary
        for text in texts:
            if text not in fixed:
                raw = kernel_bytes(text)
                found |= wanted.intersection(_FOUND.findall(raw))
                if has_odd:  # control characters, other alphabets, network addresses
                    found |= wanted.intersection(_WORD.findall(raw))
                    found |= wanted.intersection(match[0] for match in self._units.finditer(raw))
        return sorted(found)

    def _wanted(self) -> set[bytes]:
        return {name for name in self.replaced if len(name) >= _SHORTEST} - self.outputs

    def keep_vocabulary(self, *models: type[Record]) -> None:
        """Note the names of fields, and the values that are one of a few, which every export has."""
        for model in models:
            self.vocabulary.update(_vocabulary(model.model_json_schema()))


def _vocabulary(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _vocabulary(part)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (
            value for value in (*schema.get("enum", ()), schema.get("const")) if isinstance(value, str)
        )
        for part in schema.values():
            yield from _vocabulary(part)


@functools.cache
def _kept_fields(model: type[Record]) -> frozenset[str]:
    """Fields that say nothing of a user, whatever is in them."""
    fields = {
        name
        for name, field in model.model_fields.items()
        if KERNEL_WORD in field.metadata or _is_fixed(field.annotation)
    }
    if model.__module__.startswith("explorer.model."):
        fields |= _KEPT_FIELDS | _KEPT_IN.get(model.__name__, set())
    return frozenset(fields)


def _is_fixed(annotation: Any) -> bool:
    """Whether a field can hold one of a few words only, or is marked as the kernel's."""
    if typing.get_origin(annotation) is typing.Literal or KERNEL_WORD in typing.get_args(annotation)[1:]:
        return True
    return any(_is_fixed(part) for part in typing.get_args(annotation))


def redact_snapshot(
    snapshot: Snapshot, plugins: Sequence[Plugin] = (), redactor: Redactor | None = None
) -> Snapshot:
    """The same snapshot with other names.

    :param plugins: facts of plugins that are not among them are left out, which is said in ``errors``
    """
    names = redactor or Redactor()
    names.keep_vocabulary(Snapshot, *(plugin.facts for plugin in plugins))
    capture = snapshot.capture.model_copy(update={"notes": []})
    facts, left_out = _facts(snapshot, {plugin.name: plugin for plugin in plugins}, names)
    redacted = Snapshot(
        schema_version=snapshot.schema_version,
        capture=names.record(capture).model_copy(update={"notes": [names.keep(REDACTED_NOTE)]}),
        kernel=names.record(snapshot.kernel),
        **{name: names.value(getattr(snapshot, name)) for name in _ARRAYS},
        log=[names.log_line(line) for line in snapshot.log],
        plugins=facts,
        errors=[*names.value(snapshot.errors), *left_out],
    )
    return redacted


def _facts(
    snapshot: Snapshot, known: Mapping[str, Plugin], names: Redactor
) -> tuple[dict[str, Any], list[CaptureError]]:
    """Facts, read as what their plugin says they are: anything else may hold a name anywhere."""
    facts: dict[str, Any] = {}
    errors = []
    for name, raw in snapshot.plugins.items():
        shown = names.keep(name) if name in known else names.text(name)
        if raw.get("state") != "loaded":
            facts[shown] = {"state": "failed" if raw.get("state") == "failed" else "not loaded"}
            continue
        facts[shown], why = _loaded_facts(raw, known.get(name), names)
        if why:
            errors.append(
                CaptureError(where=f"plugin {shown}", what="redact", why=f"{why}: its facts are left out")
            )
    return facts, errors


def _loaded_facts(
    raw: Mapping[str, Any], plugin: Plugin | None, names: Redactor
) -> tuple[dict[str, Any], str | None]:
    """Redacted; or nothing of them, and why."""
    if plugin is None:
        return {"state": "failed"}, "not installed here"
    try:
        facts = plugin.facts.model_validate(raw)
    except ValidationError:
        return {"state": "failed"}, "not in the shape that the plugin gives them"
    try:
        return names.record(facts).model_dump(mode="json"), None
    except UnknownKindError as error:
        return {"state": "failed"}, f"not to be redacted, with {error}"
