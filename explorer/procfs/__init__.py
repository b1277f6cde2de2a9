"""What /proc tells of the tasks that one may see: a snapshot where the kernel's memory cannot be read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
