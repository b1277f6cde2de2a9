"""Many targets in one table: what is in a fleet's dataset, and reading it. :mod:`explorer.fleet.running` makes one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
