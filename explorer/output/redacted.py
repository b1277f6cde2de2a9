"""A redacted snapshot in any format, checked text by text before it leaves."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.codec import line_type
from explorer.model import SNAPSHOT_ARRAYS, Snapshot
from explorer.plugin import Plugin

from .files import OutputError
from .formats import SnapshotFormat, leaves_of

__all__ = ("redact_and_encode",)


#: What a line of JSON Lines has beside the fields of a record.
_LINE_WORDS = ("snapshot", "log", "plugin", "type", "text", "name", "facts")


def redact_and_encode(
    snapshot: Snapshot, plugins: Sequence[Plugin], form: SnapshotFormat
) -> tuple[Snapshot, bytes]:
    """The snapshot with other names, and the bytes to write.

    :raises RedactionError: if it cannot be redacted
    :raises OutputError: if a name would still be in them
    """
    names = Redactor([snapshot.kernel.release])
    redacted = redact_snapshot(snapshot, plugins, names)
    names.vocabulary.update(_LINE_WORDS, map(line_type, SNAPSHOT_ARRAYS))
    out = io.BytesIO()
    form.write(redacted, out)
    content = out.getvalue()
    left = names.leaks_in_texts(form.texts(content.decode()))
    if left:
        # An address that damage has made is a word in an error, and a number where it is the address of something.
        numbers = {f"{number:#x}".encode() for number in _numbers(redacted, plugins)}
        left = [name for name in left if name not in numbers]
    if left:
        raise OutputError(
            f"{len(left)} names would be left in the output ({left[0][:2].decode('ascii', 'replace')}...): "
            "nothing is written; please report it"
        )
    return redacted, content


def _numbers(snapshot: Snapshot, plugins: Sequence[Plugin]) -> Iterator[int]:
    """Every number in a snapshot, those in the facts of the plugins too, where addresses are texts."""
    documents = [snapshot.model_dump(exclude={"plugins"})]
    for plugin in plugins:
        raw = snapshot.plugins.get(plugin.name, {})
        if raw.get("state") == "loaded":
            documents.append(plugin.facts.model_validate(raw).model_dump())
    return (value for value in leaves_of(documents) if isinstance(value, int))
