"""What stands below all layers, and imports none of them."""

from .classes import dataclass

__all__ = ("dataclass",)
