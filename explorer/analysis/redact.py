"""Replace names in a snapshot: of tasks, path components, devices, and whatever words the kernel was told.

Every word that is not on :data:`~explorer.analysis.redact_words.KEPT_WORDS` becomes another of the same length, the
same one wherever it stands: what is equal stays equal, what differs stays different. What is kept besides: addresses,
numbers, times, the kernel's release and build id, and the names of its functions and modules.
"""

from __future__ import annotations

import random
import re
import secrets
import string
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import ValidationError

from explorer.model import SNAPSHOT_ARRAYS, CaptureError, Record, Snapshot, kernel_bytes, kernel_text
from explorer.plugin import Plugin

from .redact_words import KEPT_WORDS

__all__ = ("REDACTED_NOTE", "Redactor", "redact_snapshot", "words_of")

REDACTED_NOTE = "Names in it were replaced by others (--redact); equal ones by equal ones."

#: A word: no ASCII punctuation, no space. Bytes above ASCII and control characters belong to words.
_WORD = re.compile(rb"[0-9A-Za-z\x00-\x1f\x7f-\xff]+")
_NUMBER = re.compile(rb"u?[0-9]{1,4}[HR]?|0x[0-9a-f]+")
_NUMBERED = re.compile(rb"([A-Za-z]+)[0-9]{1,4}")
#: What ``core_pattern`` has for a pid, a signal ...: one letter behind a percent sign.
_SPECIFIER = re.compile(rb"%[A-Za-z%]")
_LETTERS = string.ascii_lowercase.encode()
_ALL = (string.ascii_letters + string.digits).encode()
_TRIES = 10_000
_HEX = re.compile(r"0x[0-9a-f]+")
#: Fields that hold what the tool or the kernel's build says, not what a user did.
_KEPT_FIELDS = frozenset(
    {
        "tool_version", "taken_at", "boot_time", "build_id", "release", "state", "umask", "taints",
        "func", "function", "threadfn", "current_func", "last_func", "module", "what",
    }
)  # fmt: skip
#: Errors are replaced in a way of their own.
_ARRAYS = tuple(name for name in SNAPSHOT_ARRAYS if name != "errors")
_KEPT_IN = {
    "Setting": {"name"},
    "KernelSetting": {"name"},
    "LoadedModule": {"name"},
    "StackFrame": {"source"},
}


def words_of(text: bytes) -> list[bytes]:
    """The words of a text that redaction looks at."""
    return [match[0] for match in _WORD.finditer(text)]


class Redactor:
    """One mapping of words, for one snapshot and all that is written beside it.

    :ivar replaced: each word that was replaced, and by what.
    :ivar texts: each whole text, and what became of it.
    :ivar kept: words that stand in the output although no list names them: parts of function names and the like.
    """

    def __init__(self, kept: Iterable[str] = (), seed: int | None = None) -> None:
        self._random = random.Random(secrets.randbits(128) if seed is None else seed)
        self._kept = {word.encode() for word in KEPT_WORDS} | {
            word for text in kept for word in words_of(kernel_bytes(text))
        }
        #: What stands for other words by now.
        self.outputs: set[bytes] = set()
        self.replaced: dict[bytes, bytes] = {}
        self.kept: set[bytes] = set()
        self.texts: dict[bytes, bytes] = {}

    def keep(self, text: str) -> str:
        """Note that a text stays as it is."""
        self.kept.update(words_of(kernel_bytes(text)))
        return text

    def is_kept(self, word: bytes) -> bool:
        """Kernel words, also with a number behind (``kswapd0``), and numbers that are short."""
        if word in self._kept or _NUMBER.fullmatch(word):
            return True
        numbered = _NUMBERED.fullmatch(word)
        return numbered is not None and numbered[1] in self._kept

    def word(self, word: bytes) -> bytes:
        """What stands for a word: of the same length, and for no other word."""
        if self.is_kept(word):
            return word
        known = self.replaced.get(word)
        if known is None:
            known = self.replaced[word] = self._invent(word)
        return known

    def _invent(self, word: bytes) -> bytes:
        for attempt in range(_TRIES):
            letters = _LETTERS if attempt < _TRIES // 2 else _ALL
            new = bytes(self._random.choices(letters, k=len(word)))
            if new != word and new not in self.outputs and not self.is_kept(new):
                self.outputs.add(new)
                return new
        raise ValueError(f"more different words of {len(word)} letters than can be told apart")

    def raw(self, text: bytes) -> bytes:
        """A text with every word replaced."""
        parts, end = [], 0
        for match in _SPECIFIER.finditer(text):
            parts += [self._words(text[end : match.start()]), match[0]]
            end = match.end()
        return b"".join([*parts, self._words(text[end:])])

    def _words(self, text: bytes) -> bytes:
        return _WORD.sub(lambda match: self.word(match[0]), text)

    def text(self, text: str) -> str:
        """Kernel text with every word replaced. A hexadecimal number stays, as addresses do."""
        if _HEX.fullmatch(text):
            return text
        raw = kernel_bytes(text)
        new = self.texts[raw] = self.raw(raw)
        return kernel_text(new)

    def log_line(self, line: str) -> str:
        """The same behind the time at its start."""
        stamp, bracket, text = line.partition("] ")
        return stamp + bracket + self.text(text)

    def record(self, record: Record) -> Any:
        """A copy of a record: all free text in it replaced, numbers, enumerations and addresses as they are."""
        kept = _KEPT_FIELDS | _KEPT_IN.get(type(record).__name__, set())
        values = {}
        for name, field in type(record).model_fields.items():
            value = getattr(record, name)
            if name in kept or _is_fixed(field.annotation):
                values[name] = self.keep(value) if isinstance(value, str) else value
            else:
                values[name] = self.value(value)
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
        if isinstance(value, Sequence):
            return type(value)(map(self.value, value))  # type: ignore[call-arg]
        return value

    def leaks(self, output: bytes) -> list[bytes]:
        """Names of four letters or more that still stand as words in what is to be written.

        Words that are the kernel's own, or those of fields, as well as a user's, say nothing.
        """
        wanted = {word for word in self.replaced if len(word) >= 4 and word not in self.kept}
        return sorted(wanted.intersection(_WORD.findall(output)) - self.outputs)

    def keep_vocabulary(self, *models: type[Record]) -> None:
        """Note the names of fields, and the values that are one of a few, which every export has."""
        for model in models:
            for text in _vocabulary(model.model_json_schema()):
                self.keep(text)


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


def _is_fixed(annotation: Any) -> bool:
    """Whether a field can hold one of a few words only."""
    if typing.get_origin(annotation) is typing.Literal:
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
    names.kept |= {b"true", b"false", b"null"}
    facts, left_out = _facts(snapshot, {plugin.name: plugin for plugin in plugins}, names)
    redacted = Snapshot(
        schema_version=snapshot.schema_version,
        capture=names.record(snapshot.capture).model_copy(update={"notes": [REDACTED_NOTE]}),
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
        if raw.get("state") != "loaded":
            facts[name] = {"state": "failed" if raw.get("state") == "failed" else "not loaded"}
            continue
        facts[name], why = _loaded_facts(raw, known.get(name), names)
        if why:
            errors.append(
                CaptureError(where=f"plugin {name}", what="redact", why=f"{why}: its facts are left out")
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
    return names.record(facts).model_dump(mode="json"), None
