"""What the screens show, as plain data: no Textual in here, so that all of it is tested without a screen."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
