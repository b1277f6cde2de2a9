"""System calls that Python has no function for, through libc. Stands below all layers."""

from __future__ import annotations

import ctypes
import os
from functools import cache

__all__ = ("checked", "libc")


@cache
def libc() -> ctypes.CDLL:
    """It keeps ``errno`` for :func:`checked`."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """What a call gave. :raises OSError: if that is below zero: what ``errno`` says"""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
