"""What a shell offers when tab is pressed: targets, files and rules; commands and choices are click's own to offer.

bash gets a script of ours: click's offers no files beside words, and nothing behind ``=`` once a letter is typed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
)

__all__ = ("COMPLETION", "complete_files", "complete_rules", "complete_targets", "register_shells")

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]
#: How a shell asks: click's name for it.
COMPLETION = "_NULLFS_EXPLORER_COMPLETE"
#: The shell itself knows which files there are.
_FILES = "file"
_WORDS = {
    "live": "the running kernel",
    "proc": "what /proc tells of this machine",
    "sample": "a small vmcore that came with the tool",
    "qemu:": "a guest's QMP socket",
    "physmem:": "raw memory",
}
#: Where bash breaks a word, see COMP_WORDBREAKS in bash(1).
_BREAKS = (":", "=")
_BASH = """\
%(complete_func)s() {
    local type value files= word=$2
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
        plain) COMPREPLY+=("$value") ;;
        file | dir) files=$type ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "${1/#~\\//$HOME/}")
    if [[ $files == dir ]]; then
        compopt -o dirnames
    elif [[ $files && ${#COMPREPLY[@]} == 0 ]]; then
        compopt -o default
    elif [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]]; then
        compopt -o nospace
    elif [[ $files ]]; then
        compopt -o filenames
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words as they were typed: bash breaks them where there is a colon or an equals sign."""
        before, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in (*before, incomplete):
            if words and (word in _BREAKS or words[-1].endswith(_BREAKS)):
                words[-1] += word
            else:
                words.append(word)
        return words[:-1], words[-1]


class _Zsh(ZshComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        return _behind_option(super().get_completions(args, incomplete), incomplete)


class _Fish(FishComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        return _behind_option(super().get_completions(args, incomplete), incomplete)


def _behind_option(items: list[CompletionItem[Any]], incomplete: str) -> list[CompletionItem[Any]]:
    """Where a shell replaces the whole word, an option stays before its value."""
    option, equals, _ = incomplete.partition("=")
    if not (equals and option.startswith("--")):
        return items
    return [CompletionItem(f"{option}={item.value}", item.type, item.help) for item in items]


def register_shells() -> None:
    """What click asks when a shell completes."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)


def complete_files(
    context: click.Context, parameter: click.Parameter, word: str
) -> list[CompletionItem[Any]]:
    """A file, of an option whose type does not say so."""
    return [CompletionItem(word, _FILES)]


def complete_targets(*kinds: str, files: bool = True) -> _Complete:
    """A target: these kinds of those that are no file, without one all; and files."""
    words = {each: said for each, said in _WORDS.items() if not kinds or each in kinds}

    def complete(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem[Any]]:
        near = [each for each in words if each.startswith(word) and each != word]
        named = [CompletionItem(each, help=words[each]) for each in near]
        return [*named, CompletionItem(word, _FILES)] if files else named

    return complete


def complete_rules(
    context: click.Context, parameter: click.Parameter, word: str
) -> list[CompletionItem[Any]]:
    """A rule, of the audit and of plugins; where one is explained, of traces, too."""
    from explorer.analysis.lookups import LOOKUP_RULES
    from explorer.analysis.rules import RULES
    from explorer.plugin import PluginSet, explain_rules

    ids = {rule.id for rule in RULES} | {rule.id for rule in explain_rules(PluginSet())}
    if parameter.name == "rule":
        ids |= {rule.id for rule in LOOKUP_RULES}
    return [CompletionItem(each) for each in sorted(ids) if each.startswith(word.upper())]
