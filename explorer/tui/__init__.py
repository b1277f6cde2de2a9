"""The terminal app. Everything it shows comes from a ``Snapshot``; the kernel is read by a child process."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
