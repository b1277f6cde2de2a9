"""Lookups by who asked, queries over them, and a machine's readiness."""

from __future__ import annotations

from functools import partial

import pytest

from explorer.analysis.lookups import (
    Judge,
    Judged,
    LookupMeaning,
    ModuleReadiness,
    Readiness,
    Summary,
    lookup_matches,
    lost_words,
    parse_lookup_query,
    place_words,
    readiness_of,
)
from explorer.analysis.lookups import summary as summary_module
from explorer.analysis.query import QueryError
from explorer.model import Generation, LoadedModule, Lookup, ModuleReport, ModuleVerdict, TraceEnd
from explorer.plugin import load_plugins
from tests.unit.traces import DEVTMPFS, END, HOSTILE, LOST, NULLFS, OTHER, ROOTFS, STACK, header, lookup

_OTHER_STACK = tuple(name.replace("badfn", "worse") for name in STACK)


def _judged(*lookups: Lookup, generation: Generation = Generation.ISOLATED) -> list[Judged]:
    return list(map(Judge(header(generation), load_plugins().plugins).judge, lookups))


def _summary(*lookups: Lookup, generation: Generation = Generation.ISOLATED) -> Summary:
    summary = Summary()
    for judged in _judged(*lookups, generation=generation):
        summary.add(judged)
    return summary


def test_each_who_asked_is_counted_with_first_last_paths_and_results() -> None:
    summary = _summary(
        lookup("/b", time_s=3.0),
        lookup("/a", time_s=1.0, result=0, pid=8),
        lookup("/a", time_s=2.0, start=ROOTFS),
        lookup("/c", time_s=9.0, stack=_OTHER_STACK),
    )
    first, second, third = summary.groups
    assert first.asker is not None and first.asker.label == "badfn [bad]"
    assert (first.number, first.first_s, first.last_s) == (2, 1.0, 3.0)
    assert first.paths == ["/b", "/a"]
    assert not first.more_paths
    assert first.tasks == ["kworker/0:1 (7)", "kworker/0:1 (8)"]
    assert first.results == {"ENOENT": 1, "ok": 1}
    assert second.asker is not None and second.asker.label == "worse [bad]"
    assert (third.number, third.meaning.kind.value) == (1, "borrowed")
    assert (summary.lookups, summary.bad, summary.untold) == (4, 3, 0)


def test_of_many_paths_the_first_are_kept_and_it_is_said_that_there_were_more() -> None:
    (group,) = _summary(*(lookup(f"/{number}", pid=number) for number in range(50))).groups
    assert group.paths == [f"/{number}" for number in range(5)]
    assert group.more_paths
    assert len(group.tasks) == 3
    assert group.more_tasks
    assert group.number == 50


def test_more_askers_than_are_kept_apart_are_counted_and_their_failures_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(summary_module, "_MOST_GROUPS", 3)
    summary = _summary(*(lookup(stack=("kern_path", f"f{number} [bad]")) for number in range(10)))
    assert (len(summary.groups), summary.ungrouped, summary.bad) == (3, 7, 10)


def test_what_was_lost_is_said_and_a_trace_without_an_end_is_not_whole() -> None:
    assert lost_words(END) == []
    assert any("cut off" in words for words in lost_words(None))
    said = " ".join(lost_words(LOST))
    assert "7 events" in said
    assert "1 lookup " in said
    assert "a buffer: \x1b[2J" in said
    broken: TraceEnd = END.model_copy(update={"reason": "broken"})
    assert lost_words(broken)


@pytest.mark.parametrize(
    ("query", "matching"),
    [
        ("", 5),
        ("pid:7", 4),
        ("pid>7", 1),
        ("comm~KWORKER", 5),
        ("kind:kworker", 5),
        ("path:/etc/*", 2),
        ("result:ENOENT", 4),
        ("result:-2", 4),
        ("result:ok", 1),
        ("asker:badfn", 4),
        ("module:bad", 4),
        ("not module:*", 1),
        ("taint~O", 4),
        ("meaning:fails", 3),
        ("meaning:bad", 3),
        ("meaning!=fails", 2),
        ("placement:nullfs", 3),
        ("start:nullfs#3:/", 3),
        ('start:"nullfs#3:/"', 3),
        ("stack:process_one_work", 4),
        ("func:badfn or pid:8", 5),
        ("time>=9.5 time<10", 5),
        ("failed not (own or passwd)", 2),
        ("\\e", 1),
        ("badfn", 4),
        ("7", 4),
        ("kernel:no", 0),
    ],
)
def test_queries_over_lookups_are_those_of_tasks_with_other_fields(query: str, matching: int) -> None:
    lookups = _judged(
        lookup(),
        lookup(HOSTILE),
        lookup("/x", pid=8, stack=None),
        lookup(start=ROOTFS, result=0),
        lookup("/sys", start=OTHER),
    )
    matches = lookup_matches(parse_lookup_query(query))
    assert sum(map(matches, lookups)) == matching


def test_a_field_or_word_that_is_misspelt_is_answered_with_what_was_meant() -> None:
    with pytest.raises(QueryError, match="did you mean asker"):
        parse_lookup_query("askr:badfn")
    with pytest.raises(QueryError, match="did you mean would-fail"):
        parse_lookup_query("meaning:wouldfail")
    with pytest.raises(QueryError, match="did you mean failed"):
        parse_lookup_query("faild")
    with pytest.raises(QueryError, match="there is no field users"):
        parse_lookup_query("users:1")


def test_where_a_lookup_started_is_said_with_a_path_for_nullfs_alone() -> None:
    assert [place_words(place) for place in (NULLFS, ROOTFS, DEVTMPFS, None)] == [
        "nullfs#3:/",
        "rootfs#2",
        "devtmpfs#11",
        "?",
    ]
    unnamed = ROOTFS.model_copy(update={"id": None, "fstype": None})
    assert place_words(unnamed) == "init-root"
    assert place_words(unnamed.model_copy(update={"placement": None})) == "?"


def _report(name: str, verdict: ModuleVerdict) -> ModuleReport:
    empty: list[str] = []
    return ModuleReport(
        path=f"/lib/{name}.ko", name=name, vermagic=None, license=None, verdict=verdict, meaning="", lookups=empty,
        anchored=empty, delegated=empty, system_call=empty, borrows=empty, unshares=False, kthreads=empty, work=empty,
    )  # fmt: skip


_ready = partial(readiness_of, plugins=())


def test_before_7_3_a_module_is_converted_if_a_plugin_knows_its_functions_and_it_is_the_kernels_own() -> None:
    lio = next(plugin for plugin in load_plugins().plugins if plugin.name == "lio")
    reports = {"target_core_mod": _report("target_core_mod", ModuleVerdict.EXPOSED)}

    def ready(generation: Generation, taints: str, *lookups: Lookup) -> ModuleReadiness:
        modules = [LoadedModule(name="target_core_mod", taints=taints)]
        head = header(generation).model_copy(update={"modules": modules})
        groups = _summary(*lookups, generation=generation).groups
        return next(
            each for each in readiness_of(head, groups, reports, {}, [lio]) if each.name == "target_core_mod"
        )

    quiet = ready(Generation.LEGACY, "")
    assert (quiet.readiness, quiet.says) == (Readiness.CONVERTED, "converted upstream")
    assert "__core_scsi3_write_aptpl_to_file" in quiet.functions
    stack = ("filp_open", "__core_scsi3_write_aptpl_to_file [target_core_mod]", "process_one_work", "kthread")
    seen = ready(Generation.LEGACY, "", lookup(start=ROOTFS, stack=stack))
    assert seen.readiness is Readiness.CONVERTED and seen.functions[0] == "__core_scsi3_write_aptpl_to_file"
    other = lookup(start=ROOTFS, stack=("filp_open", "another [target_core_mod]", "kthread"))
    assert ready(Generation.LEGACY, "", other).readiness is Readiness.WOULD_FAIL, "what was seen outweighs it"
    assert ready(Generation.LEGACY, "OE").readiness is Readiness.EXPOSED, "of a vendor's nobody knows"
    assert ready(Generation.ISOLATED, "").readiness is Readiness.EXPOSED, "there its symbols tell"


def test_what_the_kernels_own_function_borrows_for_a_module_does_not_make_that_ready() -> None:
    firmware = ("kernel_read_file_from_path_initns", "fw_get_filesystem_firmware", "probe [bad]", "kthread")
    groups = _summary(lookup(start=ROOTFS, stack=firmware), generation=Generation.LEGACY).groups
    assert [asked.meaning.kind for asked in groups] == [LookupMeaning.CONVERTED]
    [bad] = [
        each
        for each in _ready(
            header(Generation.LEGACY), groups, {"bad": _report("bad", ModuleVerdict.EXPOSED)}, {}
        )
        if each.name == "bad"
    ]
    assert bad.readiness is Readiness.EXPOSED


def test_a_machine_is_as_ready_as_what_was_seen_and_what_symbols_say() -> None:
    legacy = header(Generation.LEGACY)
    reports = {
        "bad": _report("bad", ModuleVerdict.EXPOSED),
        "btrfs": _report("btrfs", ModuleVerdict.BORROWS),
    }
    summary = _summary(
        lookup(start=ROOTFS),
        lookup(start=ROOTFS, stack=("kern_path", "vmlinux_fn", "kthread")),
        lookup(start=ROOTFS, stack=("kern_path", "fn [late]", "kthread")),
        generation=Generation.LEGACY,
    )
    found = {each.name: each for each in _ready(legacy, summary.groups, reports, {"late": "no file"})}
    assert {name: each.readiness for name, each in found.items()} == {
        "bad": Readiness.WOULD_FAIL,
        "btrfs": Readiness.CONVERTED,
        "late": Readiness.WOULD_FAIL,
        "vmlinux": Readiness.WOULD_FAIL,
    }
    assert next(iter(found)) == "bad"
    assert [asked.number for asked in found["bad"].seen] == [1]
    assert (found["late"].taint, found["late"].why) == (None, "no file")
    assert found["vmlinux"].why is None
    lost = _summary(lookup(stack=None)).groups
    assert "vmlinux" not in {each.name for each in _ready(legacy, lost, reports, {})}
    quiet = _ready(legacy, [], reports, {})
    assert [(each.name, each.readiness) for each in quiet] == [
        ("bad", Readiness.EXPOSED),
        ("btrfs", Readiness.CONVERTED),
    ]
    unjudged = _ready(legacy, [], {}, {"bad": "it has gone"})
    assert (unjudged[0].readiness, unjudged[0].why) == (Readiness.UNKNOWN, "it has gone")
