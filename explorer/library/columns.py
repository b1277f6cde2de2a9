"""The tasks of a snapshot as a table for Arrow and pandas: a column for each field of the query language.

Names are those of queries, with underscores for dots. Text is escaped as on the screen. A value that is not there, or
could not be read, is null, and so is a number that 64 bits do not hold.
"""

from __future__ import annotations

import importlib
from typing import Any

from explorer.analysis.query import FIELDS, FieldType, Scope, Value
from explorer.model import Snapshot, Task, escape_text

__all__ = ("TaskTables",)

_INT64, _UINT64 = "int64", "uint64"
_TYPES = {
    FieldType.TEXT: "string",
    FieldType.CHOICE: "string",
    FieldType.NUMBER: _INT64,
    FieldType.ADDRESS: _UINT64,
    FieldType.SECONDS: "float64",
    FieldType.OCTAL: _INT64,
    FieldType.FLAG: "bool_",
}
_RANGES = {_INT64: range(-(1 << 63), 1 << 63), _UINT64: range(1 << 64)}
_EXTRA = "needs {0}: pip install 'nullfs-explorer[data]'"


class TaskTables:
    """What :meth:`Snapshot.to_arrow` and :meth:`Snapshot.to_pandas` call, wherever the library is used."""

    def to_arrow(self, snapshot: Snapshot) -> Any:
        """A ``pyarrow.Table``, a row a task, by pid. :raises ImportError: without pyarrow"""
        pa = _need("pyarrow")
        columns: dict[str, tuple[str, list[Value]]] = {name: (_type_of(name), []) for name in FIELDS}
        shared: dict[tuple[int | None, str], Value] = {}
        for task in snapshot.tasks:
            for name, (_, values) in columns.items():
                if FIELDS[name].scope is Scope.TASK:
                    values.append(_value(name, task, snapshot))
                    continue
                key = task.owned_fs, name
                if key not in shared:
                    shared[key] = _value(name, task, snapshot)
                values.append(shared[key])
        arrays = {
            name.replace(".", "_"): pa.array(values, getattr(pa, kind)())
            for name, (kind, values) in columns.items()
        }
        return pa.table(arrays)

    def to_pandas(self, snapshot: Snapshot) -> Any:
        """A ``pandas.DataFrame`` of the same, with nullable types: no address becomes a float, and loses bits.

        :raises ImportError: without pandas
        """
        pa, pd = _need("pyarrow"), _need("pandas")
        types = {
            pa.int64(): pd.Int64Dtype(),
            pa.uint64(): pd.UInt64Dtype(),
            pa.float64(): pd.Float64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
            pa.string(): pd.StringDtype(),
        }
        return self.to_arrow(snapshot).to_pandas(types_mapper=types.get)


def _need(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(_EXTRA.format(module)) from error


def _type_of(name: str) -> str:
    return _UINT64 if name == "flags" else _TYPES[FIELDS[name].type]


def _value(name: str, task: Task, snapshot: Snapshot) -> Value:
    """What a cell holds; of a task's two names the full one, of its flags the bits."""
    value: Value = FIELDS[name].get(task, snapshot)
    if name == "name":
        value = None if task.comm is None else task.name
    if name == "flags":
        value = task.flags
    if isinstance(value, tuple):
        value = ", ".join(value)
    if isinstance(value, str):
        return escape_text(value)
    if type(value) is int and value not in _RANGES.get(_type_of(name), (value,)):
        return None
    return value
