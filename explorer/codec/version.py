"""Whether this program can read a document of some version of the schema: asked here, by everything that reads one."""

from __future__ import annotations

from typing import Any

from explorer.model import SCHEMA_VERSION

__all__ = ("NoVersionError", "VersionError", "check_version")


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
