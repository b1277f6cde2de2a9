"""A redacted snapshot in any format, checked byte by byte before it leaves."""

from __future__ import annotations

import io
from collections.abc import Sequence

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.model import Snapshot
from explorer.plugin import Plugin

from .columns import COLUMNS
from .csvfile import write_csv
from .files import OutputError
from .snapshots import write_json, write_jsonl

__all__ = ("redact_and_encode",)

_WRITERS = {"json": write_json, "jsonl": write_jsonl, "csv": write_csv}


def redact_and_encode(snapshot: Snapshot, plugins: Sequence[Plugin], form: str) -> tuple[Snapshot, bytes]:
    """The snapshot with other names, and the bytes to write: ``json``, ``jsonl`` or ``csv``.

    :raises OutputError: if a name would still be in them
    """
    names = Redactor([snapshot.kernel.release])
    redacted = redact_snapshot(snapshot, plugins, names)
    for column in COLUMNS:
        names.keep(column.name)
    names.keep("type log same init fs userspace")
    out = io.BytesIO()
    _WRITERS[form](redacted, out)
    content = out.getvalue()
    left = names.leaks(content)
    if left:
        raise OutputError(
            f"{len(left)} names would be left in the output ({left[0][:2].decode('ascii', 'replace')}...): "
            "nothing is written; please report it"
        )
    return redacted, content
