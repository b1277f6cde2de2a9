"""Every export of every fixture, and the digest of each: speed must not change a byte of what is written.

``python -m tests.exports`` writes the digests anew, to ``tests/data/exports.txt``: for whoever means to change what is
written. ``python -m tests.exports DIRECTORY`` writes the exports themselves there: made at two commits, ``diff -r`` of
the two says what changed.

A dump is captured once, with all plugins that come with the tool, and saved; what the clock had a part in is replaced
first: when it was read, and how long that took; so is what redaction draws by lot. All
commands read the saved snapshot.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

from explorer.model import Snapshot
from tests.conftest import DATA, FIXTURES, HELD

__all__ = ("DIGESTS", "SUBJECTS", "digest", "exports_of", "read_digests")

#: A line each: the digest, and the name of the export.
DIGESTS = DATA / "exports.txt"

_ROOT = Path(__file__).parents[1]
_RECORDING = DATA / "boot-7.3.nxrec"
_DUMPS = {
    **{path.name.removesuffix(".elf.zst"): path for path in FIXTURES.values()},
    "linux-7.3": FIXTURES["isolated"],
    "linux-7.3-holders": HELD,
    "linux-6.18": DATA / "linux-6.18.elf.zst",
    "linux-6.12-kdump-old": DATA / "linux-6.12-kdump-old.elf.zst",
    "linux-7.3-kdump-d31": DATA / "linux-7.3-kdump-d31.elf.zst",
}
_SAVED = {
    "saved-lively": _ROOT / "tests" / "tui" / "data" / "lively.json.zst",
    "saved-screenshots": _ROOT / "screenshots" / "sample.json.zst",
}
_TRACES = {path.stem: path for path in sorted((DATA / "trace").glob("saved-*.jsonl"))}
#: What exports are made of, by name.
SUBJECTS = (*_DUMPS, *_SAVED, *(f"trace-{name}" for name in _TRACES), "recording", "tool")

_QUERY = "kind:kernel or borrowing or (root:chroot not pid:1) or users>=2"
#: Of a saved snapshot: ``IT`` is its file, ``OTHER`` that of the screen's tests, which is another boot of 7.3.
_OF_SNAPSHOT = (
    "snapshot IT --format json",
    "snapshot IT --format jsonl",
    "snapshot IT --format csv",
    "snapshot IT --format json --redact",
    "snapshot IT --format csv --redact",
    "tasks IT",
    "tasks IT --width 80",
    "tasks IT --format markdown",
    "tasks IT --all",
    "tasks IT --all --width 120",
    "tasks IT --all --format markdown",
    "tasks IT --where QUERY",
    "tasks IT --all --where QUERY",
    "audit IT",
    "audit IT --all",
    "audit IT --format json",
    "audit IT --format json --where QUERY",
    "audit IT --format sarif",
    "audit IT --format markdown",
    "plugins IT",
    "plugins IT --format markdown",
    *(f"{command} IT --format {form}" for command in ("mounts", "namespaces")
      for form in ("text", "markdown", "json", "csv")),
    "diff IT OTHER",
    "diff OTHER IT",
    "diff IT OTHER --format json",
    "diff IT IT --format json",
)  # fmt: skip
_OF_TRACE = (
    *(f"trace IT --format {form}" for form in ("table", "json", "jsonl", "sarif")),
    "trace IT --stack",
)
_OF_RECORDING = (
    "timeline IT",
    "timeline IT --json",
    "frame IT #60",
    "frame IT 3.4s --format jsonl",
    "tasks IT",
    "tasks IT@#70 --all",
    "audit IT --format json",
    "snapshot IT --format csv",
    "diff IT@#60 IT --format json",
    "diff IT@#54 IT@#90",
)
_OF_TOOL = ("schema", "keys", "explain NX-PID1-ABANDONED")


def _without_clock(snapshot: Snapshot) -> Snapshot:
    snapshot.capture.taken_at = "2026-01-01T00:00:00+00:00"
    snapshot.capture.duration_s = 0.25
    snapshot.capture.notes = [re.sub(r"\b\d+\.\d+ s\b", "0.00 s", note) for note in snapshot.capture.notes]
    return snapshot


def _captured(dump: Path) -> Snapshot:
    from explorer.capture.request import CaptureRequest
    from explorer.capture.snapshot import capture_snapshot
    from explorer.plugin import load_plugins
    from explorer.targets.detect import detect_target
    from explorer.targets.kernel import OpenOptions, open_kernel

    with contextlib.chdir(dump.parent), open_kernel(detect_target(dump.name), OpenOptions()) as kernel:
        plugins = [
            plugin for plugin in load_plugins().plugins if (_ROOT / "plugins" / f"{plugin.name}.py").exists()
        ]
        return capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))


def _run(words: list[str]) -> bytes:
    from explorer.cli.command import cli

    with mock.patch("secrets.randbits", return_value=20):  # what redaction makes other names with
        result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout_bytes + f"[{result.return_value}]\n".encode() + result.stderr_bytes


def exports_of(subject: str, directory: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of everything that is written of one of ``SUBJECTS``: standard output, the exit code in brackets,
    and standard error.

    :param directory: an empty one, for the files that commands read
    """
    other = "other.json.zst"
    (directory / other).write_bytes(_SAVED["saved-lively"].read_bytes())
    commands, name = _OF_SNAPSHOT, f"{subject}.json"
    if subject in _DUMPS:
        from explorer.codec import write_json

        with (directory / name).open("wb") as file:
            write_json(_without_clock(_captured(_DUMPS[subject])), file)
    elif subject in _SAVED:
        name = _SAVED[subject].name
        (directory / name).write_bytes(_SAVED[subject].read_bytes())
    elif subject == "recording":
        commands, name = _OF_RECORDING, _RECORDING.name
        (directory / name).write_bytes(_RECORDING.read_bytes())
    elif subject == "tool":
        commands = _OF_TOOL
    else:
        path = _TRACES[subject.removeprefix("trace-")]
        commands, name = _OF_TRACE, path.name
        (directory / name).write_bytes(path.read_bytes())
    with contextlib.chdir(directory):
        for command in commands:
            words = [word.replace("OTHER", other).replace("IT", name) for word in command.split()]
            words = [_QUERY if word == "QUERY" else word for word in words]
            yield f"{subject}: {command}", _run(words)


def digest(content: bytes) -> str:
    """What the file of digests has of an export."""
    return hashlib.sha256(content).hexdigest()[:24]


def read_digests() -> dict[str, str]:
    """By the name of the export."""
    lines = DIGESTS.read_text().splitlines()
    return {name: said for said, _, name in (line.partition("  ") for line in lines)}


def main() -> None:
    """Write the digests, or to a directory that is named the exports."""
    found: dict[str, str] = {}
    keep = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for subject in SUBJECTS:
        with tempfile.TemporaryDirectory() as directory:
            for name, content in exports_of(subject, Path(directory)):
                found[name] = digest(content)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / re.sub(r"[^\w.-]+", "_", name)).write_bytes(content)
    if keep is None:
        DIGESTS.write_text("".join(f"{said}  {name}\n" for name, said in found.items()))


if __name__ == "__main__":
    main()
