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
    STRUCT_NAMES,
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

from .check import words_left, words_left_in_memory
from .runs import find_runs, is_part_of_address
from .words import KEPT_WORDS, NUMBERED_WORDS, SETTING_NAMES

__all__ = ("REDACTED_NOTE", "RedactionError", "Redactor", "UnknownKindError", "redact_snapshot")

REDACTED_NOTE = "Names in it were replaced by others (--redact); equal ones by equal ones."

#: A word: no ASCII punctuation, no space. Bytes above ASCII and control characters belong to words.
_WORD = re.compile(rb"[0-9A-Za-z\x00-\x1f\x7f-\xff]+")
#: Short numbers, and addresses of the kernel's; the name of a disk can be a long one, too.
_NUMBER = re.compile(rb"u?[0-9]{1,4}[HR]?|0x(?:[0-9a-f]{1,4}|ff[0-9a-f]{14})")
_NUMBERED = re.compile(rb"([A-Za-z]+)[0-9]{1,4}")
_UNITS = (
    rb"(?P<kworker>(?<![0-9A-Za-z])kworker/u?[0-9]{1,4}:[0-9]{1,4}[HRI]?(?=[-+][A-Za-z]|[ /]|$))"
    # What core_pattern has for a pid, a signal ... In a name with a letter behind it, it is a part of a word.
    rb"|(?P<specifier>%[cdeghiIpPstuEfF](?![0-9A-Za-z\x00-\x1f\x7f-\xff]))"
    rb"|(?P<namespace>(?<![0-9A-Za-z])(?:mnt|net|pid|user|uts|ipc|time|cgroup):\[[0-9]{1,10}\])"  # a file of nsfs
    rb"|(?<![0-9A-Za-z.])(?P<ipv4>(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?![0-9A-Za-z]|\.[0-9])"
    rb"|(?<![0-9A-Za-z:])(?P<ipv6>(?:[0-9A-Fa-f]{1,4}:){4,7}[0-9A-Fa-f]{1,4}"  # hardware addresses, too
    rb"|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6})(?![0-9A-Za-z:])"
)
_STAMP = re.compile(r"\[ *[0-9]+\.[0-9]{6}\] ")
_INDEX = re.compile(r"\[[0-9]{1,4}\]$")
_FOUND = re.compile(rb"[0-9A-Za-z]{4,}")
_SHORTEST = 4
_LONGEST_NUMBER = 6
#: What a slice may show of a text, in which numbers are parts of an address.
_PARTS = re.compile(rb"[!-.0-~\x80-\xff]+")
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

    def __init__(self, units: Sequence[str] = (), seed: int | None = None) -> None:
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
        #: What stands for numbers, and for the kernel's own words, where they may be parts of an address.
        self._parts: dict[bytes, bytes] = {}
        #: What stood there, whole.
        self._runs: set[bytes] = set()
        self._whole_units = {kernel_bytes(text) for text in units if text}
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
        return self._is_numbered(word)

    def _is_numbered(self, word: bytes) -> bool:
        numbered = _NUMBERED.fullmatch(word)
        return numbered is not None and numbered[1] in self._numbered

    def word(self, word: bytes) -> bytes:
        """What stands for a word: of the same length, and for no other word."""
        if self.is_kept(word):
            return word
        known = self.replaced.get(word)
        if known is None:
            known = self.replaced[word] = self._parts.get(word) or self._invent(word)
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
        """A text with every word replaced; as long as before."""
        new, rest = bytearray(text), bytearray(text)
        for match in self._units.finditer(text):
            at, end = match.span()
            rest[at:end] = b" " * (end - at)
            if match["ipv4"] or match["ipv6"]:
                new[at:end] = self._address(match[0])
        runs = list(find_runs(bytes(rest), self._is_numbered))
        self._runs.update(text[at:end] for at, end in runs)
        inside = bytearray(len(text))
        for at, end in runs:
            inside[at:end] = b"\1" * (end - at)
        for match in _WORD.finditer(bytes(rest)):
            at, end = match.span()
            new[at:end] = self._part_of_run(match[0]) if inside[at] else self.word(match[0])
        return bytes(new)

    def _part_of_run(self, word: bytes) -> bytes:
        if self._is_numbered(word) or not (is_part_of_address(word) or _NUMBER.fullmatch(word)):
            return self.word(word)
        if len(word) > _LONGEST_NUMBER and _NUMBER.fullmatch(word):  # an address of the kernel's
            return word
        known = self._parts.get(word)
        if known is None:
            known = self._parts[word] = self.replaced.get(word) or self._invent(word)
        return known

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
                self.kept_texts.update(_texts_in(value))
                values[name] = value
            else:
                values[name] = self.value(value)
        if isinstance(record, Task) and record.cgroup and container_of(kernel_bytes(record.cgroup)):
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
        runs = {run for run in self._runs if len(run) >= _SHORTEST}
        left = {part for part in _PARTS.findall(output) if part in runs} if runs else set()
        return sorted(
            (wanted & set(_FOUND.findall(output))) | {name for name in odd if name in output} | left
        )

    def leaks_in_texts(self, texts: Iterable[str]) -> list[bytes]:
        """What may not be in an export: words that are neither the kernel's own nor invented (:mod:`.check`)."""
        free = (
            kernel_bytes(text)
            for text in texts
            if text not in self.kept_texts and text not in self.vocabulary
        )
        return words_left(free, self._whole_units, self.outputs)

    def leaks_in_memory(self, spans: Sequence[bytes], own: Sequence[bytes] = ()) -> list[bytes]:
        """What may not be in spans of memory: what :meth:`leaks` finds, and long words that nobody has invented."""
        left = set(self.leaks(b"\n".join(spans), own))
        for span in spans:
            left.update(words_left_in_memory(span, own, self.outputs))
        return sorted(left)

    def _wanted(self) -> set[bytes]:
        return {name for name in self.replaced if len(name) >= _SHORTEST} - self.outputs

    def keep_vocabulary(self, *models: type[Record]) -> None:
        """Note the names of fields, and the values that are one of a few, which every export has."""
        self.vocabulary.update(STRUCT_NAMES)
        for model in models:
            self.vocabulary.update(_vocabulary(model.model_json_schema()))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts_in(pair)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)


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
                CaptureError(
                    where=f"plugin {shown}", what="redact", why=names.keep(f"{why}: its facts are left out")
                )
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
