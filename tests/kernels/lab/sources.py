"""The machine's own Debian mirror, from its apt sources: one-line (``*.list``) and deb822 (``*.sources``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.lab.errors import LabError

__all__ = ("Mirror", "find_mirror", "parse_deb822", "parse_one_line")

_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)"
)
_DERIVED_SUITE = re.compile(r".*(-security|-updates|-backports|-proposed.*|-debug)$|.*/updates$")


@dataclass(frozen=True)
class Mirror:
    """One archive: ``signed_by`` is the field's value (a path or a key), or None for apt's trusted keys."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None = None

    @property
    def is_main_archive(self) -> bool:
        """Whether this is where whole suites live: not security, not updates, not a CD."""
        return (
            "main" in self.components
            and self.uri.split(":", 1)[0] in ("http", "https", "mirror+http", "mirror+https", "file", "ftp")
            and any(not _DERIVED_SUITE.match(suite) and not suite.endswith("/") for suite in self.suites)
        )


def parse_one_line(text: str) -> Iterator[Mirror]:
    """Yield the ``deb`` entries of a ``sources.list``."""
    for raw in text.splitlines():
        match = _ONE_LINE.fullmatch(raw.split("#", 1)[0].strip())
        if match is None:
            continue
        options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
        yield Mirror(
            match["uri"], (match["suite"],), tuple(match["components"].split()), options.get("signed-by")
        )


def parse_deb822(text: str) -> Iterator[Mirror]:
    """Yield the enabled ``deb`` entries of a ``.sources`` file, one for each URI."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = None
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name is not None:
                fields[name] += "\n" + line
            elif ":" in line:
                raw_name, _, value = line.partition(":")
                name = raw_name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
            "no",
            "false",
        ):
            continue
        for uri in fields.get("uris", "").split():
            yield Mirror(
                uri,
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by"),
            )


def find_mirror(etc_apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror of the machine's main archive; ``$NULLFS_EXPLORER_LAB_MIRROR`` names another.

    :raises LabError: the machine has no such source.
    """
    chosen = os.environ.get("NULLFS_EXPLORER_LAB_MIRROR")
    if chosen:
        return Mirror(chosen, (), ("main",))
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for file in files:
        if not file.is_file():
            continue
        parse = {".list": parse_one_line, ".sources": parse_deb822}.get(file.suffix)
        if parse is None:
            continue
        for mirror in parse(file.read_text(errors="replace")):
            if mirror.is_main_archive:
                return mirror
    raise LabError(
        f"no Debian archive in {etc_apt}/sources.list*; set NULLFS_EXPLORER_LAB_MIRROR to a mirror's URI"
    )
