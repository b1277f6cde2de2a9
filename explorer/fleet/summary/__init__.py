"""What a fleet's dataset says of all its targets together, and what of that is new since another one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
