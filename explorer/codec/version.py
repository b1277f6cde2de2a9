"""Whether this program can read a document, and why not: its version, and what is wrong with it. Asked by all that read
one.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from explorer.model import SCHEMA_VERSION

__all__ = ("NoVersionError", "VersionError", "check_version", "validation_words")


class NoVersionError(ValueError):
    """A document does not say its version: it is something else."""


class VersionError(ValueError):
    """A document is of a version that this program cannot read."""


def check_version(version: Any) -> int:
    """The version that a document says it has.

    :raises NoVersionError: if it says none
    :raises VersionError: if it is of another program's, or of a newer one
    """
    if type(version) is not int:  # True is an int, and no version
        raise NoVersionError("no schema_version")
    if not 1 <= version <= SCHEMA_VERSION:
        raise VersionError(
            f"schema version {version!s:.20}; this version reads up to {SCHEMA_VERSION}: update the tool"
        )
    return version


def validation_words(error: ValidationError) -> str:
    """The first thing that is wrong with a document, ``tasks.0.pid: Input should be…``: short, whatever is in it."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(f"{part!s:.40}" for part in first["loc"][:6])
    return f"{where}: {first['msg']:.200}"
