"""Recordings: many snapshots of one machine in one file. Works without a kernel, a terminal or a command line."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
