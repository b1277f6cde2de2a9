"""A child as a process: started by this one, by way of sudo too, or by the one that kept root's rights for it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Protocol

from explorer.program import CODE, GRANTED, find_starter

__all__ = ("Process", "ask_for_process", "start_process")


class Process(Protocol):
    """One that runs, or has run."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @property
    def has_ended(self) -> bool: ...

    async def wait(self) -> int:
        """Its exit code, as Python gives it."""

    async def tell(self, number: signal.Signals) -> None:
        """Send a signal to it, and to all that it started."""


async def start_process(command: Sequence[str], prefix: Sequence[str] = ()) -> Process:
    """With the rights of this process. :param prefix: what runs it, such as ``sudo``

    :raises OSError: if it cannot be started
    """
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A group of its own, to be ended as a whole; the terminal stays, as sudo's tickets are tied to it.
        process_group=0,
    )
    return _Own(process, prefix)


async def ask_for_process(arguments: Sequence[str]) -> Process | None:
    """With the rights that this process had when it was started, and has given up.

    ``None``: it has given up none, or they were not kept for this.
    """
    starter = find_starter()
    if starter is None:
        return None
    (read_out, write_out), (read_error, write_error) = os.pipe(), os.pipe()
    line = starter.ask(arguments, write_out, write_error)
    for each in (write_out, write_error):
        os.close(each)
    with ExitStack() as stack:
        output, errors = (stack.enter_context(os.fdopen(each, "rb", 0)) for each in (read_out, read_error))
        if line is None:
            return None
        stack.enter_context(line).setblocking(False)
        if await asyncio.get_running_loop().sock_recv(line, len(GRANTED)) != GRANTED:
            return None
        process = _Asked(line, await _stream(output), await _stream(errors))
        stack.pop_all()  # they are its own from here on
    return process


async def _stream(file: IO[bytes]) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


class _Own:
    def __init__(self, process: asyncio.subprocess.Process, prefix: Sequence[str]) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.stdout, self.stderr = process.stdout, process.stderr
        self._process, self._prefix = process, prefix

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def wait(self) -> int:
        return await self._process.wait()

    async def tell(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            await self._kill_as_root(number)

    async def _kill_as_root(self, number: signal.Signals) -> None:
        """By the same road on which it was started."""
        killer = await asyncio.create_subprocess_exec(
            *self._prefix,
            "kill",
            f"-{number.value}",
            "--",
            f"-{self._process.pid}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await killer.wait()


class _Asked:
    def __init__(
        self, line: socket.socket, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self.stdout, self.stderr = stdout, stderr
        self._line = line
        self._code = asyncio.create_task(self._hear())

    async def _hear(self) -> int:
        """:returns: as if it had been killed, where whoever watched over it was"""
        with self._line as line:
            said = await asyncio.get_running_loop().sock_recv(line, CODE.size)
        return int(CODE.unpack(said)[0]) if said else -signal.SIGKILL

    @property
    def has_ended(self) -> bool:
        return self._code.done()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def tell(self, number: signal.Signals) -> None:
        if not self._code.done():
            await asyncio.get_running_loop().sock_sendall(self._line, bytes([number]))
