"""What a CI pipeline collects as the results of tests; SARIF, which it collects as findings, is beside this room."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
