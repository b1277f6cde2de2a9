"""The query language over the tasks of a fleet: decided by the scanner of its dataset as far as that can."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
