"""What lookups mean: in every generation of kernels, for every sort of thread, with and without a stack."""

from __future__ import annotations

import pytest

from explorer.analysis.lookups import Judge, Judged, LookupMeaning
from explorer.model import Generation, Lookup, LookupPlace, Placement, TaskKind
from explorer.plugin import PluginSet
from tests.unit.traces import DEVTMPFS, NULLFS, OTHER, ROOTFS, header, lookup

_WORKER = ("process_one_work", "worker_thread", "kthread", "ret_from_fork")
_BTRFS = (
    "filename_lookup",
    "kern_path",
    "btrfs_scratch_superblocks [btrfs]",
    "btrfs_dev_replace_kthread [btrfs]",
    "kthread",
)
_KSMBD = (
    "filename_lookup",
    "kern_path",
    "ksmbd_share_config_get [ksmbd]",
    "handle_ksmbd_work [ksmbd]",
    *_WORKER,
)
_FIRMWARE = (
    "path_openat",
    "file_open_root",
    "kernel_read_file_from_path_initns",
    "_request_firmware",
    *_WORKER,
)
_HELPER = (
    "path_openat",
    "do_open_execat",
    "kernel_execve",
    "call_usermodehelper_exec_async",
    "ret_from_fork",
)
_GIVEN = ("path_lookupat", "filename_lookup", "vfs_path_lookup", "ovl [overlay]", *_WORKER)
_USER = (
    "path_openat",
    "do_sys_openat2",
    "__x64_sys_openat",
    "do_syscall_64",
    "entry_SYSCALL_64_after_hwframe",
)
_DEVTMPFSD = ("filename_create", "kern_path_create", "handle_create", "devtmpfsd", "kthread", "ret_from_fork")
_MORE = ROOTFS.model_copy(update={"mount": 0xFFFF888000009900, "placement": None, "id": None})


def _judge(one: Lookup, generation: Generation = Generation.ISOLATED) -> Judged:
    return Judge(header(generation), PluginSet().plugins).judge(one)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (lookup(), LookupMeaning.FAILS),
        (lookup("rel/ative"), LookupMeaning.FAILS),
        (lookup(None), LookupMeaning.FAILS),
        (lookup(""), LookupMeaning.FAILS),
        (lookup(result=0), LookupMeaning.FAILS),  # of a path to be made its parent alone is looked up
        (lookup(result=None), LookupMeaning.FAILS),
        (lookup(stack=None), LookupMeaning.FAILS),
        (lookup(kind=None), LookupMeaning.FAILS),
        (lookup(start=LookupPlace(mount=NULLFS.mount, id=None, fstype=None, placement=None)), LookupMeaning.FAILS),
        (lookup("/", result=0), LookupMeaning.EMPTY),
        (lookup("/./..//", result=0), LookupMeaning.EMPTY),
        (lookup("/", path_cut=True), LookupMeaning.FAILS),
        (lookup(start=ROOTFS), LookupMeaning.BORROWED),
        (lookup(start=ROOTFS, stack=None), LookupMeaning.BORROWED),
        (lookup(start=ROOTFS, stack=_BTRFS), LookupMeaning.BORROWED),
        (lookup(start=OTHER, root=ROOTFS), LookupMeaning.BORROWED),
        (lookup("loop0", start=DEVTMPFS, stack=_DEVTMPFSD, root=None), LookupMeaning.OWN_ROOT),
        (lookup(start=DEVTMPFS, stack=None), LookupMeaning.OWN_ROOT),
        (lookup(start=OTHER), LookupMeaning.OWN_ROOT),
        (lookup("rel", start=OTHER, root=None), LookupMeaning.UNKNOWN),
        (lookup(start=OTHER, stack=None), LookupMeaning.UNKNOWN),
        (lookup(start=_MORE), LookupMeaning.UNKNOWN),
        (lookup(start=None, root=None), LookupMeaning.UNKNOWN),
        (lookup(start=ROOTFS, stack=_GIVEN), LookupMeaning.GIVEN_ROOT),
        (lookup(start=OTHER, stack=_GIVEN), LookupMeaning.GIVEN_ROOT),
        (lookup(start=ROOTFS, stack=_HELPER, kind=None), LookupMeaning.USERMODEHELPER),
        (lookup(start=ROOTFS, stack=None, kind=TaskKind.USERMODEHELPER), LookupMeaning.USERMODEHELPER),
        (lookup(start=ROOTFS, stack=("kernel_execve", "run_init_process", "kernel_init")), LookupMeaning.OWN_ROOT),
        (lookup(start=ROOTFS, kind=TaskKind.INIT), LookupMeaning.OWN_ROOT),
        (lookup(start=ROOTFS, kind=TaskKind.IO_WORKER), LookupMeaning.USER),
        (lookup(start=ROOTFS, stack=("do_filp_open", "io_openat2", "io_wq_worker", "ret_from_fork"), kind=None),
         LookupMeaning.USER),
        (lookup(start=ROOTFS, stack=_USER, in_kernel=False, kind=TaskKind.USER), LookupMeaning.USER),
        (lookup(start=ROOTFS, stack=_BTRFS, in_kernel=False, kind=TaskKind.USER), LookupMeaning.USER),
        (lookup(start=ROOTFS, stack=_FIRMWARE[:-4] + _USER[2:], in_kernel=False, kind=TaskKind.USER),
         LookupMeaning.BORROWED),
        (lookup(stack=_USER, in_kernel=False, kind=TaskKind.USER), LookupMeaning.FAILS),
    ],
)  # fmt: skip
def test_where_kernel_threads_are_isolated_a_lookup_means_what_it_started_at(
    one: Lookup, kind: LookupMeaning
) -> None:
    assert _judge(one).meaning.kind is kind
    assert _judge(one, Generation.RFC_V1).meaning.kind is kind


@pytest.mark.parametrize("generation", [Generation.LEGACY, Generation.NULLFS_ROOTFS])
@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (lookup(start=ROOTFS), LookupMeaning.WOULD_FAIL),
        (lookup(start=ROOTFS, result=0), LookupMeaning.WOULD_FAIL),
        (lookup(start=None, root=None), LookupMeaning.WOULD_FAIL),
        (lookup(start=ROOTFS, kind=None), LookupMeaning.WOULD_FAIL),
        (lookup("rel", start=OTHER, root=None), LookupMeaning.WOULD_FAIL),
        (lookup("/", start=ROOTFS, result=0), LookupMeaning.EMPTY),
        (lookup(start=ROOTFS, stack=None), LookupMeaning.UNKNOWN),
        (lookup(start=ROOTFS, stack=()), LookupMeaning.UNKNOWN),
        (lookup(start=ROOTFS, stack=_BTRFS), LookupMeaning.CONVERTED),
        (lookup(start=ROOTFS, stack=_KSMBD), LookupMeaning.CONVERTED),
        (lookup(start=ROOTFS, stack=_FIRMWARE), LookupMeaning.CONVERTED),
        (lookup(start=ROOTFS, stack=_GIVEN), LookupMeaning.GIVEN_ROOT),
        (lookup(start=ROOTFS, stack=_HELPER, kind=None), LookupMeaning.USERMODEHELPER),
        (lookup("loop0", start=DEVTMPFS, stack=_DEVTMPFSD, root=None), LookupMeaning.OWN_ROOT),
        (lookup(start=ROOTFS, stack=_USER, in_kernel=False, kind=TaskKind.USER), LookupMeaning.USER),
    ],
)
def test_before_7_3_a_lookup_means_what_would_become_of_it(
    one: Lookup, kind: LookupMeaning, generation: Generation
) -> None:
    assert _judge(one, generation).meaning.kind is kind


def test_a_function_of_another_module_is_not_the_one_that_was_converted() -> None:
    other = lookup(start=ROOTFS, stack=("kern_path", "update_dev_time [bad]", *_WORKER))
    built_in = lookup(start=ROOTFS, stack=("kern_path", "update_dev_time", *_WORKER))
    assert _judge(other, Generation.LEGACY).meaning.kind is LookupMeaning.WOULD_FAIL
    assert _judge(built_in, Generation.LEGACY).meaning.kind is LookupMeaning.CONVERTED


def test_the_function_that_borrows_is_named_as_7_3_has_it_where_the_stack_has_what_it_is_inlined_into() -> (
    None
):
    for generation in (Generation.LEGACY, Generation.ISOLATED):
        meaning = _judge(lookup(start=ROOTFS, stack=_KSMBD), generation).meaning
        assert (meaning.function, meaning.subsystem) == ("share_config_request", "ksmbd")
        assert "share_config_request" in meaning.says


def test_what_fails_says_what_to_do_and_which_module_is_to_be_mended() -> None:
    judged = _judge(lookup())
    assert judged.module == "bad"
    assert "scoped_with_init_fs()" in judged.meaning.do
    assert "scoped_with_init_fs()" in _judge(lookup(start=ROOTFS), Generation.LEGACY).meaning.do


def test_where_the_kernel_asks_for_a_module_that_module_is_to_be_mended() -> None:
    judged = _judge(lookup(stack=("filp_open", "integrity_read_file", "badfn [bad]", *_WORKER)))
    assert judged.asker is not None
    assert (judged.asker.label, judged.module) == ("integrity_read_file", "bad")
    assert _judge(lookup(stack=None)).module is None


def test_a_converted_function_in_nullfs_points_at_pid_1_and_not_at_its_module() -> None:
    meaning = _judge(lookup(stack=_BTRFS)).meaning
    assert meaning.kind is LookupMeaning.FAILS
    assert "NX-PID1-ABANDONED" in meaning.do
    assert "scoped_with_init_fs" not in meaning.do


def test_a_root_is_known_for_nullfs_by_its_placement_where_no_isolation_mount_was_found() -> None:
    unknown = header().model_copy(update={"isolation_mount": None})
    judge = Judge(unknown, [])
    assert judge.judge(lookup()).meaning.kind is LookupMeaning.FAILS
    bottom = NULLFS.model_copy(update={"placement": Placement.NULLFS_NS_ROOT})
    assert judge.judge(lookup(start=bottom)).meaning.kind is LookupMeaning.OWN_ROOT


def test_every_function_that_plugins_know_belongs_to_one_of_them() -> None:
    seen: dict[str, str] = {}
    for plugin in PluginSet().plugins:
        for borrows in plugin.borrows:
            for name in borrows.names():
                assert seen.setdefault(name, plugin.name) == plugin.name
    assert {"share_config_request", "update_dev_time", "bl_open_path", "do_populate_rootfs"} <= set(seen)
