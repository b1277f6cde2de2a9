"""The terminal the app runs in: what it sends is taken as it comes, and it is left as it was found."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
