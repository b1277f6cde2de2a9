"""Making a fleet's dataset: targets are found, read on Dask's workers, each in a process of its own, and written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
