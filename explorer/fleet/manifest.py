"""``fleet.json``: what makes a directory a fleet's dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import FleetError
from .tables import FORMAT_VERSION

__all__ = ("MANIFEST", "Manifest", "load_manifest")

MANIFEST = "fleet.json"
_MAX_BYTES = 1 << 20


class Manifest(BaseModel):
    """What the file says."""

    model_config = ConfigDict(extra="ignore")

    format: Literal["nullfs-explorer fleet"] = "nullfs-explorer fleet"
    version: int = FORMAT_VERSION
    tool_version: str
    """Version of this program that made the dataset; each row says which made it."""

    def text(self) -> str:
        """The file's content."""
        return self.model_dump_json(indent=2) + "\n"


def load_manifest(fleet: Path) -> Manifest:
    """What a dataset says of itself.

    :raises FleetError: if the directory is none, or one of a newer version
    """
    path = fleet / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "there is no such directory" if not fleet.exists() else f"no fleet: it has no {MANIFEST}"
        raise FleetError(f"{fleet}: {what}; nullfs-explorer fleet run TARGET… -o FLEET makes one") from error
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror}") from error
    try:
        document = json.loads(data)
        version = document.get("version") if isinstance(document, dict) else None
        if type(version) is int and version > FORMAT_VERSION:
            raise FleetError(
                f"{fleet}: a fleet of version {version}, this program reads up to {FORMAT_VERSION}: update the tool"
            )
        return Manifest.model_validate(document)
    except (ValueError, ValidationError, RecursionError) as error:
        raise FleetError(f"{path} is damaged, or no fleet's: restore it, or make the fleet anew") from error
