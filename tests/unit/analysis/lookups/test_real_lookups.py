"""Lookups out of real ring buffers (6.1, 6.12, 7.3), against what the kernel module that made them says it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from explorer.analysis.lookups import Judge, Judged, LookupMeaning
from explorer.model import (
    Generation,
    LoadedModule,
    Lookup,
    LookupPlace,
    Placement,
    TaskKind,
    TraceHeader,
)
from explorer.plugin import PluginSet
from explorer.tracing.joining import JoinedLookup
from explorer.tracing.places import StackNames
from tests.unit.traced_pages import joined_pages, made_lookup
from tests.unit.traces import END, header, write_trace
from tests.unit.tracing.test_real_pages import DATA, KERNELS, looked_up

#: Who was told to look up -> the function of the kernel that called the module's.
_CALLERS = {
    "kworker": "process_one_work",
    "workqueue": "process_one_work",
    "kthread_worker": "kthread_worker_fn",
}


def _header(kernel: str) -> TraceHeader:
    about = json.loads((DATA / kernel / "about.json").read_text())
    isolated = kernel == "7.3"
    return header(Generation.ISOLATED if isolated else Generation.LEGACY).model_copy(
        update={
            "isolation_mount": about["isolation_mount"] if isolated else None,
            "init_root_mount": about["init_root_mount"],
            "release": about["release"],
            "modules": [LoadedModule(name="walker", taints="OE")],
        }
    )


def _lookup(found: JoinedLookup, names: StackNames, head: TraceHeader, offset: int) -> Lookup:
    def place(vfsmount: int | None) -> LookupPlace | None:
        if not vfsmount:
            return None
        mount = vfsmount - offset
        where = {head.isolation_mount: Placement.NULLFS, head.init_root_mount: Placement.INIT_ROOT}.get(mount)
        return LookupPlace(
            mount=mount, id=None, fstype="nullfs" if where is Placement.NULLFS else None, placement=where
        )

    places = {"start": place(found.walk.start), "root": place(found.walk.root)}
    return made_lookup(found, names).model_copy(update=places)


def _judged(kernel: str) -> list[Judged]:
    head = _header(kernel)
    offset = json.loads((DATA / kernel / "about.json").read_text())["offsets"]["mount_mnt"]
    lookups, names, _ = joined_pages(DATA / kernel)
    judge = Judge(head, PluginSet().plugins)
    return [judge.judge(_lookup(each, names, head, offset)) for each in lookups]


@pytest.mark.parametrize("kernel", KERNELS)
def test_of_each_real_lookup_it_is_said_who_asked_and_whether_it_fails_as_the_module_did_it(
    kernel: str,
) -> None:
    account: list[dict[str, Any]] = json.loads((DATA / kernel / "account.json").read_text())
    judged = _judged(kernel)
    made = [each for each in account if looked_up(each)]
    pids = {each["pid"] for each in made}
    seen = [each for each in judged if each.lookup.pid in pids]
    assert len(seen) == len(made)
    for found, done in zip(seen, made, strict=True):
        assert found.asker is not None
        assert (found.asker.label, found.module) == (f"{done['function']} [walker]", "walker")
        assert found.runs is not None
        is_work = done["who"] in _CALLERS
        assert (found.runs.work if is_work else found.runs.thread) == done["function"]
        assert is_work or found.runs.work is None
        if kernel != "7.3":
            wanted = LookupMeaning.WOULD_FAIL
        else:
            wanted = LookupMeaning.BORROWED if done["borrowed"] else LookupMeaning.FAILS
        assert found.meaning.kind is wanted, done
    assert kernel != "7.3" or {each["borrowed"] for each in made} == {True, False}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_real_helpers_exec_and_a_programs_own_lookups_are_not_the_kernels(kernel: str) -> None:
    others = [each for each in _judged(kernel) if each.asker is not None and each.asker.module is None]
    helpers = [each for each in others if each.lookup.kind is TaskKind.USERMODEHELPER]
    assert "call_usermodehelper_exec_async" in {
        each.asker.function for each in helpers if each.asker is not None
    }
    assert {each.meaning.kind for each in helpers} == {LookupMeaning.USERMODEHELPER}
    users = [each for each in others if not each.lookup.in_kernel]
    assert users
    assert {each.meaning.kind for each in users} == {LookupMeaning.USER}


#: File of tests/data/trace -> the kernel whose lookups are in it, and which of them: the pages show commands on these.
_SAVED = {"saved-7.3.jsonl": "7.3", "saved-6.12.jsonl": "6.12"}
_PATHS = ("/etc/passwd", "/tmp/link/file", "/none", "/bin/busybox")


def write_saved(directory: Path) -> None:
    """The lookups of a real kernel as a trace has them."""
    for name, kernel in _SAVED.items():
        lookups = [
            each.lookup for each in _judged(kernel) if each.lookup.in_kernel and each.lookup.path in _PATHS
        ]
        end = END.model_copy(update={"lookups": len(lookups)})
        write_trace(directory / name, _header(kernel), lookups, end)


def test_the_traces_that_the_pages_are_about_are_those_of_real_kernels(tmp_path: Path) -> None:
    write_saved(tmp_path)
    for name in _SAVED:
        assert (DATA / name).read_bytes() == (tmp_path / name).read_bytes()
