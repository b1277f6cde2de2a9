"""The pictures of the README: drawn by the real app, the same each time, and from nowhere else."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from types import ModuleType

import pytest

from .test_terminal import ROOT


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots_make", ROOT / "screenshots" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_the_same_app_gives_the_same_picture(maker: ModuleType) -> None:
    shot = maker.SHOTS["tasks-80x24"]
    one, other = (asyncio.run(maker.draw(shot)) for _ in range(2))
    assert one == other and "FS_STRUCT" in one


NAMES = [path.stem for path in sorted((ROOT / "screenshots").glob("*.svg"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_what_the_app_draws_now(maker: ModuleType, name: str) -> None:
    """``make screenshots`` draws them anew."""
    assert asyncio.run(maker.draw(maker.SHOTS[name])) == (ROOT / "screenshots" / f"{name}.svg").read_text(
        "utf-8"
    )


def test_every_picture_is_there_in_both_forms_and_the_readme_shows_no_other(maker: ModuleType) -> None:
    there = {path.name for path in (ROOT / "screenshots").iterdir() if path.suffix in (".png", ".svg")}
    assert there == {f"{name}{suffix}" for name in maker.SHOTS for suffix in (".png", ".svg")}
    shown = re.findall(r"screenshots/([a-z0-9_.-]+)", (ROOT / "README.md").read_text("utf-8"))
    assert shown and set(shown) <= there


def test_no_picture_loads_anything_when_it_is_opened() -> None:
    for path in (ROOT / "screenshots").glob("*.svg"):
        text = path.read_text("utf-8")
        assert "@font-face" not in text and "<script" not in text, path.name
        assert re.findall(r"https?://[^\"' )]+", text) in (
            ["http://www.w3.org/2000/svg"],
            ["http://www.w3.org/2000/svg", "https://www.textualize.io"],
        ), path.name
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
