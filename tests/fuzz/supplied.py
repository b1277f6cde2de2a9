"""Mutators of what a user or a stranger supplies beside a target: plugin files, settings, names to redact, keys."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from .formats import changed_json, mutate_bytes

__all__ = ("SUPPLIED_MUTATORS", "Supplied")

_PLUGINS = sorted((Path(__file__).parents[2] / "plugins").glob("*.py"))
_IMPORT_S = 3.0
_SETTINGS = {
    "theme": "nullfs-dark",
    "keymap": {"go.tasks": "f5", "app.quit": "ctrl+q"},
    "baseline": "/tmp/accepted.json",
    "mouse": True,
    "views": [
        {"name": "v", "table": "tasks", "filter": "kind:kernel", "sort": "pid", "columns": ["pid", "comm"]}
    ],
}


class Supplied(NamedTuple):
    """How damaged content is made, and what is done with it, in the process of a case; that ends with an exit code."""

    make: Callable[[random.Random], bytes]
    feed: Callable[[bytes, Path], NoReturn]


def _plugin_file(rng: random.Random) -> bytes:
    """A damaged plugin; declarations of other kinds; what is nested without end; what ends who imports it."""
    source = rng.choice(_PLUGINS).read_bytes()
    match rng.randrange(5):
        case 0:
            return mutate_bytes(source, rng)
        case 1:
            field = rng.choice(
                ("name", "title", "needs_modules", "needs_symbols", "facts", "collect", "speaks_for")
            )
            value = rng.choice(
                ("None", "-1", "[[]]", "{}", "b''", "lambda: 0", "'\\ud800'", "('x',) * 9999", "...")
            )
            return (
                source
                + f"\nimport dataclasses\nPLUGIN = dataclasses.replace(PLUGIN, {field}={value})\n".encode()
            )
        case 2:
            return rng.choice(
                (b"-", b"(", b"[", b"a.", b"a()", b"not ", b"lambda:", b"'", b"{1:")
            ) * rng.randint(1, 200_000)
        case 3:
            ends = (
                "sys.exit(0)",
                "raise KeyboardInterrupt",
                "raise GeneratorExit",
                "raise BaseException('x')",
                "del sys.modules",
            )
            return f"import sys\n{rng.choice(ends)}\n".encode() + source
        case _:
            lines = source.splitlines(keepends=True)
            rng.shuffle(lines)
            return b"".join(lines)


def _load_plugin(content: bytes, folder: Path) -> NoReturn:
    """Listed, explained and imported; all others are there after it."""
    from explorer.plugin import PluginSet, explain_rules, list_plugins, load_plugins

    path = folder / "case.py"
    path.write_bytes(content)
    ours = {plugin.name for plugin in load_plugins(strangers=False).plugins}
    listed = list_plugins([path])
    rules = explain_rules(PluginSet([path]))
    loaded = load_plugins([path], limit_s=_IMPORT_S)
    assert len(listed) > len(ours) and len(rules) > 10
    assert ours <= {plugin.name for plugin in loaded.plugins}
    assert len(loaded.errors) + len(loaded.plugins) == len(ours) + 1
    sys.exit(0)


def _settings(rng: random.Random) -> bytes:
    content = json.dumps(_SETTINGS).encode()
    return mutate_bytes(content, rng) if rng.random() < 0.4 else changed_json(content, rng)


def _load_settings(content: bytes, folder: Path) -> NoReturn:
    from explorer.model import escape_text
    from explorer.tui import apply_keymap, keymap_complaint, load_settings

    os.environ["XDG_CONFIG_HOME"] = str(folder)
    (folder / "nullfs-explorer").mkdir(mode=0o700, exist_ok=True)
    (folder / "nullfs-explorer" / "settings.json").write_bytes(content)
    settings, problem = load_settings()
    apply_keymap(settings.keymap)
    for text in (problem, keymap_complaint(settings.keymap)):
        if text is not None:
            sys.stdout.write(escape_text(text) + "\n")
    sys.exit(0)


def _names(rng: random.Random) -> bytes:
    """Addresses in whatever shape, among words; a line each, behind a secret that it holds."""
    lines = []
    for _ in range(40):
        numbers = [str(rng.randint(10, 255)) for _ in range(rng.randint(2, 6))]
        if rng.random() < 0.4:
            numbers = [f"{rng.getrandbits(16):x}" for _ in numbers] + [str(rng.randint(10, 99)) + "a"]
        secret = rng.choice((".", "-", ":", "_", "--", ".-", "\\x2d", "%2E")).join(numbers)
        word = "".join(rng.choices("ghjkmnpqrsvwxyz", k=9))
        around = rng.choice(
            ("{}", "core.{}", "/srv/{}/x", "nfsroot=[{}]:/p", "{}.service", "kworker/{}:77", "at {}:")
        )
        lines.append(json.dumps([secret, word, around.format(secret) + rng.choice(" /-.:") + word]))
    return "\n".join(lines).encode()


def _redact(content: bytes, folder: Path) -> NoReturn:
    """Nothing of a secret or a name is in the text that is shown, which the check passes; the original it does not."""
    from explorer.analysis.redact import Redactor
    from explorer.analysis.redact.check import words_left
    from explorer.model import kernel_bytes

    names = Redactor()
    for line in content.decode().splitlines():
        secret, word, text = json.loads(line)
        shown = names.text(text)
        assert word not in shown, (text, shown)
        pieces = re.findall(r"[0-9a-fA-F]{2,}[^0-9A-Za-z/ ]+[0-9a-fA-F]{2,}", secret)
        assert not [piece for piece in pieces if re.search(rf"(?<!\w){re.escape(piece)}(?!\w)", shown)], (
            text,
            shown,
        )
        assert names.leaks_in_texts([shown]) == [], (text, shown)
        assert words_left([kernel_bytes(text)], (), ()), text
    sys.exit(0)


def _keys(rng: random.Random) -> bytes:
    parts = (
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x1b[200~",
        b"\x1b[201~",
        b"\x1b[<0;1;1M",
        b"\x1b[?1u",
        b"q",
        b"\xe2\x82",
        b"\xff",
    )
    return b"".join(rng.choice(parts) + rng.randbytes(rng.randint(0, 12)) for _ in range(rng.randint(1, 400)))


def _type_keys(content: bytes, folder: Path) -> NoReturn:
    """The terminal's bytes in pieces: each comes to an end, and a paste is no key."""
    from explorer.tui.terminal import Keyboard

    keyboard = Keyboard(False)
    now = 0.0
    for at in range(0, len(content), 7):
        now += 0.01
        for _ in (*keyboard.feed(content[at : at + 7], now), *keyboard.tick(now)):
            pass
    list(keyboard.tick(now + 10))
    sys.exit(0)


SUPPLIED_MUTATORS: dict[str, Supplied] = {
    "plugin-files": Supplied(_plugin_file, _load_plugin),
    "settings-files": Supplied(_settings, _load_settings),
    "redacted-texts": Supplied(_names, _redact),
    "pty-input": Supplied(_keys, _type_keys),
}
