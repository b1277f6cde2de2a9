"""``trace FILE`` as scripts and CI systems use it: exit codes, forms, queries, files that are none."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from pydantic_sarif.model import (  # type: ignore[import-untyped]  # the models of SARIF's own JSON Schema
    StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog,
)

from explorer.analysis.lookups import LookupMeaning
from explorer.codec import load_trace
from explorer.model import Generation, Lookup, TraceEnd, display_width
from explorer.output.lookups import words
from tests.conftest import DATA, Run
from tests.hostile import WEAPONS
from tests.unit.ko_builder import module_bytes
from tests.unit.output.test_hostile_output import OWN, on_a_terminal
from tests.unit.traces import (
    END,
    HOSTILE,
    LOST,
    ROOTFS,
    STACK,
    frames,
    header,
    lookup,
    write_trace,
)

_BORROWED = lookup("/dev/loop1", start=ROOTFS, result=0, time_s=11.0)


@pytest.mark.parametrize(
    ("lookups", "end", "generation", "code"),
    [
        ([lookup()], END, Generation.ISOLATED, 1),
        ([lookup(start=ROOTFS)], END, Generation.LEGACY, 1),
        ([lookup(), _BORROWED], None, Generation.ISOLATED, 1),
        ([_BORROWED], END, Generation.ISOLATED, 0),
        ([], END, Generation.ISOLATED, 0),
        ([_BORROWED], None, Generation.ISOLATED, 4),
        ([_BORROWED], LOST, Generation.ISOLATED, 4),
        ([lookup(start=ROOTFS, stack=None)], END, Generation.LEGACY, 4),
    ],
)
def test_the_exit_code_says_whether_a_lookup_fails_in_nullfs_and_else_whether_anything_is_missing(
    lookups: list[Lookup], end: TraceEnd | None, generation: Generation, code: int, run: Run, tmp_path: Path
) -> None:
    write_trace(tmp_path / "t.jsonl", header(generation), lookups, end)
    for form in ("table", "json", "jsonl", "sarif"):
        assert run("trace", "t.jsonl", "--format", form).returncode == code, form


def test_what_is_no_trace_is_said_in_a_line_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_text('{"schema_version": 1}\n')
    (tmp_path / "damaged.jsonl").write_bytes(
        write_trace(tmp_path / "t.jsonl", header(), [lookup()]).read_bytes().replace(b'"pid":7', b'"pid":"x"')
    )
    for name in ("missing", "snapshot.json", "damaged.jsonl", "/dev/null", "."):
        result = run("trace", name, "-o", "out.json")
        assert result.returncode == 3, name
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stdout == ""
    assert not (tmp_path / "out.json").exists()


def test_a_query_narrows_the_rows_the_summary_and_the_exit_code(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup(), _BORROWED])
    result = run("trace", "t.jsonl", "--where", "meaning:borrowed")
    assert result.returncode == 0
    assert "/dev/loop1" in result.stdout
    assert "/etc/passwd" not in result.stdout
    assert "1 lookup: 1 borrowed." in result.stdout
    wrong = run("trace", "t.jsonl", "--where", "askr:x")
    assert wrong.returncode == 2
    assert "did you mean asker?" in wrong.stderr


def test_json_lines_are_a_trace_again_with_what_was_chosen(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup(HOSTILE), _BORROWED], LOST)
    assert run("trace", "t.jsonl", "--where", "meaning:fails", "-o", "less.jsonl").returncode == 1
    again = load_trace(tmp_path / "less.jsonl")
    assert again.header == header()
    assert again.lookups == [lookup(HOSTILE)]
    assert again.end == LOST.model_copy(update={"lookups": 1})
    line = json.loads((tmp_path / "less.jsonl").read_text().splitlines()[1])
    assert line["judged"]["asker"] == {"function": "badfn", "module": "bad", "taint": "OE"}
    assert line["judged"]["meaning"] == "fails"
    assert (tmp_path / "less.jsonl").stat().st_mode & 0o777 == 0o600


def test_json_has_every_lookup_with_its_meaning_and_the_summary(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup(HOSTILE), _BORROWED], LOST)
    document = json.loads(run("trace", "t.jsonl", "--format", "json").stdout)
    assert document["schema_version"] == 1
    assert [Lookup.model_validate(each) for each in document["lookups"]] == [lookup(HOSTILE), _BORROWED]
    assert [each["judged"]["meaning"] for each in document["lookups"]] == ["fails", "borrowed"]
    assert document["summary"]["meanings"] == {"fails": 1, "borrowed": 1}
    assert document["summary"]["asked"][0]["results"] == {"ENOENT": 1}
    assert len(document["summary"]["lost"]) == 3
    assert document["modules"] is None
    empty = write_trace(tmp_path / "empty.jsonl", header(), [])
    assert json.loads(run("trace", empty, "--format", "json").stdout)["lookups"] == []


def test_sarif_has_a_result_for_each_who_asked_for_what_fails_and_is_valid(run: Run, tmp_path: Path) -> None:
    hostile = lookup(HOSTILE, stack=("kern_path", f"{HOSTILE} [{HOSTILE}]", "kthread"))
    write_trace(tmp_path / "t.jsonl", header(), [lookup(), lookup("/x"), hostile, _BORROWED], LOST)
    document = json.loads(run("trace", "t.jsonl", "--format", "sarif").stdout)
    SarifLog.model_validate(document)
    (log,) = document["runs"]
    assert [result["ruleId"] for result in log["results"]] == ["NX-LOOKUP-FAILS"] * 2
    described = [rule["id"] for rule in log["tool"]["driver"]["rules"]]
    assert [described[result["ruleIndex"]] for result in log["results"]] == ["NX-LOOKUP-FAILS"] * 2
    assert log["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "bad/badfn"
    assert log["invocations"][0]["exitCode"] == 1
    assert len(log["invocations"][0]["toolExecutionNotifications"]) == 3
    prints = {json.dumps(result["partialFingerprints"]) for result in log["results"]}
    assert len(prints) == 2
    assert "\x1b" not in "".join(result["message"]["text"] for result in log["results"])


def test_the_stack_of_each_lookup_is_there_on_demand_and_whole(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup(), lookup(stack=None)])
    assert "process_one_work" not in run("trace", "t.jsonl").stdout
    shown = run("trace", "t.jsonl", "--stack").stdout
    assert "\n".join(f"{'':11}{name}" for name in STACK) in shown
    assert "(its stack was lost)" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_whatever_paths_and_names_hold(
    run: Run, tmp_path: Path, width: int
) -> None:
    lookups = [
        lookup("/" + "x" * 4094, path_cut=True),
        lookup("/" + "漢" * 500, comm="漢" * 15, stack=("kern_path", "f" * 500, "kthread")),
        lookup(HOSTILE, pid=4194304, time_s=123456.789, start=None, result=-518),
        lookup(None, stack=None, result=None),
    ]
    write_trace(tmp_path / "t.jsonl", header(), lookups)
    shown = run("trace", "t.jsonl", "--width", str(width)).stdout
    assert [line for line in shown.splitlines() if display_width(line) > width] == []
    assert (
        len(
            [
                line
                for line in shown.splitlines()
                if line.rstrip().endswith(("fails in nullfs", "cannot tell"))
            ]
        )
        == 4
    )
    assert len(shown.splitlines()) < 120


def test_in_a_pipe_no_path_is_cut(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup("/" + "x" * 4000)])
    assert "/" + "x" * 4000 in run("trace", "t.jsonl").stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("--stack",), ("--format", "json"), ("--format", "jsonl"), ("--format", "sarif")],
    ids=" ".join,
)
def test_no_control_byte_of_a_trace_reaches_the_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    lookups = [
        lookup(weapon, comm=weapon, stack=None).model_copy(
            update={"stack": frames("kern_path", f"{weapon} [{weapon}]", "?", "kthread"), "start": start}
        )
        for weapon in WEAPONS
        for start in (ROOTFS, lookup().start, ROOTFS.model_copy(update={"fstype": weapon, "mount": 5}))
    ]
    armed = header().model_copy(update={"release": WEAPONS[0], "nodename": WEAPONS[1], "tool": WEAPONS[2]})
    end = LOST.model_copy(update={"problems": list(WEAPONS)})
    write_trace(tmp_path / "t.jsonl", armed, lookups, end)
    sent = on_a_terminal(tmp_path, ("trace", "t.jsonl", *arguments))
    assert b"a fault of this program" not in sent
    assert b"owned" in sent
    for own in OWN:
        sent = sent.replace(own, b" ")
    assert [char for char in sent.decode("utf-8") if not char.isprintable()] == []


def test_a_readiness_report_joins_what_was_seen_with_what_the_modules_files_say(
    run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "lib" / "kernel"
    folder.mkdir(parents=True)
    (folder / "bad.ko").write_bytes(module_bytes("filp_open", "kthread_create_on_node"))
    (folder / "btrfs.ko").write_bytes(module_bytes("lookup_bdev", "userspace_init_fs"))
    write_trace(tmp_path / "t.jsonl", header(Generation.LEGACY), [lookup(start=ROOTFS)])
    result = run("trace", "t.jsonl", "--readiness", "--modules", "lib")
    assert result.returncode == 1
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if re.match(r"(bad|btrfs) ", line)}
    assert re.search(r"OE +would-fail .*seen in badfn; takes filp_open", rows["bad"])
    assert re.search(r"- +converted ", rows["btrfs"])
    document = json.loads(
        run("trace", "t.jsonl", "--readiness", "--modules", "lib", "--format", "json").stdout
    )
    assert [(each["name"], each["readiness"], each["seen"]) for each in document["modules"]] == [
        ("bad", "would-fail", 1),
        ("btrfs", "converted", 0),
    ]
    (folder / "sleeping-one.ko").write_bytes(module_bytes("kern_path"))
    (folder / "torn.ko").write_bytes(b"\x7fELF")
    installed = run("trace", "t.jsonl", "--readiness", "--installed", "--modules", "lib").stdout
    assert re.search(r"^sleeping_one +not loaded +exposed ", installed, re.MULTILINE)
    assert re.search(r"^torn +not loaded +unknown .*torn.ko: not an ELF file", installed, re.MULTILINE)
    write_trace(tmp_path / "quiet.jsonl", header(Generation.LEGACY), [])
    quiet = run("trace", "quiet.jsonl", "--readiness", "--modules", "lib")
    assert quiet.returncode == 0
    assert re.search(r"^bad +OE +exposed ", quiet.stdout, re.MULTILINE)


def test_a_directory_of_modules_that_is_none_is_said_before_anything_is_written(
    run: Run, tmp_path: Path
) -> None:
    write_trace(tmp_path / "t.jsonl", header(Generation.LEGACY), [lookup(start=ROOTFS)])
    evil = header().model_copy(update={"release": "../../etc"})
    write_trace(tmp_path / "evil.jsonl", evil, [lookup()])
    for arguments in (
        ("t.jsonl", "--modules", "nowhere"),
        ("evil.jsonl",),
        ("t.jsonl", "--modules", os.devnull),
    ):
        result = run("trace", *arguments, "--readiness")
        assert result.returncode in (2, 3), arguments
        assert result.stdout == "", arguments
    assert run("trace", "t.jsonl", "--modules", ".").returncode == 2
    assert run("trace", "t.jsonl", "--installed").returncode == 2


def test_a_plugin_of_ones_own_says_which_functions_borrow(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from explorer.plugin import Borrows, Facts, Plugin\n"
        "PLUGIN = Plugin(name='mine', title='Mine', facts=Facts, collect=lambda k: Facts(),\n"
        "    audit=lambda s, f: iter(()), needs_modules=('bad',), borrows=(Borrows('badfn'),))\n"
    )
    write_trace(tmp_path / "t.jsonl", header(Generation.LEGACY), [lookup(start=ROOTFS)])
    assert run("trace", "t.jsonl").returncode == 1
    result = run("trace", "t.jsonl", "--plugin", "mine.py")
    assert result.returncode == 0
    assert "converted: badfn" in result.stdout
    (tmp_path / "broken.py").write_text("raise ValueError('no')\n")
    broken = run("trace", "t.jsonl", "--plugin", "broken.py", "--plugin", "mine.py")
    assert broken.returncode == 4
    assert "plugin broken" in broken.stderr


_NAMES = ("walrus", "meerkat", "ocelot", "bobcat", "lynxes")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "sarif"])
def test_a_redacted_trace_has_no_name_of_the_original_and_says_the_same_of_each_lookup(
    form: str, run: Run, tmp_path: Path
) -> None:
    head = header().model_copy(update={"nodename": "walrus.example"})
    end = LOST.model_copy(update={"problems": ["of lynxes"]})
    lookups = [
        lookup("/srv/meerkat/ocelot.conf", comm="kworker/0:1"),
        lookup("/srv/meerkat/x", ROOTFS, result=0, comm="bobcat-thread", pid=8),
        lookup("ocelot.conf/meerkat", comm="bobcat-thread", pid=8, stack=None),
    ]
    path = write_trace(tmp_path / "meerkat.jsonl", head, lookups, end)
    plain, hidden = (run("trace", path, "--format", form, *more) for more in ((), ("--redact",)))
    assert hidden.returncode == plain.returncode == 1
    assert [name for name in _NAMES if name in hidden.stdout] == []
    assert all(name in plain.stdout for name in _NAMES[1:3])
    assert "badfn" in hidden.stdout, "functions stay"
    if form == "jsonl":
        (tmp_path / "hidden.jsonl").write_text(hidden.stdout)
        (tmp_path / "plain.jsonl").write_text(plain.stdout)
        before, after = (load_trace(tmp_path / f"{name}.jsonl") for name in ("plain", "hidden"))
        paths = [each.path for each in after.lookups]
        assert re.fullmatch(r"/srv/(\w{7})/(\w{6})\.(\w{4})", paths[0] or "")
        assert [part for path in paths for part in re.findall(r"\w{7}", path or "")] == [
            re.findall(r"\w{7}", paths[0] or "")[0]
        ] * 3, "equal ones alike"
        same = {"path": None, "comm": ""}
        assert [each.model_copy(update=same) for each in after.lookups] == [
            each.model_copy(update=same) for each in before.lookups
        ]
        kept = {"nodename": ""}
        assert after.header.model_copy(update=kept) == before.header.model_copy(update=kept)


def test_a_redacted_trace_names_no_file_of_this_machine(run: Run, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", header(), [lookup()])
    refused = run("trace", "t.jsonl", "--redact", "--readiness")
    assert refused.returncode == 2 and "cannot be said with --redact" in refused.stderr


def test_what_each_means_stands_apart_from_who_asked(run: Run) -> None:
    shown = run("trace", DATA / "trace" / "saved-7.3.jsonl").stdout
    assert re.search(r"^fails +walker_work \[walker\]", shown, re.MULTILINE)
    assert re.search(r"^usermodehelper +call_usermodehelper_exec_async", shown, re.MULTILINE)
    assert max(map(len, LookupMeaning)) < words._INDENT
