"""P: code that the project forbids, written as Python with holes, and matched after names are resolved.

`$X` is any one expression, and the same one wherever it stands again; `$$$` is any number of arguments or elements.
`os.environ[$K]` so finds `from os import environ as e; e["HOME"]`, and not the `os` of another module.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.config import Forbid
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.globs import Globs
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind
from netra_apex.migrate.scopes import Reference
from netra_apex.migrate.shapes import dotted
from netra_apex.migrate.source import Source
from netra_apex.migrate.usage import Meanings

_HOLE = re.compile(r"\$\$\$|\$([A-Za-z_]\w*)")
_ANY, _ONE = "_ssot_any_", "_ssot_one_"
_IGNORED = frozenset({"ctx", "lineno", "col_offset", "end_lineno", "end_col_offset", "type_comment", "kind"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """A forbidden pattern, parsed; `name` is the dotted name that it begins with, if it does."""

    forbid: Forbid
    tree: ast.expr
    name: str
    allowed: Globs

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]

    def asks_for(self, module: Module, data: bytes) -> bool:
        """Whether a file can match, as far as its words and imports show: it has the name's last part and its first.

        A star, or a module of the tree that passes names on, may hide the first part.
        """
        if self.allowed.matches(module.path) or self.name.rpartition(".")[2].encode() not in data:
            return False
        return "." not in self.name or self.top.encode() in data or bool(module.head.imports)


def compiled(forbids: Sequence[Forbid]) -> tuple[Pattern, ...]:
    """The patterns of a configuration.

    Raises:
        ConfigurationError: a pattern is no Python expression.
    """
    found: list[Pattern] = []
    for forbid in forbids:
        text = _HOLE.sub(lambda match: f"{_ONE}{match[1]}" if match[1] else _ANY, forbid.pattern)
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise ConfigurationError(f"the pattern {forbid.pattern!r} is no Python expression: {error}") from error
        found.append(Pattern(forbid, tree, _name(tree), Globs(forbid.excepted)))
    return tuple(found)


def _name(tree: ast.expr) -> str:
    """The longest dotted name in the pattern without a hole."""
    names = [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    return max((name for name in names if _ONE not in name and _ANY not in name), key=len, default="")


def matches(patterns: Sequence[Pattern], module: Module, source: Source, meanings: Meanings) -> Iterator[Finding]:
    """What a file has of the patterns."""
    matcher = _Matcher(meanings)
    kinds: dict[type, list[Pattern]] = {}
    for pattern in patterns:
        for kind in (
            (ast.Name, ast.Attribute) if isinstance(pattern.tree, ast.Name | ast.Attribute) else (type(pattern.tree),)
        ):
            kinds.setdefault(kind, []).append(pattern)
    inner = {id(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(source.tree):
        for pattern in kinds.get(type(node), ()):
            # Of a chain the whole is what is looked at, unless the pattern is its beginning.
            if id(node) in inner and isinstance(pattern.tree, ast.Attribute) and not dotted(pattern.tree):
                continue
            if matcher.same(pattern.tree, node, {}):
                yield _finding(pattern, module, source, node)


def _finding(pattern: Pattern, module: Module, source: Source, node: Any) -> Finding:
    forbid = pattern.forbid
    message = f"{forbid.pattern} is forbidden" + (f": {forbid.message}" if forbid.message else "")
    column = source.column(node.lineno, node.col_offset) + 1
    return Finding(module.path, node.lineno, column, "P001", message, forbid.severity, forbid.pattern)


class _Matcher:
    """Compares a pattern with the nodes of one file."""

    def __init__(self, meanings: Meanings) -> None:
        self._meanings = meanings
        self._names: Mapping[int, tuple[Reference, int]] = {
            id(node): (reference, place)
            for reference in meanings.analysis.references
            for place, node in enumerate(reference.nodes)
        }

    def same(self, pattern: Any, node: Any, holes: dict[str, str]) -> bool:
        """Whether a node is what the pattern says."""
        if isinstance(pattern, ast.Name) and pattern.id.startswith(_ONE):
            if not isinstance(node, ast.expr):
                return False
            written = ast.dump(node)
            return holes.setdefault(pattern.id, written) == written
        name = dotted(pattern) if isinstance(pattern, ast.Name | ast.Attribute) else ""
        if name and _ONE not in name:
            return self._means(node, name)
        if type(pattern) is not type(node):
            return False
        return all(
            self._field(getattr(pattern, field, None), getattr(node, field, None), holes)
            for field in pattern._fields
            if field not in _IGNORED
        )

    def _field(self, pattern: Any, node: Any, holes: dict[str, str]) -> bool:
        if isinstance(pattern, list):
            return isinstance(node, list) and self._items(cast("list[Any]", pattern), cast("list[Any]", node), holes)
        if isinstance(pattern, ast.AST):
            return node is not None and self.same(pattern, node, holes)
        return pattern == node

    def _items(self, pattern: list[Any], node: list[Any], holes: dict[str, str]) -> bool:
        if not pattern:
            # `f($$$)` takes keywords along: they are a list of their own in the tree.
            return not node or (_ANY in holes and isinstance(node[0], ast.keyword))
        if isinstance(pattern[0], ast.Name) and pattern[0].id == _ANY:
            holes[_ANY] = ""
            return any(self._items(pattern[1:], node[skipped:], dict(holes)) for skipped in range(len(node) + 1))
        return bool(node) and self.same(pattern[0], node[0], holes) and self._items(pattern[1:], node[1:], holes)

    def _means(self, node: Any, name: str) -> bool:
        """Whether a name with attributes is what the pattern's name is: the same target, or the same builtin."""
        reference, place = self._names.get(id(node), (None, 0))
        if reference is None or reference.use == "store":
            return False
        if reference.bound is None and not self._meanings.module.stars:
            return ".".join(reference.parts[: place + 1]) == name
        for step, target in self._meanings.steps(reference):
            if step == place:
                names = {target.name, *(hop.name for hop in target.hops)}
                return name in names or (target.kind is not Kind.SYMBOL and name == target.name)
        return reference.bound is None and ".".join(reference.parts[: place + 1]) == name
