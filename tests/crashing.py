"""A plugin that ends the process that reads as a fault of drgn's would: by a real signal from C."""

from __future__ import annotations

from pathlib import Path

__all__ = ("crashing_plugin",)

_PLUGIN = '''"""Crashes."""

import ctypes
import os
import signal
import time

from explorer.plugin import Facts, Plugin


class CrashFacts(Facts):
    pass


def collect(kernel):
    {collect}
    return CrashFacts()


def audit(snapshot, facts):
    {audit}
    return iter(())


PLUGIN = Plugin(name="zcrash", title="Crashes", facts=CrashFacts, collect=collect, audit=audit)
'''


def crashing_plugin(directory: Path, collect: str = "ctypes.string_at(0)", audit: str = "pass") -> Path:
    """A plugin's file. :param collect: a line that runs as the kernel is read; :param audit: as it is judged"""
    path = directory / "zcrash.py"
    path.write_text(_PLUGIN.format(collect=collect, audit=audit))
    return path
