"""What the rules of plugins mean, read from their sources: nothing is imported, so that a broken one is explained too.

A plugin says what a finding means where it finds it, with the names of the case in it. Here the same words stand with
``…`` for what a case fills in. What its helpers find for it (:mod:`.auditing`, a module beside it) is its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .declare import rule_prefix
from .loading import PluginSet
from .sources import UnreadableSourceError, parse_source

__all__ = ("PluginRule", "explain_rules")

_FILLED_IN = "…"
_HELPERS = Path(__file__).with_name("auditing.py")
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class PluginRule:
    """A rule of a plugin, in words that a case completes."""

    id: str
    plugin: str
    severities: tuple[str, ...]
    """Worst first; empty: each case has its own."""
    says: str
    means: str
    do: str


def explain_rules(plugins: PluginSet) -> list[PluginRule]:
    """The rules of all plugins, by id."""
    found: dict[str, PluginRule] = {}
    for name, path in plugins.sources():
        if path is None:
            continue
        try:
            rules = list(_Source(path).rules(name, None, set()))
        except RecursionError:  # functions that call each other a thousand deep: what they say is not told
            continue
        for rule in rules:
            found.setdefault(rule.id, rule)
    return [found[rule_id] for rule_id in sorted(found)]


def _parsed(path: Path) -> ast.Module:
    """A source that cannot be read has no rules: the listing says why."""
    try:
        return parse_source(path)
    except UnreadableSourceError:
        return ast.Module([], [])


class _Source:
    """A module's source: the findings in it, and where its names come from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree = _parsed(path)
        self._functions = {node.name: node for node in self._tree.body if isinstance(node, ast.FunctionDef)}
        self._imported = {
            alias.asname or alias.name: module
            for node in self._tree.body
            if isinstance(node, ast.ImportFrom) and (module := self._module(node)) is not None
            for alias in node.names
        }

    def _module(self, node: ast.ImportFrom) -> Path | None:
        """The helpers' own module for ``explorer.plugin``, and a module beside this one."""
        if node.module == "explorer.plugin":
            return _HELPERS
        return self._path.with_name(f"{node.module}.py") if node.level == 1 and node.module else None

    def rules(
        self, plugin: str, only: str | None, seen: set[tuple[Path, str | None]]
    ) -> Iterator[PluginRule]:
        """:param only: a function of this module, and what it calls; ``None``: all of them"""
        if (self._path, only) in seen:
            return
        seen.add((self._path, only))
        wanted: ast.AST | None = self._tree if only is None else self._functions.get(only)
        if wanted is None:
            return
        for scope in self._functions.values() if only is None else [wanted]:
            for node in ast.walk(scope):
                if isinstance(node, ast.Call):
                    yield from self._of_call(node, scope, plugin, only, seen)
        if only is None:  # what is made once, for the whole module
            for node in ast.walk(self._tree):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeadPlace":
                    yield from self._dead_place(node, plugin)

    def _of_call(
        self,
        node: ast.Call,
        scope: ast.AST,
        plugin: str,
        only: str | None,
        seen: set[tuple[Path, str | None]],
    ) -> Iterator[PluginRule]:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "finding" and len(node.args) >= 3:
            case, severity, title = node.args[:3]
            words = {each.arg: each.value for each in node.keywords}
            if isinstance(case, ast.Constant):
                yield self._rule(
                    plugin, str(case.value), severity, scope, title, words.get("means"), words.get("do")
                )
        elif isinstance(node.func, ast.Name):
            name = node.func.id
            if name in self._imported:
                yield from _Source(self._imported[name]).rules(plugin, name, seen)
            elif only is not None:
                yield from self.rules(plugin, name, seen)

    def _dead_place(self, node: ast.Call, plugin: str) -> Iterator[PluginRule]:
        fields = ("case", "severity", "means", "do")
        values = dict(zip(fields, node.args, strict=False)) | {each.arg: each.value for each in node.keywords}
        case, severity = values.get("case"), values.get("severity")
        if isinstance(case, ast.Constant) and severity is not None:
            title = ast.Constant(f"{_FILLED_IN} a mount that is out of everybody's sight")
            yield self._rule(
                plugin, str(case.value), severity, self._tree, title, values.get("means"), values.get("do")
            )

    def _rule(
        self,
        plugin: str,
        case: str,
        severity: ast.expr,
        scope: ast.AST,
        *words: ast.expr | None,
    ) -> PluginRule:
        says, means, do = (_FILLED_IN if each is None else self._text(each, scope) for each in words)
        named = [node.attr for node in ast.walk(severity) if isinstance(node, ast.Attribute)]
        severities = tuple(word.lower() for word in dict.fromkeys(named) if word.isupper())
        return PluginRule(f"{rule_prefix(plugin)}{case}", plugin, severities, says, means, do)

    def _text(self, node: ast.expr, scope: ast.AST, depth: int = 0) -> str:
        """The words of an expression, with ``…`` for what only a case knows."""
        deeper = depth + 1
        if depth > _DEEPEST:
            return _FILLED_IN
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.JoinedStr(values=parts):
                texts = [str(each.value) if isinstance(each, ast.Constant) else _FILLED_IN for each in parts]
                return re.sub(f"{_FILLED_IN}+", _FILLED_IN, "".join(texts))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._text(left, scope, deeper) + self._text(right, scope, deeper)
            case ast.IfExp(body=body, orelse=other):
                texts = list(
                    dict.fromkeys((self._text(body, scope, deeper), self._text(other, scope, deeper)))
                )
                some = [text for text in texts if text.strip()]
                return some[0] if len(some) == 1 else " / ".join(text.strip() for text in some)
            case ast.Call(args=[*_, ast.Constant(value=str() as text)]):
                return text  # absent(setting, "what to do")
            case ast.Name(id=name):
                value = self._value(name, scope)
                return _FILLED_IN if value is None else self._text(value, scope, deeper)
        return _FILLED_IN

    def _value(self, name: str, scope: ast.AST) -> ast.expr | None:
        """What a name is set to, if in one place: in the function, or else in the module."""
        for nodes in (ast.walk(scope), iter(self._tree.body)):
            values = [node.value for node in nodes if isinstance(node, ast.Assign) and _sets(node, name)]
            if values:
                return values[-1] if len(values) == 1 else None
        return None


def _sets(node: ast.Assign, name: str) -> bool:
    """Whether an assignment sets a name, alone or among others."""
    names = (each for target in node.targets for each in ast.walk(target))
    return any(isinstance(each, ast.Name) and each.id == name for each in names)
