"""Tables of very many records: their values in columns, and records that are made when somebody asks for one."""

from .columns import ColumnTable
from .deferred import DeferredTable, defer_records, table_and_row, table_and_rows

__all__ = ("ColumnTable", "DeferredTable", "defer_records", "table_and_row", "table_and_rows")
