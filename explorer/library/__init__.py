"""What a script, a notebook or a test asks for, promised to stay: docs/library.md. Reached through :mod:`explorer`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
