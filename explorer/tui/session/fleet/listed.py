"""The targets of a fleet's dataset, read once, and what each can be opened by."""

from __future__ import annotations

import asyncio
from pathlib import Path

from explorer.fleet import Dataset, FleetError, FleetTarget, list_targets
from explorer.model import escape_text

__all__ = ("ListedFleet",)


class ListedFleet:
    """What is listed; nothing, where the app was opened with a target of another kind."""

    def __init__(self) -> None:
        self.targets: list[FleetTarget] = []
        self.name = ""
        """Of its directory; escaped."""
        self.opened: FleetTarget | None = None
        """The target that is shown, or was last."""
        self._dataset: Dataset | None = None

    @property
    def is_there(self) -> bool:
        """Whether a fleet is listed."""
        return self._dataset is not None

    async def open(self, path: Path) -> str | None:
        """Read the targets, off the screen's time. Why they cannot be, escaped, or ``None``."""
        try:
            self._dataset, self.targets = await asyncio.to_thread(_read, path)
        except FleetError as error:
            return escape_text(str(error))
        self.name = escape_text(str(path))
        return None

    async def file_of(self, target: FleetTarget) -> str | None:
        """What to read a target from: its snapshot, if that was kept, else the file itself, if it is still there."""
        dataset = self._dataset
        assert dataset is not None, "a target of no fleet"
        return await asyncio.to_thread(_file_of, dataset, target)


def _read(path: Path) -> tuple[Dataset, list[FleetTarget]]:
    dataset = Dataset.open(path)
    return dataset, list_targets(dataset)


def _file_of(dataset: Dataset, target: FleetTarget) -> str | None:
    kept = dataset.snapshot_of(target.key)
    if kept is not None:
        return str(kept)
    file, at, _ = target.path.rpartition("@")
    names = (target.path, file if at else target.path)
    return target.path if any(Path(name).is_file() for name in names) else None
