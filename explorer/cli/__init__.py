"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before it is used."""

from .command import main
from .given import GivenError, run_command

__all__ = ("GivenError", "main", "run_command")
