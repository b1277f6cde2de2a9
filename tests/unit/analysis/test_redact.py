"""Redaction: no name of the original in any byte of what is written, and everything else as it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from explorer.analysis.accounting import reconcile
from explorer.analysis.audit import run_audit
from explorer.analysis.redact.snapshots import Redactor, redact_snapshot
from explorer.codec.snapshots import load_snapshot, write_json
from explorer.model import Snapshot, kernel_bytes
from explorer.plugin import load_plugins
from tests.conftest import FIXTURES, Run, capture_file

#: What the guest of the fixtures was full of; none of these is the kernel's, or a field's.
NAMES = (
    b"hostile",
    b"fspair",
    b"borrower",
    b"crasher",
    b"sleeper",
    b"jail",
    b"pppppppp",
    b"roonly",
    b"overmounted",
)


def names_of(snapshot: Snapshot) -> set[bytes]:
    """Words of four letters or more in task names, paths and sources, that are nobody else's words."""
    texts = [
        task.name for task in snapshot.tasks if task.kind in ("user", "init", "io_worker", "usermodehelper")
    ]
    texts += [mount.source or "" for mount in snapshot.mounts]
    texts += [mount.mountpoint or "" for mount in snapshot.mounts]
    texts += [ref.path or "" for fs in snapshot.fs_structs for ref in (fs.root, fs.pwd) if ref is not None]
    texts += [word for helper in snapshot.usermodehelpers for word in helper.argv]
    words = {word for text in texts for word in re.findall(rb"[0-9A-Za-z]{4,}", kernel_bytes(text))}
    kept = Redactor()
    return {word for word in words if not kept.is_kept(word)}


def shape(snapshot: Snapshot) -> object:
    """Everything but names."""
    plugins = load_plugins().plugins
    return (
        [(task.pid, task.kind, task.owner, task.state, task.fs, task.borrowing) for task in snapshot.tasks],
        [(fs.address, fs.users, fs.sharers, fs.root and fs.root.placement) for fs in snapshot.fs_structs],
        [(ref.fs.address, ref.balanced) for ref in reconcile(snapshot)],
        [(mount.address, mount.id, mount.parent, mount.fstype, mount.attachment) for mount in snapshot.mounts],
        [setting.found for setting in snapshot.settings],
        Counter((finding.rule, finding.severity) for finding in run_audit(snapshot, plugins).findings),
    )  # fmt: skip


@pytest.mark.parametrize("layout", FIXTURES)
def test_a_redacted_snapshot_has_the_same_tables_and_findings(
    layout: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    snapshot = fixture_snapshots[layout]
    assert shape(redact_snapshot(snapshot, load_plugins().plugins)) == shape(snapshot)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "json.zst"])
def test_no_name_is_left_in_any_byte_of_a_redacted_export(run: Run, tmp_path: Path, suffix: str) -> None:
    original = capture_file(FIXTURES["isolated"])
    result = run("snapshot", FIXTURES["isolated"], "--redact", "-o", f"out.{suffix}")
    assert result.returncode == 0, result.stderr
    content = (tmp_path / f"out.{suffix}").read_bytes()
    if suffix.endswith(".zst"):
        content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    assert [name for name in NAMES if name in content] == []
    # chroot, container, detached and umask are what the guest called tasks, and what the export calls things.
    left = names_of(original).intersection(re.findall(rb"[0-9A-Za-z]+", content))
    assert left <= {b"chroot", b"container", b"detached", b"umask", b"false"}


def test_the_same_name_stays_the_same_and_another_stays_another(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    snapshot = fixture_snapshots["isolated"]
    redacted = redact_snapshot(snapshot)
    pairs = {(old.comm, new.comm) for old, new in zip(snapshot.tasks, redacted.tasks, strict=True)}
    assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)


def test_two_redactions_do_not_share_their_names(fixture_snapshots: dict[str, Snapshot]) -> None:
    snapshot = fixture_snapshots["isolated"]
    first, second = redact_snapshot(snapshot), redact_snapshot(snapshot)
    assert first.kernel.cmdline != second.kernel.cmdline


def test_names_of_the_kernels_own_threads_and_filesystems_are_kept(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    redacted = redact_snapshot(fixture_snapshots["isolated"])
    names = {task.comm for task in redacted.tasks}
    assert {"kthreadd", "ksoftirqd/0", "rcu_preempt", "kdevtmpfs", "kswapd0"} <= names
    assert {"nullfs", "rootfs", "tmpfs"} <= {mount.fstype for mount in redacted.mounts}


def test_facts_of_a_plugin_that_is_not_known_are_left_out_and_said(isolated: Snapshot) -> None:
    isolated.plugins = {"stranger": {"state": "loaded", "owner": "alice"}}
    redacted = redact_snapshot(isolated)
    ((name, facts),) = redacted.plugins.items()
    assert facts == {"state": "failed"}
    assert name != "stranger"  # whoever wrote the file chose it
    assert redacted.errors[-1].where == f"plugin {name}"


def test_the_specifiers_of_core_pattern_keep_their_meaning() -> None:
    text = Redactor().text("|/opt/vendor/handler %P %u %%")
    assert re.fullmatch(r"\|/opt/[a-z]{6}/[a-z]{7} %P %u %%", text)


def test_more_names_than_there_are_words_of_that_length_is_an_error_and_no_mix_up() -> None:
    redactor = Redactor()
    with pytest.raises(ValueError, match="told apart"):
        for code in range(256):
            redactor.word(bytes([code]))
    assert len(set(redactor.replaced.values())) == len(redactor.replaced)


@pytest.mark.parametrize("layout", ["isolated", "rfc-v1", "legacy-6.1"])
def test_a_redacted_slice_shows_the_same_kernel_and_holds_no_name(
    run: Run, tmp_path: Path, layout: str, fresh: Callable[[str], Snapshot]
) -> None:
    result = run("slice", FIXTURES[layout], "--redact", "-o", "out.elf")
    assert result.returncode == 0, result.stderr
    content = (tmp_path / "out.elf").read_bytes()
    assert [name for name in (b"hostile", b"fspair", b"pppppppp", b"roonly") if name in content] == []
    shown, original = capture_file(tmp_path / "out.elf"), fresh(layout)
    assert shown.errors == []
    assert shape(shown) == shape(original)
    assert shown.kernel.cmdline != original.kernel.cmdline


def test_a_slice_that_cannot_be_redacted_is_not_written(run: Run, tmp_path: Path) -> None:
    """Symbols say where the tables are that came with the kernel; here, a snapshot has none at all."""
    with (tmp_path / "saved.json").open("wb") as out:
        write_json(capture_file(FIXTURES["rfc-v1"]), out)
    assert load_snapshot(tmp_path / "saved.json").tasks
    result = run("slice", "saved.json", "--redact", "-o", "out.elf")
    assert result.returncode == 3
    assert not (tmp_path / "out.elf").exists()


def test_facts_in_a_shape_their_plugin_does_not_have_are_left_out_and_it_is_said(
    run: Run, tmp_path: Path
) -> None:
    snapshot = capture_file(FIXTURES["isolated"])
    odd = snapshot.model_copy(update={"plugins": {"nfsd": {"state": "loaded", "exports": ["hostile"]}}})
    with (tmp_path / "odd.json").open("wb") as out:
        write_json(odd, out)
    result = run("snapshot", "--redact", "odd.json", "-o", "out.json")
    assert result.returncode == 4, result.stderr
    redacted = load_snapshot(tmp_path / "out.json")
    assert redacted.plugins["nfsd"] == {"state": "failed"}
    assert any(error.where == "plugin nfsd" for error in redacted.errors)
