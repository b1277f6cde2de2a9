"""Baselines as JSON, and back: the findings that somebody has accepted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from explorer.files import NotRegularError, open_regular
from explorer.model import BASELINE_FORMAT, BASELINE_VERSION, Baseline

from .version import validation_words

__all__ = ("BaselineError", "load_baseline", "write_baseline")

#: An entry has some hundred bytes, and a kernel some dozen findings.
_MAX_BYTES = 16 << 20


class BaselineError(Exception):
    """A file is no baseline that this version can read; the message is one line that says why."""


def write_baseline(baseline: Baseline, out: BinaryIO) -> None:
    """JSON, an entry in a few lines each: made for ``diff`` and for version control. ASCII only."""
    out.write(json.dumps(baseline.model_dump(mode="json"), ensure_ascii=True, indent=2).encode() + b"\n")


def load_baseline(path: Path) -> Baseline:
    """Read the file. :raises BaselineError: if it cannot be read, or is no baseline"""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except NotRegularError as error:
        raise BaselineError(f"{path} is {error}, not a baseline") from error
    except OSError as error:
        hint = "; audit --write-baseline writes one" if isinstance(error, FileNotFoundError) else ""
        raise BaselineError(f"cannot read {path}: {error.strerror}{hint}") from error
    if len(data) > _MAX_BYTES:
        raise BaselineError(f"{path} has more than {_MAX_BYTES >> 20} MiB: it is no baseline")
    return _parse(data, path)


def _parse(data: bytes, path: Path) -> Baseline:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{path} is not JSON, or cut off: {str(error)[:100]}") from error
    if not isinstance(document, dict) or document.get("format") != BASELINE_FORMAT:
        raise BaselineError(f'{path} is JSON, but no baseline: it does not say "format": "{BASELINE_FORMAT}"')
    version = document.get("version")
    if type(version) is not int or not 1 <= version <= BASELINE_VERSION:
        raise BaselineError(
            f"{path} is a baseline of version {version!s:.20}; this version reads up to {BASELINE_VERSION}"
        )
    try:
        return Baseline.model_validate(document)
    except ValidationError as error:
        raise BaselineError(f"{path} is no valid baseline: {validation_words(error)}") from error
