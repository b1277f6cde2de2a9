"""Processes that read for the screen: what they are asked, what they say, and how they are started and ended."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
