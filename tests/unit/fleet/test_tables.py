"""The tables of a fleet are what is promised of them, and nobody who reads one target pays for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.analysis.query import FIELDS
from explorer.fleet import COLUMNS, TABLES, FleetError, arrow_schema, need, query_column

ROOT = Path(__file__).parents[3]


def test_every_field_of_a_query_is_a_column_of_tasks_so_that_the_engine_can_decide_it() -> None:
    columns = {column.name for column in COLUMNS["tasks"]}
    assert {query_column(name) for name in FIELDS} <= columns


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_key_first_no_column_twice_and_a_word_on_each(table: str) -> None:
    names = [column.name for column in COLUMNS[table]]
    assert names[0] == "key"
    assert len(set(names)) == len(names)
    assert all(column.help for column in COLUMNS[table])
    assert arrow_schema(table).names == names


@pytest.mark.parametrize("table", TABLES)
def test_the_page_on_fleets_has_every_column_with_its_type(table: str) -> None:
    page = (ROOT / "docs" / "fleet.md").read_text()
    section = page.split(f"### `{table}`")[1].split("\n### ")[0]
    missing = [
        column.name
        for column in COLUMNS[table]
        if f"| `{column.name}` | {column.type.value} | {column.help} |" not in section
    ]
    assert missing == []


def test_a_command_on_one_target_imports_neither_dask_nor_pyarrow() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from explorer.cli.command import cli\n"
        "assert CliRunner().invoke(cli, ['tasks', 'sample']).exit_code == 0\n"
        "print(sorted({'dask', 'distributed', 'pyarrow'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_missing_package_is_one_line_that_says_what_to_install() -> None:
    with pytest.raises(
        FleetError, match=r"a fleet needs nopackage, .*pip install 'nullfs-explorer\[fleet\]'"
    ):
        need("nopackage.compute")
