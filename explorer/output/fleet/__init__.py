"""What is said of a fleet, written: a report in any form, and the tasks of all its targets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
