"""What the app remembers: the theme, the keymap and the mouse, in ``$XDG_CONFIG_HOME/nullfs-explorer``.

And what it keeps there: what was copied, faults, what a reader that crashed had read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from explorer.caller import known_path
from explorer.codec import write_json
from explorer.files import NotRegularError, open_regular
from explorer.model import Snapshot
from explorer.output import OutputError, open_output

__all__ = (
    "SavedView",
    "Settings",
    "baseline_file",
    "config_directory",
    "keep_snapshot",
    "load_settings",
    "make_config_directory",
    "save_settings",
    "write_clipboard",
    "write_fault",
)

_NAME = "nullfs-explorer"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class SavedView:
    """A table as the user wants to see it again."""

    name: str
    table: str
    """The mode of the app that has it."""
    filter: str = ""
    sort: str | None = None
    descending: bool = False
    columns: list[str] = field(default_factory=list)
    """Those that are shown, by name, from left to right."""


@dataclass
class Settings:
    """Remembered between runs."""

    theme: str = "nullfs-dark"
    keymap: dict[str, str] = field(default_factory=dict)
    """Binding id -> key or keys, as Textual's keymaps have them."""
    baseline: str = ""
    """Where accepted findings are kept; empty: beside the settings."""
    mouse: bool = True
    """Whether the app has it; else the terminal, whose own selection works then."""
    views: list[SavedView] = field(default_factory=list)


def config_directory() -> Path:
    """Where settings live; not made yet."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification says that a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / _NAME


def load_settings() -> tuple[Settings, str | None]:
    """The settings, and what is wrong with them: a damaged file costs the settings, never the app."""
    path = config_directory() / "settings.json"
    try:
        _check_private(path.parent)
        with os.fdopen(open_regular(path), "rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        theme, keymap = found.get("theme", Settings.theme), found.get("keymap", {})
        baseline = found.get("baseline", "")
        mouse = found.get("mouse", Settings.mouse)
        strings = all(isinstance(text, str) for text in (theme, baseline, *keymap.values()))
        if not strings or (baseline and not Path(baseline).is_absolute()):
            raise ValueError("theme is a string, baseline an absolute path, keymap an object of strings")
        if not isinstance(mouse, bool):
            raise ValueError("mouse is true or false")
        views = [_view(each) for each in found.get("views", [])]
    except FileNotFoundError:
        return Settings(), None
    except NotRegularError as error:
        return Settings(), f"{path} is not used: it is {error}"
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        return Settings(), f"{path} is not used: {error}"
    return Settings(theme, dict(keymap), baseline, mouse, views), None


def _view(found: Any) -> SavedView:
    """:raises TypeError: if it has other members than a view"""
    view = SavedView(**found)
    texts = (view.name, view.table, view.filter, view.sort or "", *view.columns)
    if not all(isinstance(text, str) for text in texts) or not isinstance(view.descending, bool):
        raise ValueError("a view is of strings, its descending true or false")
    return view


def baseline_file() -> Path:
    """Where accepted findings are kept if nothing else is said."""
    settings, _ = load_settings()
    return Path(settings.baseline) if settings.baseline else config_directory() / "accepted.json"


def _check_private(directory: Path) -> None:
    """Settings that somebody else can change are not ours. :raises ValueError: if that is so"""
    _check_way(directory)
    status = directory.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise ValueError("its directory belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError("its directory is writable by others")


def _check_way(directory: Path) -> None:
    """Nothing on the way from the home directory is somebody else's. :raises ValueError: if it is"""
    home = os.environ.get("HOME", "")
    below_home = home.startswith("/") and directory.is_relative_to(home)
    known_path(directory, Path(home) if below_home else directory.parent)


def save_settings(settings: Settings) -> str | None:
    """Write them, directory 0700, file 0600. What went wrong, or ``None``."""
    return _write("settings.json", json.dumps(asdict(settings), indent=2) + "\n")


def write_clipboard(text: str) -> str | None:
    """What was copied, as a file for terminals without OSC 52. What went wrong, or ``None``."""
    return _write("copied.txt", text + "\n")


def write_fault(text: str) -> str:
    """The last fault of this program, for a bug report. The file it is in, or why it is in none."""
    problem = _write("fault.txt", text + "\n")
    return str(config_directory() / "fault.txt") if problem is None else problem


def keep_snapshot(snapshot: Snapshot, now: datetime) -> str:
    """Write what a reader that crashed had given to a new file, mode 0600. In words: where it is, or why it is not."""
    path = config_directory()
    try:
        _make_directory(path)
        path /= f"partial-{now:%Y%m%d-%H%M%S-%f}.json.zst"
        if path.exists():
            raise FileExistsError(errno.EEXIST, "it is there already")
        with open_output(path) as out:
            write_json(snapshot, out)
    except (OSError, ValueError, OutputError) as error:
        return f"it could not be saved: {path}: {error}"
    return f"it is saved in {path}"


def make_config_directory() -> None:
    """:raises ValueError: if it is somebody else's, or others can write to it"""
    _make_directory(config_directory())


def _make_directory(directory: Path) -> None:
    """:raises ValueError: if it is there, and others can write to it, or is in somebody else's home"""
    _check_way(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(directory)


def _write(name: str, text: str) -> str | None:
    directory = config_directory()
    try:
        _make_directory(directory)
        with open_output(directory / name) as out:
            out.write(text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError, OutputError) as error:
        return f"{directory / name}: {error}"
    return None
