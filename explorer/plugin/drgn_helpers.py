"""One module of drgn's helpers by itself: ``drgn.helpers.linux`` imports all forty, and drgn's command line for them.

The same file is run, under the name that it has there; a session that has the whole package already uses that.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ("linux_helpers",)

_PACKAGE = "drgn.helpers.linux"
#: Those that import no other module of the package.
_ALONE = {"list", "timekeeping"}
_loaded: dict[str, ModuleType] = {}


def linux_helpers(name: str) -> ModuleType:
    """``drgn.helpers.linux.NAME``."""
    if name not in _ALONE or _PACKAGE in sys.modules:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    if name not in _loaded:
        import drgn.helpers

        file = Path(drgn.helpers.__path__[0], "linux", f"{name}.py")
        spec = spec_from_file_location(f"{_PACKAGE}.{name}", file)
        if spec is None or spec.loader is None or not file.is_file():  # laid out in another way
            return importlib.import_module(f"{_PACKAGE}.{name}")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        _loaded[name] = module
    return _loaded[name]
