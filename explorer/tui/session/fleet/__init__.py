"""The fleet that the app was opened with, and the way from one of its targets to a snapshot."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
