"""From an open kernel to a snapshot. One module per kernel concept.

The room itself can be called: ``from explorer import capture`` is this module, and the library's function is
:func:`~explorer.capture.target.capture_target`, under one name.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from os import PathLike

    import drgn

    from explorer.model import Snapshot
    from explorer.targets import OpenKernel

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Room(ModuleType):
    def __call__(
        self, target: "str | PathLike[str] | OpenKernel | drgn.Program", *, plugins: bool = True
    ) -> "Snapshot":
        """See :func:`explorer.capture.target.capture_target`."""
        from .target import capture_target

        return capture_target(target, plugins=plugins)


sys.modules[__name__].__class__ = _Room
