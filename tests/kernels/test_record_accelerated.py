"""``record --boot`` on machines whose KVM works, is absent, or only pretends; on whichever of them this one is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.recording.reader import Recording
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.scenarios import find_scenario
from tests.kernels.qemu_stand_in import install
from tests.kernels.recordings import COMMAND

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

Record = Callable[..., "tuple[subprocess.CompletedProcess[str], Path]"]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Boots 7.3 on a machine with the given KVM until its /init runs; the command, ended, and the recording."""
    kernel = kernel_or_skip("7.3")
    initrd, path, temporary = (tmp_path / name for name in ("initrd", "a.nxrec", "tmp"))
    initrd.write_bytes(build_initramfs(kernel, find_scenario("healthy"), 0))
    temporary.mkdir()
    search = install(tmp_path / "bin")

    def run(kvm: str, *more: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        words = [
            "record",
            "--boot",
            str(kernel.vmlinuz),
            "--initrd",
            str(initrd),
            "-m",
            "256M",
            "-o",
            str(path),
        ]
        words += ["--append", "console=ttyS0 panic=-1 nx.scenario=healthy", "--until", "task(1).comm == init"]
        environment = {**os.environ, "PATH": search, "NX_KVM": kvm, "TMPDIR": str(temporary)}
        done = subprocess.run(
            [*COMMAND, *words, *more],
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
            env=environment,
        )
        assert list(temporary.iterdir()) == [], "QEMU's directory is gone"
        return done, path

    return run


def end_of(path: Path) -> tuple[str, bool]:
    """The end's code, and whether any frame is readable."""
    with Recording.open(path) as recording:
        assert recording.end is not None
        return recording.end.code, not all(recording.unreadable)


@pytest.mark.parametrize(
    ("kvm", "said"),
    [
        ("gives-up", "run state internal-error"),
        ("resets", "was reset before anything of it could be read"),
        ("dies", "QEMU has ended or hung up"),
    ],
)
def test_a_kvm_that_does_not_run_this_kernel_costs_no_recording(record: Record, kvm: str, said: str) -> None:
    done, path = record(kvm, "--for", "300s")
    assert done.returncode == 0, done.stderr
    assert end_of(path) == ("until", True)
    begun, again, _ = done.stderr.splitlines()
    assert "(KVM)" in begun
    assert again.startswith("KVM does not run this kernel here: ") and said in again and "(TCG)" in again


def test_a_kvm_in_which_nothing_moves_is_not_taken_for_one_that_runs_this_kernel(record: Record) -> None:
    done, path = record("stands", "--for", "2s")
    assert "KVM does not run this kernel here: 2 s were recorded" in done.stderr
    assert "(TCG)" in done.stderr
    code, _ = end_of(path)
    assert code in ("until", "done")  # two seconds may not be enough without KVM


def test_a_kvm_that_works_is_not_given_up(record: Record) -> None:
    done, path = record("works", "--for", "300s")
    assert done.returncode == 0, done.stderr
    assert "(KVM)" in done.stderr and "TCG" not in done.stderr
    assert end_of(path) == ("until", True)


def test_a_machine_without_kvm_emulates_at_once_and_says_why(record: Record) -> None:
    done, path = record("absent", "--for", "300s")
    assert done.returncode == 0, done.stderr
    assert "(TCG): with KVM, QEMU does not start: Could not access KVM" in done.stderr
    assert end_of(path) == ("until", True)


@pytest.mark.parametrize(
    ("kvm", "code", "said"),
    [
        ("absent", 3, "QEMU does not start: Could not access KVM kernel module"),
        ("gives-up", 1, "run state internal-error"),
        ("resets", 1, "was reset before anything of it could be read"),
    ],
)
def test_kvm_that_was_asked_for_by_name_is_not_replaced_but_reported(
    record: Record, kvm: str, code: int, said: str
) -> None:
    done, _ = record(kvm, "--for", "60s", "--accel", "kvm")
    assert (done.returncode, "TCG" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr.splitlines()[-1]
