"""Mounts and namespaces that a guest makes step by step: what the commands say of each step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from explorer.cli.command import main
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps, wait_until

pytestmark = pytest.mark.kernel


def ask(guest: Guest, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a command says of the guest as it stands now, as JSON."""
    command, *options = arguments
    guest.stop()
    with pytest.raises(SystemExit) as ended:
        main([command, f"qemu:{guest.qmp_socket}", *options, "--format", "json"])
    guest.cont()
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return json.loads(out)


def initial(guest: Guest, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    [found] = [each for each in ask(guest, capsys, "namespaces")["mount_namespaces"] if each["initial"]]
    assert isinstance(found, dict)
    return found


def number(guest: Guest, line: str) -> int:
    """What a line of shell prints, behind a word that the console's other lines do not have."""
    code, printed = guest.sh(f"echo number=$({line})")
    assert code == 0, printed
    return int(printed.rpartition("number=")[2].split()[0])


@pytest.mark.parametrize("line", ENDS)
def test_depth_grows_by_one_with_each_mount_on_the_root_and_shrinks_with_each_that_goes(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A busy / looks like any other in mountinfo: what lies below it is in no line."""
    with Guest.boot(kernel_or_skip(line), "shell") as guest:
        before = initial(guest, capsys)
        assert before["depth"] == (1 if line.startswith("6.") else 2)  # a nullfs lies below since 7.0
        for step in (1, 2, 3):
            run_steps(guest, f"mount -t tmpfs layer{step} /")
            now = initial(guest, capsys)
            assert now["depth"] == before["depth"] + step
            assert now["stack"][: before["depth"]] == before["stack"]
            assert now["visible_root"] == now["stack"][-1]
            assert now["nr_mounts"] == before["nr_mounts"] + step
        mounts = ask(guest, capsys, "mounts", "--namespace", str(now["inum"]))["mounts"]
        by_address = {mount["address"]: mount for mount in mounts}
        names = [by_address[address]["source"] for address in now["stack"]]
        assert names[-3:] == ["layer1", "layer2", "layer3"]
        assert [by_address[address]["over"] for address in now["stack"]] == [False] + [True] * (
            len(names) - 1
        )
        run_steps(guest, "umount /")
        assert initial(guest, capsys)["stack"] == now["stack"][:-1]


@pytest.mark.parametrize("line", ENDS)
def test_a_source_is_held_by_a_namespace_that_copied_the_mount_and_by_a_file_of_what_was_unmounted(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two ways in which a disk stays busy, though no mount table of the machine shows it."""
    with Guest.boot(kernel_or_skip(line), "shell") as guest:
        run_steps(
            guest,
            "mkdir -p /d; mount -t tmpfs disk /d; echo x > /d/f",
            "(exec 7</d/f; exec sleep 100001) >/dev/null 2>&1 & echo $! > /opener",
            "unshare -m sleep 100002 >/dev/null 2>&1 & echo $! > /copier",
        )
        opener, copier = (number(guest, f"cat /{name}") for name in ("opener", "copier"))
        for pid, word in ((opener, "100001"), (copier, "100002")):
            wait_until(guest, f"grep -q ^sleep.{word} /proc/{pid}/cmdline")
        run_steps(guest, "umount -l /d", "! grep -q disk /proc/mounts")
        run_steps(guest, f"grep -q disk /proc/{copier}/mountinfo", f"ls -l /proc/{opener}/fd/7 | grep -q /f")
        answer = ask(guest, capsys, "mounts", "--source", "disk")
    detached, copied = sorted(answer["mounts"], key=lambda mount: mount["attachment"])
    assert (detached["attachment"], copied["attachment"]) == ("detached", "namespace")
    assert detached["kept_by"] == [f"an open file of sleep ({opener})"]
    assert copied["kept_by"][0] == f"its namespace (sleep ({copier}))"
    assert copied["mountpoint"] == "/d"
    assert detached["superblock"] == copied["superblock"]
    assert detached["holders_read"] and copied["holders_read"]
