"""What is looked at: the child that reads a kernel, a recording that plays, and the log. No terminal is needed here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
