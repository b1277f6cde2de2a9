"""The running kernel: what it is read by takes root to open, and none to read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
