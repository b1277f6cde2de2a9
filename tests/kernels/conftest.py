"""What every kernel test needs: a kernel that can be booted here, and guests that do not outlive their test."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark.structures import ParameterSet

from tests.kernels.lab import LINES, Guest, GuestOptions, Kernel, get_kernel
from tests.kernels.lab.errors import LabError, NoSuchKernelError
from tests.kernels.lab.kernels import OLD_LINES

_TOOLS = ("apt-get", "dpkg-deb", "gcc", "qemu-system-x86_64", "setpriv")


def first(*lines: str) -> list[ParameterSet | str]:
    """The lines of :data:`LINES` as parameters: ``make test`` has these, ``make churn`` the others too."""
    assert set(lines) <= set(LINES)
    return [line if line in lines else pytest.param(line, marks=pytest.mark.repetition) for line in LINES]


#: The oldest kernel and the newest one.
ENDS = first(LINES[0], LINES[-1])
#: Those before 7.3, the first and the last of them first.
OLDER = first(LINES[0], LINES[-2])[:-1]
BootFunction = Callable[[str, str, GuestOptions | None], Guest]


def cannot_run(reason: str) -> None:
    """A kernel test that cannot run here is skipped; in CI it is a failure, or nobody would ever know."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"kernel tests must run in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def kernel_or_skip(line: str, *, debug: bool = False) -> Kernel:
    """The newest kernel of ``line``. A series that the mirror does not have is skipped everywhere, saying so; so is one
    of a suite that may have left it.

    :param debug: with its ``vmlinux`` and ``System.map``
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        cannot_run(f"not installed: {', '.join(missing)}")
    try:
        return get_kernel(line, debug=debug)
    except LabError as error:
        if line in OLD_LINES or (isinstance(error, NoSuchKernelError) and line not in LINES):
            pytest.skip(f"not tested by boot: {error}")
        cannot_run(str(error))
        raise


@pytest.fixture
def boot() -> Iterator[BootFunction]:
    """Boots guests that are ended with the test: ``boot("7.3", "lively", None)``."""
    with contextlib.ExitStack() as guests:

        def boot_guest(line: str, scenario: str, options: GuestOptions | None) -> Guest:
            return guests.enter_context(Guest.boot(kernel_or_skip(line), scenario, options))

        yield boot_guest
