"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before it is used."""

from .command import main

__all__ = ("main",)
