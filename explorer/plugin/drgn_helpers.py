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
#: What they import of a package that imports all that it has, too.
_COMMON = "drgn.helpers.common.prog"
_loaded: dict[str, ModuleType] = {}


def linux_helpers(name: str) -> ModuleType:
    """``drgn.helpers.linux.NAME``."""
    whole = f"{_PACKAGE}.{name}"
    if name not in _ALONE or _PACKAGE in sys.modules:
        return importlib.import_module(whole)
    if name not in _loaded:
        borrowed = None if _COMMON in sys.modules else _load_alone(_COMMON)
        if borrowed is not None:
            sys.modules[_COMMON] = borrowed
        try:
            _loaded[name] = _load_alone(whole) or importlib.import_module(whole)
        finally:
            if borrowed is not None:  # whoever imports it gets the package with it
                del sys.modules[_COMMON]
    return _loaded[name]


def _load_alone(whole: str) -> ModuleType | None:
    """The module of that name without the packages it is in; ``None`` where drgn is laid out in another way."""
    import drgn.helpers

    file = Path(drgn.helpers.__path__[0], *whole.split(".")[2:]).with_suffix(".py")
    spec = spec_from_file_location(whole, file)
    if spec is None or spec.loader is None or not file.is_file():
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
