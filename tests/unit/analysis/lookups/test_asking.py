"""Who asked, and what the thread ran: by stacks of every kernel, whole, strange and lost."""

from __future__ import annotations

import pytest

from explorer.analysis import ko
from explorer.analysis.lookups import asker_of, bare_name, is_vfs, result_name, runs_of
from tests.unit.traces import STACK, frames, lookup

_WORKER = ("process_one_work", "worker_thread", "kthread", "ret_from_fork")


@pytest.mark.parametrize(
    ("stack", "asker"),
    [
        (STACK, "badfn [bad]"),
        (
            ("path_openat", "do_filp_open", "file_open_name", "filp_open", "opener.isra.0 [bad]"),
            "opener [bad]",
        ),
        (
            (
                "path_parentat.isra.0",
                "__filename_parentat",
                "filename_create",
                "kern_path_create",
                "mk [bad]",
            ),
            "mk [bad]",
        ),
        (
            ("path_lookupat", "filename_lookup", "kern_path", "lookup_bdev", "bdev_file_open_by_path", "x"),
            "x",
        ),
        (("path_openat", "do_filp_open", "do_open_execat", "bprm_execve.part.0", "kernel_execve", "u"), "u"),
        (
            ("path_init", "path_openat", "do_file_open_root", "file_open_root", "start_creating_path", "y"),
            "y",
        ),
        (
            ("path_lookupat", "filename_lookup", "arch_rethook_trampoline", "kern_path", "badfn [bad]"),
            "badfn [bad]",
        ),
        # A module's function of that name is the module's.
        (("path_openat", "filp_open [bad]", "kern_path"), "filp_open [bad]"),
        # Not all that begins as a function of fs/init.c does is one.
        (("path_lookupat", "init_once"), "init_once"),
        (("path_lookupat", "?", "kern_path"), "0xffffffff81000010"),
    ],
)
def test_who_asked_is_the_first_function_outside_the_vfs(stack: tuple[str, ...], asker: str) -> None:
    found = asker_of(lookup(stack=stack), {})
    assert found is not None
    assert found.label == asker


def test_of_a_lost_stack_and_of_one_with_nothing_but_the_vfs_nobody_is_said_to_have_asked() -> None:
    assert asker_of(lookup(stack=None), {}) is None
    assert asker_of(lookup(stack=()), {}) is None
    assert asker_of(lookup(stack=("path_openat", "do_filp_open")), {}) is None


def test_the_taint_of_a_module_that_came_later_is_not_known_and_not_none() -> None:
    assert [
        getattr(asker_of(lookup(), taints), "taint", "") for taints in ({"bad": "OE"}, {"bad": ""}, {})
    ] == [
        "OE",
        "",
        None,
    ]


@pytest.mark.parametrize(
    ("stack", "work", "thread", "module"),
    [
        (STACK, "badfn", "worker_thread", "bad"),
        (("kern_path", "inner [bad]", "badwork.cold [bad]", *_WORKER), "badwork", "worker_thread", "bad"),
        (
            ("kern_path", "kwork [bad]", "kthread_worker_fn", "kthread", "ret_from_fork"),
            "kwork",
            "kthread_worker_fn",
            "bad",
        ),
        (("kern_path", "devtmpfsd", "kthread", "ret_from_fork"), None, "devtmpfsd", None),
        (("kern_path", "loop [bad]", "kthread", "ret_from_fork"), None, "loop", "bad"),
    ],
)
def test_what_the_thread_ran_is_what_the_workqueue_or_kthread_called(
    stack: tuple[str, ...], work: str | None, thread: str | None, module: str | None
) -> None:
    runs = runs_of(lookup(stack=stack))
    assert runs is not None
    assert (runs.work, runs.thread, runs.module) == (work, thread, module)


def test_a_program_and_a_lost_stack_run_no_work() -> None:
    assert runs_of(lookup(stack=("path_openat", "do_sys_openat2", "do_syscall_64"))) is None
    assert runs_of(lookup(stack=None)) is None


def test_a_stack_of_a_million_frames_is_looked_at_no_further_than_a_stack_can_be_long() -> None:
    assert asker_of(lookup(stack=["path_openat"] * 5000 + ["badfn [bad]"]), {}) is None


def test_whatever_ko_takes_for_a_lookup_is_the_vfs_and_no_asker() -> None:
    names = ko._LOOKUPS | ko.ANCHORED | ko._SYSTEM_CALL
    assert [name for name in sorted(names) if not is_vfs(frames(name)[0])] == []


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("link_path_walk.part.0.constprop.0", "link_path_walk"),
        ("f.isra.0.cold", "f"),
        (".part.0", ".part.0"),
        ("f.part", "f"),
        ("a.b", "a.b"),
        ("f" + ".part.0" * 100, None),
    ],
)
def test_a_function_is_called_as_its_source_calls_it(name: str, bare: str | None) -> None:
    assert bare_name(name).startswith("f") if bare is None else bare_name(name) == bare


def test_results_have_the_kernels_names_and_not_the_c_librarys() -> None:
    assert [result_name(value) for value in (0, -2, -95, -35, -11, -518, -4000, None, 7)] == [
        "ok",
        "ENOENT",
        "EOPNOTSUPP",
        "EDEADLK",
        "EAGAIN",
        "EOPENSTALE",
        "-4000",
        "?",
        "7",
    ]
