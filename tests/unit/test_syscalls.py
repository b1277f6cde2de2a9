"""What Python has no function for: a fork in which nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from explorer.syscalls import fork

#: Ctrl-C comes in a hook that runs before a fork, as logging has one; what it raises there, Python ignores.
_INTERRUPTED = """
import os, signal, sys
from explorer.syscalls import fork
signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    pid = {fork}()
    if not pid:
        os._exit(0)
except KeyboardInterrupt:
    print("heard")
else:
    print("lost")
"""


@pytest.mark.parametrize(("how", "said"), [("fork", "heard"), ("os.fork", "lost")])
def test_a_ctrl_c_in_the_midst_of_a_fork_is_not_lost(how: str, said: str) -> None:
    """With os.fork() itself it is, which is why there is another one."""
    ran = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED.format(fork=how)], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.returncode) == (f"{said}\n", 0), ran.stderr
    assert ("Traceback" in ran.stderr) is (said == "lost")


def test_a_child_hears_what_its_parent_heard() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    child = fork()
    if not child:
        os._exit(int(signal.pthread_sigmask(signal.SIG_BLOCK, ()) != before))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


_HELD = """
import os, signal
from explorer.syscalls import signals_held
heard = []
signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
with signals_held():
    os.kill(os.getpid(), signal.SIGHUP)
    print(len(heard))
print(len(heard))
"""


def test_a_signal_comes_behind_the_block() -> None:
    """In a process of one thread: of more, as those that run tests have, another one hears it."""
    ran = subprocess.run([sys.executable, "-c", _HELD], capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n1\n"
