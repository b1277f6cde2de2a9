"""Records that are made without being validated: what they are, and what they lack."""

from __future__ import annotations

from typing import Any

import pytest

from explorer.model import KernelSetting, Kthread, LoadedModule, MountNamespace, Reference, Snapshot, made


def test_a_record_that_is_not_validated_is_the_one_that_is() -> None:
    values: dict[str, Any] = {"threadfn": "f", "full_name": None, "workqueue": None, "current_func": None}
    values |= {"last_func": "g", "desc": None}
    ours, theirs = made(Kthread)(**values), Kthread(**values)
    assert ours == theirs and repr(ours) == repr(theirs) and ours.module is None
    assert ours.model_dump(mode="json") == theirs.model_dump(mode="json")
    assert ours.model_fields_set == set(Kthread.model_fields)


def test_what_is_left_out_is_as_the_model_says_and_a_list_is_nobody_elses() -> None:
    make = made(Snapshot)
    values: dict[str, Any] = dict.fromkeys(("capture", "kernel"))
    lists: dict[str, Any] = {
        name: [] for name in ("tasks", "fs_structs", "mounts", "mount_namespaces", "errors")
    }
    a, b = (make(**values, **lists) for _ in range(2))
    assert (a.workqueues, a.plugins, a.schema_version) == (
        [],
        {},
        Snapshot.model_fields["schema_version"].default,
    )
    assert a.workqueues is not b.workqueues and a.plugins is not b.plugins


@pytest.mark.parametrize("record", [Reference, LoadedModule, MountNamespace, KernelSetting])
def test_a_record_that_lacks_what_it_must_have_is_not_made(record: type) -> None:
    with pytest.raises(KeyError):
        made(record)()
