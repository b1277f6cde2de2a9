"""QEMU that gives a guest up: KVM returned what it cannot handle, and the guest stands in ``internal-error``."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import click
import pytest

from explorer.cli.units import MemorySize
from explorer.targets.qemu.control import GuestControl, GuestEndedError


def given_up(path: Path, *, at_cont: bool) -> str:
    """A QEMU whose guest is lost: while it ran, or before it was to run again, which QEMU then refuses."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def run() -> None:
        client, _ = server.accept()
        with server, client, client.makefile("rb") as lines, contextlib.suppress(BrokenPipeError):
            client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
            for line in lines:
                asked = json.loads(line)
                reply: dict[str, object] = {"return": {}}
                if asked["execute"] == "query-status":
                    reply = {"return": {"running": False, "status": "internal-error"}}
                elif asked["execute"] == "cont" and at_cont:
                    words = "Resetting the Virtual Machine is required"
                    reply = {"error": {"class": "GenericError", "desc": words}}
                client.sendall(json.dumps(reply | {"id": asked["id"]}).encode() + b"\r\n")

    threading.Thread(target=run, daemon=True).start()
    return str(path)


@pytest.mark.parametrize("at_cont", [False, True])
def test_a_guest_that_kvm_cannot_run_is_not_just_a_virtual_machine_that_has_to_be_reset(
    tmp_path: Path, at_cont: bool
) -> None:
    control = GuestControl(given_up(tmp_path / "qmp", at_cont=at_cont))
    with contextlib.closing(control), pytest.raises(GuestEndedError, match="internal-error") as raised:
        control.run_for(0.02, stopping=True)
    assert raised.value.code == "internal-error"
    assert "KVM" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        *(("256", 256), ("256M", 256), ("256m", 256), ("1G", 1024), ("1.5g", 1536), ("size=1G", 1024)),
        *(("524288K", 512), ("268435456B", 256), ("1T", 1 << 20)),
    ],
)
def test_a_memory_size_means_what_it_means_to_qemu(text: str, megabytes: int) -> None:
    assert MemorySize().convert(text, None, None) == megabytes << 20


@pytest.mark.parametrize(
    "text", ["", "M", "1X", "-1G", "1 G", "1e9", "63M", "0", "9999999T", "1G,slots=2", "٢٥٦"]
)
def test_a_memory_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        MemorySize().convert(text, None, None)
