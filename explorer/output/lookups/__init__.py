"""Mounts and mount namespaces: as tables for people, and as rows for scripts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
