"""The tables of a fleet's dataset: their columns, in order, with types, and what each means.

A dataset is a directory of Parquet files::

    FLEET/
      fleet.json               what it is: format, version, by which version of this program
      targets/*.parquet        a row a target: whatever came of it
      tasks/*.parquet          a row a task of each target that could be read
      fs_structs/*.parquet
      findings/*.parquet       what ``audit`` says, in its order
      errors/*.parquet         what could not be read, and rules that could not judge
      snapshots/KEY.json.zst   with ``--keep-snapshots``: what the rows of a target were made of

``key`` says in every table which target a row is of. Text is escaped as on the screen: no control character is in it,
a backslash is doubled. Times are UTC. A value that was not there, or could not be read, is null. Columns are added at
the end of a table; when one changes its meaning, or goes, the version of the format does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from explorer.analysis.query import FIELDS, FieldType

from .needed import need

__all__ = (
    "COLUMNS",
    "FORMAT_VERSION",
    "TABLES",
    "ColumnType",
    "FleetColumn",
    "arrow_schema",
    "query_column",
)

FORMAT_VERSION = 1


class ColumnType(Enum):
    """What a column holds, by the name that Arrow has for it."""

    TEXT = "string"
    WHOLE = "int64"
    """A number of the kernel's. One that 64 bits with a sign do not hold is null."""
    ADDRESS = "uint64"
    REAL = "double"
    FLAG = "bool"
    TIME = "timestamp[us, tz=UTC]"
    EVIDENCE = "list<struct<kind: string, label: string, address: uint64>>"


@dataclass(frozen=True, slots=True)
class FleetColumn:
    """One column of one table."""

    name: str
    type: ColumnType
    help: str


_TEXT, _WHOLE, _ADDRESS = ColumnType.TEXT, ColumnType.WHOLE, ColumnType.ADDRESS
_REAL, _FLAG, _TIME = ColumnType.REAL, ColumnType.FLAG, ColumnType.TIME
#: What says in every table which target a row is of.
_KEY = FleetColumn("key", _TEXT, "the target's key: 32 hexadecimal digits, by its content")
_NUMBER = FleetColumn("number", _WHOLE, "from 0, in the order in which the single command lists them")


def query_column(field: str) -> str:
    """The column of ``tasks`` that has a field of the query language: dots are underscores."""
    return field.replace(".", "_")


#: By the type of the field. ``name`` and ``flags``, which may be several words, are told below.
_OF_FIELD = {
    FieldType.TEXT: _TEXT,
    FieldType.CHOICE: _TEXT,
    FieldType.NUMBER: _WHOLE,
    FieldType.ADDRESS: _ADDRESS,
    FieldType.SECONDS: _REAL,
    FieldType.OCTAL: _WHOLE,
    FieldType.FLAG: _FLAG,
}
_SPECIAL = {
    "name": FleetColumn(
        "name", _TEXT, "full_name, else comm; a query's name is either of the two: ask comm or full_name"
    ),
    "flags": FleetColumn("flags", _ADDRESS, "PF_ bits; a query's flags are the names of those that are set"),
    "umask": FleetColumn("umask", _WHOLE, "the umask, a number: 18 is 0022"),
}


def _task_columns() -> list[FleetColumn]:
    """One for each field of the query language: predicates on them are decided by the engine."""
    asked = [
        _SPECIAL.get(name) or FleetColumn(query_column(name), _OF_FIELD[field.type], field.help)
        for name, field in FIELDS.items()
    ]
    return [_KEY, *asked, *_BESIDE_QUERIES]


_BESIDE_QUERIES = (
    FleetColumn("full_name", _TEXT, "a kernel thread's name before comm cut it to 15 bytes"),
    FleetColumn("fs_name", _TEXT, "init_fs or userspace_init_fs, where fs is one of these"),
    FleetColumn("real_fs_name", _TEXT, "the same of real_fs"),
    FleetColumn("fs_struct_name", _TEXT, "the same of fs_struct"),
    FleetColumn("is_kernel_thread", _FLAG, "kind is kthread, kworker, rescuer or idle; null where kind is"),
    FleetColumn(
        "borrow_function", _TEXT,
        "of who borrows: the work function or thread function under which it does, of an idle worker the last "
        "one it ran, without the module",
    ),
    FleetColumn("borrow_module", _TEXT, "the module of that function; null for one of vmlinux"),
    FleetColumn("borrow_rule", _TEXT, "the rule whose finding names this borrower; null where none does"),
)  # fmt: skip

_SEVERITIES = ("critical", "high", "medium", "low", "info")

_TARGETS = (
    _KEY,
    FleetColumn("path", _TEXT, "the file, as it was found; with @MOMENT where a frame of a recording was named"),
    FleetColumn("target", _TEXT, "what the user named: the file, or the folder, glob or list that it was found by"),
    FleetColumn("kind", _TEXT, "vmcore, snapshot or recording; null where it is none of these"),
    FleetColumn("bytes", _WHOLE, "size of the file"),
    FleetColumn("outcome", _TEXT, "ok, partial, cannot-open, crashed, timeout, memory or fault"),
    FleetColumn("why", _TEXT, "why it is not ok, in words"),
    FleetColumn("signal", _TEXT, "of what crashed: the signal, such as SIGSEGV"),
    FleetColumn("tool_version", _TEXT, "version of this program that made the row"),
    FleetColumn("analysed_at", _TIME, "when the row was made"),
    FleetColumn("analysed_on", _TEXT, "name of the machine that made it"),
    FleetColumn("seconds", _REAL, "how long it took to read and judge it"),
    FleetColumn("cpu_seconds", _REAL, "processor time of that"),
    FleetColumn("peak_bytes", _WHOLE, "most memory that was resident for it"),
    FleetColumn("source_kind", _TEXT, "what was captured: live, vmcore, qemu or physmem"),
    FleetColumn("source_target", _TEXT, "what whoever captured it called it"),
    FleetColumn("capture_version", _TEXT, "version of this program that captured it"),
    FleetColumn("taken_at", _TIME, "when it was captured"),
    FleetColumn("kernel_time", _TIME, "what the kernel's own clock said: of a dump, when the kernel stopped"),
    FleetColumn("boot_time", _TIME, "when the kernel booted"),
    FleetColumn("consistent", _FLAG, "false if the kernel ran while it was read"),
    FleetColumn("release", _TEXT, "of the kernel"),
    FleetColumn("build_id", _TEXT, "of the kernel"),
    FleetColumn("generation", _TEXT, "legacy, nullfs-rootfs, rfc-v1 or isolated"),
    FleetColumn("host", _TEXT, "the kernel's nodename; null in snapshots that are older than it"),
    FleetColumn("cmdline", _TEXT, "the kernel's command line"),
    FleetColumn("verdict", _TEXT, "isolated, shared, abandoned, breached or unknown"),
    FleetColumn("headline", _TEXT, "the verdict in a word or a few"),
    FleetColumn("sentence", _TEXT, "the verdict in a sentence or a few"),
    FleetColumn("tasks", _WHOLE, "tasks found"),
    FleetColumn("kernel_threads", _WHOLE, "of these"),
    FleetColumn("kernel_threads_outside_nullfs", _WHOLE, "kernel threads whose root is known, and not in nullfs"),
    FleetColumn("borrowers", _WHOLE, "tasks that look paths up through userspace_init_fs without owning it"),
    FleetColumn("walking", _WHOLE, "tasks inside a path walk"),
    FleetColumn("fs_structs", _WHOLE, "found"),
    FleetColumn("mounts", _WHOLE, "found"),
    FleetColumn("mount_namespaces", _WHOLE, "found"),
    FleetColumn("init_fs", _ADDRESS, "address of init_fs"),
    FleetColumn("userspace_init_fs", _ADDRESS, "address of the fs_struct of userspace's init"),
    FleetColumn("pid1", _TEXT, "name of PID 1"),
    FleetColumn("worst", _TEXT, "severity of the worst finding; null where there is none"),
    FleetColumn("findings", _WHOLE, "how many"),
    *(FleetColumn(f"findings_{name}", _WHOLE, f"how many of these are {name}") for name in _SEVERITIES),
    FleetColumn("errors", _WHOLE, "values that could not be read, and plugins that failed"),
    FleetColumn("lost_tasks", _TEXT, "why there may be more tasks than were found; null if there cannot be"),
    FleetColumn("missing_memory", _TEXT, "why a part of the memory is not there"),
    FleetColumn("snapshot", _TEXT, "file of the kept snapshot, from FLEET; null where none was kept"),
)  # fmt: skip


def _path_columns(which: str, what: str) -> tuple[FleetColumn, ...]:
    return (
        FleetColumn(f"{which}_placement", _TEXT, f"where the {what} is"),
        FleetColumn(f"{which}_path", _TEXT, f"path of the {what}"),
        FleetColumn(f"{which}_fstype", _TEXT, f"filesystem of the {what}"),
        FleetColumn(f"{which}_mount", _WHOLE, f"mount id of the {what}"),
    )


_FS_STRUCTS = (
    _KEY,
    FleetColumn("address", _ADDRESS, "of the fs_struct"),
    FleetColumn("name", _TEXT, "init_fs or userspace_init_fs; null for all others"),
    FleetColumn("users", _WHOLE, "fs_struct.users, the kernel's count"),
    FleetColumn("expected", _WHOLE, "holders found, and one for a global pointer that holds a reference"),
    FleetColumn("sharers", _WHOLE, "tasks found that own it"),
    FleetColumn("kernel_threads", _WHOLE, "of these"),
    FleetColumn("umask", _WHOLE, "the umask, a number: 18 is 0022"),
    FleetColumn("in_exec", _WHOLE, "fs_struct.in_exec"),
    FleetColumn("seq", _WHOLE, "the sequence count; odd while a writer is at work"),
    FleetColumn("unstable", _FLAG, "it changed at every attempt to read it"),
    *_path_columns("root", "root"),
    *_path_columns("pwd", "working directory"),
)

_FINDINGS = (
    _KEY,
    _NUMBER,
    FleetColumn("rule", _TEXT, "its id, such as NX-PID1-ABANDONED"),
    FleetColumn("severity", _TEXT, "critical, high, medium, low or info"),
    FleetColumn("title", _TEXT, "one line about this case, with names"),
    FleetColumn("subject", _TEXT, "what it is about, in words that are the same on the next boot"),
    FleetColumn(
        "fingerprint", _TEXT, "of rule and subject: as ruleAndSubject/v1 of SARIF; the same on every boot"
    ),
    FleetColumn("who", _TEXT, "the object that the evidence names first; null where it names none"),
    FleetColumn("evidence", ColumnType.EVIDENCE, "the objects it is about"),
    FleetColumn("explanation", _TEXT, "what it means, on this kernel"),
    FleetColumn("advice", _TEXT, "what to do"),
)

_ERRORS = (
    _KEY,
    _NUMBER,
    FleetColumn("stage", _TEXT, "capture: a value that is missing; audit: a plugin failed; rule: it could not judge"),
    FleetColumn("at", _TEXT, "where it was: a task, a plugin, a rule"),
    FleetColumn("what", _TEXT, "could not be read or done"),
    FleetColumn("why", _TEXT, "in words"),
)  # fmt: skip

#: Every table's columns, by the table's name.
COLUMNS: dict[str, tuple[FleetColumn, ...]] = {
    "targets": _TARGETS,
    "tasks": tuple(_task_columns()),
    "fs_structs": _FS_STRUCTS,
    "findings": _FINDINGS,
    "errors": _ERRORS,
}
#: The first has a row for every target.
TABLES = tuple(COLUMNS)


def arrow_schema(table: str) -> Any:
    """The ``pyarrow.Schema`` of a table. :raises FleetError: if pyarrow is not installed"""
    pa = need("pyarrow")
    types = {
        ColumnType.TEXT: pa.string(),
        ColumnType.WHOLE: pa.int64(),
        ColumnType.ADDRESS: pa.uint64(),
        ColumnType.REAL: pa.float64(),
        ColumnType.FLAG: pa.bool_(),
        ColumnType.TIME: pa.timestamp("us", tz="UTC"),
        ColumnType.EVIDENCE: pa.list_(
            pa.struct([("kind", pa.string()), ("label", pa.string()), ("address", pa.uint64())])
        ),
    }
    fields = [
        pa.field(column.name, types[column.type], metadata={"help": column.help}) for column in COLUMNS[table]
    ]
    return pa.schema(fields, metadata={"nullfs-explorer fleet": f"{table} {FORMAT_VERSION}"})
