"""A snapshot and its audit as columns of a fleet's tables: plain values, made where the target was read.

What the single commands say, nothing else: the verdict of ``tasks``, the findings of ``audit``, the fields of queries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from explorer.analysis import (
    AuditReport,
    expected_users,
    find_pid1,
    finding_fingerprint,
    finding_subject,
    is_kernel_thread,
    lost_tasks,
    verdict,
)
from explorer.analysis.query import FIELDS, FieldType, Value
from explorer.analysis.rules import borrowing_function
from explorer.fleet.tables import COLUMNS, query_column
from explorer.model import (
    Finding,
    FsStruct,
    PathRef,
    Placement,
    Severity,
    Snapshot,
    Task,
    escape_text,
    global_fs,
    is_isolating,
)
from explorer.naming import pwd_placement, utc_of

__all__ = ("snapshot_tables", "text")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BORROWER = "BORROWER"

Columns = dict[str, list[Any]]


def snapshot_tables(snapshot: Snapshot, report: AuditReport) -> dict[str, Columns]:
    """The columns of every table but for the target's key; of ``targets``, those that the snapshot says."""
    return {
        "targets": {name: [value] for name, value in _target(snapshot, report).items()},
        "tasks": _tasks(snapshot, report.findings),
        "fs_structs": _columns("fs_structs", (_fs_struct(fs, snapshot) for fs in snapshot.fs_structs)),
        "findings": _columns("findings", map(_finding, range(len(report.findings)), report.findings)),
        "errors": _columns("errors", _errors(snapshot, report)),
    }


def _columns(table: str, rows: Iterable[dict[str, Any]]) -> Columns:
    """:param rows: every row has every column but the key"""
    columns: Columns = {column.name: [] for column in COLUMNS[table] if column.name != "key"}
    for row in rows:
        for name, values in columns.items():
            values.append(row[name])
    return columns


def text(value: str | None) -> str | None:
    """Text as the tables have it: escaped."""
    return None if value is None else escape_text(value)


def _whole(value: int | None) -> int | None:
    return value if value is not None and -(1 << 63) <= value < 1 << 63 else None


def _address(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < 1 << 64 else None


def _real(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _time(iso: str | None) -> int | None:
    """Microseconds since 1970."""
    moment = None if iso is None else utc_of(iso)
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _target(snapshot: Snapshot, report: AuditReport) -> dict[str, Any]:
    capture, kernel, judged = snapshot.capture, snapshot.kernel, verdict(snapshot)
    pid1, worst = find_pid1(snapshot), min((f.severity.rank for f in report.findings), default=None)
    severities = Counter(finding.severity for finding in report.findings)
    kernel_threads = [task for task in snapshot.tasks if is_kernel_thread(task)]
    return {
        "source_kind": capture.source.kind,
        "source_target": text(capture.source.target),
        "capture_version": text(capture.tool_version),
        "taken_at": _time(capture.taken_at),
        "kernel_time": _time(capture.kernel_time),
        "boot_time": _time(kernel.boot_time),
        "consistent": capture.consistent,
        "release": text(kernel.release),
        "build_id": text(kernel.build_id),
        "generation": kernel.generation.value,
        "host": text(kernel.nodename),
        "cmdline": text(kernel.cmdline),
        "verdict": judged.kind.value,
        "headline": text(judged.headline),
        "sentence": text(judged.sentence),
        "tasks": len(snapshot.tasks),
        "kernel_threads": len(kernel_threads),
        "kernel_threads_outside_nullfs": sum(_is_outside(task, snapshot) for task in kernel_threads),
        "borrowers": sum(bool(task.borrowing) for task in snapshot.tasks),
        "walking": sum(task.walk is not None for task in snapshot.tasks),
        "fs_structs": len(snapshot.fs_structs),
        "mounts": len(snapshot.mounts),
        "mount_namespaces": len(snapshot.mount_namespaces),
        "init_fs": _address(kernel.init_fs),
        "userspace_init_fs": _address(kernel.userspace_init_fs),
        "pid1": None if pid1 is None else text(pid1.comm),
        "worst": None if worst is None else list(Severity)[worst].value,
        "findings": len(report.findings),
        **{f"findings_{severity.value}": severities[severity] for severity in Severity},
        "errors": len(snapshot.errors) + len(report.errors),
        "lost_tasks": text(lost_tasks(snapshot)),
        "missing_memory": text(capture.missing_memory),
    }


def _is_outside(task: Task, snapshot: Snapshot) -> bool:
    """Of a kernel that isolates its threads: the root of this one is known, and not in nullfs."""
    if not is_isolating(snapshot.kernel.generation):
        return False
    fs = snapshot.fs_of(task)
    root = None if fs is None else fs.root
    return root is not None and root.placement not in (None, Placement.NULLFS)


def _tasks(snapshot: Snapshot, findings: list[Finding]) -> Columns:
    tasks, columns = snapshot.tasks, Columns()
    for name, field in FIELDS.items():
        if name in ("name", "flags"):
            continue
        values = (field.get(task, snapshot) for task in tasks)
        columns[query_column(name)] = [_value(field.type, value) for value in values]
    columns["name"] = [text(task.name) for task in tasks]
    columns["flags"] = [_address(task.flags) for task in tasks]
    columns["full_name"] = [None if task.kthread is None else text(task.kthread.full_name) for task in tasks]
    named = global_fs(snapshot.kernel)
    columns["fs_name"] = [named.get(task.fs or 0) for task in tasks]
    columns["real_fs_name"] = [named.get(task.real_fs or 0) for task in tasks]
    columns["fs_struct_name"] = [named.get(task.owned_fs or 0) for task in tasks]
    columns["is_kernel_thread"] = [None if task.kind is None else is_kernel_thread(task) for task in tasks]
    borrowed = [_borrowed(task, snapshot) for task in tasks]
    columns["borrow_function"] = [function for function, _ in borrowed]
    columns["borrow_module"] = [module for _, module in borrowed]
    rules = _borrow_rules(findings)
    columns["borrow_rule"] = [rules.get(task.address) if task.borrowing else None for task in tasks]
    return columns


def _value(kind: FieldType, value: Value) -> Any:
    if value is None:
        return None
    match kind:
        case FieldType.TEXT | FieldType.CHOICE:
            return escape_text(str(value))
        case FieldType.FLAG:
            return bool(value)
        case FieldType.SECONDS:
            return _real(value)  # type: ignore[arg-type]
        case FieldType.ADDRESS:
            return _address(value)  # type: ignore[arg-type]
        case _:
            return _whole(value)  # type: ignore[arg-type]


def _borrowed(task: Task, snapshot: Snapshot) -> tuple[str | None, str | None]:
    """Under which function, and of which module, a task borrows; nothing of those that do not."""
    function = borrowing_function(task, snapshot) if task.borrowing else None
    if function is None:
        return None, None
    name, bracket, module = function.partition(" [")
    return text(name), text(module.removesuffix("]")) if bracket else None


def _borrow_rules(findings: list[Finding]) -> dict[int, str]:
    """The rule that names a borrower, by the task's address."""
    return {
        finding.evidence[0].address: finding.rule
        for finding in findings
        if finding.rule.endswith(_BORROWER) and finding.evidence and finding.evidence[0].address is not None
    }


def _fs_struct(fs: FsStruct, snapshot: Snapshot) -> dict[str, Any]:
    sharers = snapshot.sharers_by_fs.get(fs.address, [])
    return {
        "address": _address(fs.address),
        "name": global_fs(snapshot.kernel).get(fs.address),
        "users": _whole(fs.users),
        "expected": _whole(expected_users(fs, snapshot)),
        "sharers": _whole(fs.sharers),
        "kernel_threads": sum(map(is_kernel_thread, sharers)),
        "umask": _octal(fs.umask),
        "in_exec": _whole(fs.in_exec),
        "seq": _whole(fs.seq),
        "unstable": fs.unstable,
        **_path("root", fs.root, snapshot),
        **_path("pwd", fs.pwd, snapshot),
    }


def _octal(value: str | None) -> int | None:
    try:
        return None if value is None else _whole(int(value, 8))
    except ValueError:  # a snapshot that somebody edited
        return None


def _path(which: str, path: PathRef | None, snapshot: Snapshot) -> dict[str, Any]:
    if path is None:
        return dict.fromkeys(f"{which}_{part}" for part in ("placement", "path", "fstype", "mount"))
    mount, where = snapshot.mount_by_address.get(path.mount), path.placement
    word = pwd_placement(where) if which == "pwd" else None if where is None else where.value
    return {
        f"{which}_placement": word,
        f"{which}_path": text(path.path),
        f"{which}_fstype": text(path.fstype),
        f"{which}_mount": None if mount is None else _whole(mount.id),
    }


def _finding(number: int, finding: Finding) -> dict[str, Any]:
    evidence = [
        {"kind": each.kind, "label": text(each.label), "address": _address(each.address)}
        for each in finding.evidence
    ]
    return {
        "number": number,
        "rule": text(finding.rule),
        "severity": finding.severity.value,
        "title": text(finding.title),
        "subject": text(finding_subject(finding)),
        "fingerprint": finding_fingerprint(finding),
        "who": evidence[0]["label"] if evidence else None,
        "evidence": evidence,
        "explanation": text(finding.explanation),
        "advice": text(finding.advice),
    }


def _errors(snapshot: Snapshot, report: AuditReport) -> Iterator[dict[str, Any]]:
    """What could not be read, then plugins that failed, then the rules that could not judge."""
    found = [("capture", error.where, error.what, error.why) for error in snapshot.errors]
    found += [("audit", error.where, error.what, error.why) for error in report.errors]
    found += [("rule", silent.rule, "judge", silent.why) for silent in report.not_judged]
    for number, (stage, where, what, why) in enumerate(found):
        yield {"number": number, "stage": stage, "at": text(where), "what": text(what), "why": text(why)}
