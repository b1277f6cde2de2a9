"""The packages that only a fleet needs, each imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import FleetError

__all__ = ("need",)


def need(module: str) -> Any:
    """Import a package of the extra ``fleet``, or a module of one.

    :raises FleetError: if it is not installed; says what to install
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise FleetError(
            f"a fleet needs {package}, which is not here ({error}): pip install 'nullfs-explorer[fleet]'"
        ) from error
