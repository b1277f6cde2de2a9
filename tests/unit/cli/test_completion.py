"""What tab does, in the shells themselves: bash, and zsh and fish where they are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from explorer.cli.command import cli
from explorer.cli.completion import COMPLETION
from explorer.wire import PROGRAM
from tests.commands import every_command

_SHELLS = {
    "bash": ("bash --norc --noprofile -i", f'eval "$({COMPLETION}=bash_source {PROGRAM})"'),
    "zsh": ("zsh -f -i", f'autoload -Uz compinit; compinit -u; eval "$({COMPLETION}=zsh_source {PROGRAM})"'),
    "fish": ("fish --no-config -i", f"{COMPLETION}=fish_source {PROGRAM} | source"),
}
_FILES = ("my dump.core", "vmcore", "notes.txt")
#: What is typed before tab -> what the command is given then.
_CASES = {
    "sna": ["snapshot"],
    "fleet rep": ["fleet", "report"],
    "vm": ["vmcore"],
    "tasks sam": ["tasks", "sample"],
    "tasks my": ["tasks", "my dump.core"],
    "tasks -c vm": ["tasks", "-c", "vmcore"],
    "tasks --allow": ["tasks", "--allow-plugins-as-root"],
    "tasks --types b": ["tasks", "--types", "btf"],
    "tasks --types=b": ["tasks", "--types=btf"],
    "audit --fail-on hi": ["audit", "--fail-on", "high"],
    "audit --only NX-PID1-A": ["audit", "--only", "NX-PID1-ABANDONED"],
    "explain NX-PID1-A": ["explain", "NX-PID1-ABANDONED"],
    "snapshot sample -o no": ["snapshot", "sample", "-o", "notes.txt"],
}
#: Where the shell breaks the word, so that a file is one behind what is no file.
_BASH_CASES = {
    "tasks q": ["tasks", "qemu:"],
    "tasks physmem:vm": ["tasks", "physmem:vmcore"],
    "tasks --core=vm": ["tasks", "--core=vmcore"],
    "tasks 'my": ["tasks", "my dump.core"],
}


class Shell:
    """One in a terminal, in which the command says what it was given."""

    def __init__(self, name: str, directory: Path) -> None:
        programs = directory / "bin"
        programs.mkdir()
        command = programs / PROGRAM
        command.write_text(
            f'#!/bin/sh\n[ -z "${COMPLETION}" ] || exec "{sys.executable}" -m explorer "$@"\n'
            "printf 'GIVEN'\nprintf ' <%s>' \"$@\"\nprintf ' END\\n'\n"
        )
        command.chmod(0o755)
        for file in _FILES:
            (directory / file).touch()
        root = str(Path(__file__).parents[3])
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(directory),
            "TERM": "dumb" if name == "bash" else "xterm",
            "PS1": "> ",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}",
        }
        words, source = _SHELLS[name]
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(directory)
            os.execvpe(words.split()[0], words.split(), environment)
        self.seen = ""
        self.type(f"{source}\n")
        assert self.complete("schema ", "\n") == ["schema"]

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self.seen, re.DOTALL)) is None:
            assert time.monotonic() < end, f"no {pattern} in {self.seen!r}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                text = os.read(self.terminal, 65536).decode(errors="replace")
                self.seen += re.sub(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|\(B)", "", text)
        return found

    def complete(self, typed: str, then: str = "\t\n") -> list[str]:
        """What the command is given once tab and enter were pressed behind some words."""
        self.seen = ""
        self.type(f"{PROGRAM} {typed}")
        self.type(then)
        return re.findall(r"<([^>]*)>", self.wait_for(r"GIVEN(.*?) END")[1])

    def end(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        os.close(self.terminal)


@pytest.fixture(scope="module", params=sorted(_SHELLS))
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}: tests/host-tools.sh shells")
    running = Shell(request.param, tmp_path_factory.mktemp(request.param))
    yield running
    running.end()


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    running = Shell("bash", tmp_path_factory.mktemp("bash"))
    yield running
    running.end()


@pytest.mark.parametrize("typed", _CASES)
def test_tab_completes_commands_targets_files_options_values_and_rules(shell: Shell, typed: str) -> None:
    assert shell.complete(typed) == _CASES[typed]


@pytest.mark.parametrize("typed", _BASH_CASES)
def test_bash_completes_what_it_breaks_into_words(bash: Shell, typed: str) -> None:
    assert bash.complete(typed) == _BASH_CASES[typed]


def test_bash_shows_what_may_follow_and_nothing_else(bash: Shell) -> None:
    bash.seen = ""
    bash.type(f"{PROGRAM} tasks \t\t")
    shown = bash.wait_for(r"tasks \a?\r\n(.*?)\r\n> ")[1]
    assert sorted(re.split(r"  +|\s*\r\n", shown.strip())) == sorted(
        ["live", "proc", "sample", "qemu:", "physmem:", "bin/", *_FILES]
    )
    bash.type("\x15")


def ask(*words: str) -> tuple[list[str], str]:
    """What bash would be told, with the last word incomplete, and what is on stderr."""
    environment = {**os.environ, COMPLETION: "bash_complete", "COMP_WORDS": " ".join([PROGRAM, *words])}
    environment["COMP_CWORD"] = str(len(words))
    ran = subprocess.run(
        [sys.executable, "-m", "explorer"], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    return ran.stdout.split("\n")[:-1], ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("",),
        ("nonsense", "--nonsense", ""),
        ("audit", "--where", "kind:(", "--fail-on", ""),
        ("audit", "--types", "none-such", "--"),
        ("tasks", "'not", "closed"),
        ("fleet", "none-such", ""),
        ("--core", "/none/such", ""),
        ("record", "--for", "never", "--accel", ""),
    ],
)
def test_nothing_but_completions_is_printed_however_wrong_the_words_are(words: tuple[str, ...]) -> None:
    lines, said = ask(*words)
    assert said == ""
    assert [line for line in lines if line and not re.fullmatch(r"(plain|file|dir),[^\n]*", line)] == []


def test_whatever_takes_a_file_or_one_of_several_words_offers_it() -> None:
    for context in every_command():
        for parameter in context.command.get_params(context):
            takes = f"{parameter.metavar} {parameter.name}".split()[0].strip("[]").split(".")[0]
            offered = {item.type for item in parameter.shell_complete(context, "")}
            where = f"{context.command_path} {parameter.opts[0]}"
            if takes in ("FILE", "TARGET", "FLEET", "MINI", "KERNEL", "IMAGE", "OTHER", "live|FILE"):
                assert "file" in offered, where
            if isinstance(parameter.type, click.Choice):
                assert "plain" in offered, where


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sn", "plain,snapshot"),
        ("tasks --fo", "plain,--force"),
        ("audit --fail-on me", "plain,medium"),
        ("tasks sa", "plain,sample"),
    ],
)
def test_what_has_no_need_of_it_loads_nothing_that_takes_long(words: str, expected: str) -> None:
    code = (
        "import os, sys\nfrom explorer.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('drgn', 'textual', 'pydantic', 'dask', 'pyarrow') if m in sys.modules])"
    )
    environment = {**os.environ, COMPLETION: "bash_complete", "COMP_WORDS": f"{PROGRAM} {words}"}
    environment["COMP_CWORD"] = str(len(words.split()))
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert expected in ran.stdout.splitlines()
    assert ran.stdout.splitlines()[-1] == "[]"


def test_no_command_for_children_is_offered() -> None:
    offered, _ = ask("")
    assert {f"plain,{name}" for name in cli.list_commands(click.Context(cli))} <= set(offered)
    assert not {"plain,trace-lines", "plain,fleet-reader"} & set(offered)


def test_in_place_of_a_command_are_the_options_of_the_app_too_each_once() -> None:
    offered, _ = ask("--")
    assert {"plain,--version", "plain,--core", "plain,--help"} <= set(offered)
    assert len(offered) == len(set(offered))


def test_the_lines_that_the_readme_has_are_those_that_were_tried() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert f"`{_SHELLS['bash'][1]}`" in readme
    assert f"`{_SHELLS['fish'][1]}`" in readme
    assert "`zsh_source`" in readme
