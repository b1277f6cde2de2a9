"""Coverage-guided fuzzing of the parsers, with atheris: ``python -m tests.fuzz.coverage PARSER [libFuzzer options]``.

``make fuzz-coverage`` runs every parser for a minute. An exception that is not the parser's own ends the run, and
atheris leaves the input in ``crash-...`` in the current directory.
"""

from __future__ import annotations

import bz2
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import lz4.frame

with atheris.instrument_imports(include=["explorer"]):
    from explorer.codec.snapshots import SnapshotError, parse_snapshot, write_json
    from explorer.codec.stream import SnapshotStream
    from explorer.compression import BZIP2, LZ4, Damaged, Method, plain_chunks
    from explorer.model import escape_text
    from explorer.recording.format import RecordingError
    from explorer.recording.reader import Recording
    from explorer.targets.dumps.elfcore import read_elf_core
    from explorer.targets.dumps.flattened import reassemble
    from explorer.targets.dumps.kdump import read_kdump_header
    from explorer.targets.dumps.lime import read_lime
    from explorer.targets.errors import TargetError
    from explorer.targets.symbols.btf import Btf, BtfError, Kind
    from explorer.targets.vmcoreinfo import VmcoreInfo

_MAX_TYPES = 500
_WORK = Path(tempfile.mkdtemp(prefix="nx-coverage-"))


def _safe(error: Exception) -> None:
    """An error's message becomes one line that a terminal can show."""
    assert escape_text(" ".join(str(error).split())).isprintable()


def btf(data: bytes) -> None:
    try:
        parsed = Btf(data)
        for type_id in range(1, min(parsed.end_id, _MAX_TYPES)):
            head = parsed.type(type_id)
            parsed.size_of(type_id)
            parsed.strip(type_id)
            if head.kind in (Kind.STRUCT, Kind.UNION):
                parsed.members(type_id)
            elif head.kind in (Kind.ENUM, Kind.ENUM64):
                parsed.enumerators(type_id)
            if head.name is not None:
                parsed.find(head.name, (head.kind,))
    except BtfError as error:
        _safe(error)


def _from_file(parse: Callable[[io.BufferedReader], object], data: bytes) -> None:
    path = _WORK / "input"
    path.write_bytes(data)
    with path.open("rb") as file:
        try:
            parse(file)
        except TargetError as error:
            _safe(error)


def flattened(data: bytes) -> None:
    _from_file(lambda file: reassemble(file, "input")[0].close(), data)


def elf(data: bytes) -> None:
    _from_file(lambda file: read_elf_core(file, "input"), data)


def kdump(data: bytes) -> None:
    _from_file(lambda file: read_kdump_header(file, "input"), data)


def lime(data: bytes) -> None:
    _from_file(lambda file: read_lime(file, "input"), data)


def packed(data: bytes, method: Method) -> None:
    def unpack(file: io.BufferedReader) -> None:
        try:
            for chunk in plain_chunks(file, method):
                assert len(chunk) <= 1 << 20
        except (Damaged, EOFError) as error:
            _safe(error)

    _from_file(unpack, data)


def vmcoreinfo(data: bytes) -> None:
    try:
        VmcoreInfo.parse(data)
    except TargetError as error:
        _safe(error)


def snapshot(data: bytes) -> None:
    try:
        parsed = parse_snapshot(data, "input")
        write_json(parsed, io.BytesIO())
    except SnapshotError as error:
        _safe(error)


def stream(data: bytes) -> None:
    lines = SnapshotStream("input")
    try:
        lines.feed(data.split(b"\n"))
        lines.finish()
    except SnapshotError as error:
        _safe(error)


def recording(data: bytes) -> None:
    path = _WORK / "input.nxrec"
    path.write_bytes(data)
    try:
        with Recording.open(path) as opened:
            for frame in opened.frames():
                assert frame.index >= 0
    except RecordingError as error:
        _safe(error)


PARSERS: dict[str, Callable[[bytes], None]] = {
    "btf": btf,
    "elf": elf,
    "flattened": flattened,
    "bzip2": lambda data: packed(data, BZIP2),
    "kdump": kdump,
    "lime": lime,
    "lz4": lambda data: packed(data, LZ4),
    "recording": recording,
    "snapshot": snapshot,
    "stream": stream,
    "vmcoreinfo": vmcoreinfo,
}


def _seeds(name: str) -> Path:
    """A small corpus: sound inputs, cut to what a fuzzer can turn over."""
    from tests.fuzz.bases import SMALLEST, Bases

    bases = Bases()
    try:
        makers: dict[str, Callable[[], bytes]] = {
            "btf": lambda: bytes(b"\x9f\xeb\x01\x00\x18\0\0\0" + bytes(16)),
            "elf": lambda: bases.elf(SMALLEST)[: 64 << 10],
            "flattened": lambda: bases.flattened()[: 8 << 10],
            "bzip2": lambda: bz2.compress(bases.vmcoreinfo(SMALLEST)),
            "kdump": lambda: bases.kdump()[: 64 << 10],
            "lime": lambda: bases.lime()[: 64 << 10],
            "lz4": lambda: lz4.frame.compress(bases.vmcoreinfo(SMALLEST)),
            "recording": bases.recording,
            "snapshot": lambda: bases.snapshot_json(SMALLEST),
            "stream": lambda: bases.snapshot_lines(SMALLEST)[: 16 << 10],
            "vmcoreinfo": lambda: bases.vmcoreinfo(SMALLEST),
        }
        made = makers[name]()
    finally:
        bases.close()
    corpus = _WORK / "corpus"
    corpus.mkdir(exist_ok=True)
    (corpus / name).write_bytes(made)
    return corpus


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in PARSERS:
        sys.exit(f"python -m tests.fuzz.coverage {'|'.join(PARSERS)} [libFuzzer options]")
    os.environ.setdefault("XDG_CACHE_HOME", str(_WORK))
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(_seeds(name))], PARSERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
