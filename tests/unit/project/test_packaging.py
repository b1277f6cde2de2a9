"""The built-in plugins and the sample are where the program looks for them: in a checkout and in the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECK = (
    "import explorer, explorer.plugins, importlib.util, pathlib\n"
    "from explorer.targets.detect import sample_path\n"
    "print(pathlib.Path(explorer.__file__).parent)\n"
    "print(importlib.util.find_spec('explorer.plugins').name, sample_path().is_file())\n"
)


def ask(path: Path, cwd: Path) -> list[str]:
    """What a Python that finds ``explorer`` below ``path`` says of it."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    result = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=True, cwd=cwd, env=environment
    )
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", directory, ROOT], check=True, capture_output=True)
    return next(directory.glob("*.whl"))


def test_a_checkout_finds_its_plugins_through_the_link(tmp_path: Path) -> None:
    assert ask(ROOT, tmp_path) == [str(ROOT / "explorer"), "explorer.plugins True"]


def test_the_wheel_holds_plugins_and_sample_and_puts_no_name_of_theirs_at_the_top(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"explorer"}
    assert {f"explorer/plugins/{path.name}" for path in (ROOT / "plugins").glob("*.py")} <= set(names)
    assert ask(tmp_path / "site", tmp_path) == [
        str(tmp_path / "site" / "explorer"),
        "explorer.plugins True",
    ]


def test_the_editable_install_answers_to_its_command_from_anywhere(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "nullfs-explorer"
    result = subprocess.run([command, "plugins"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "ksmbd" in result.stdout
