"""What calls of classes and functions of the tree take, as far as the tree says."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path

from netra_apex.migrate.faults import Conflict
from netra_apex.migrate.resolve import Kind, Resolver, Target
from netra_apex.migrate.text import parsed

_DEEP = 20
_P = Parameter


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call takes. `outside` is the base class of elsewhere whose constructor it is; nothing is known of it then.

    `trouble` says why a call cannot be proven although the definition is known: it is a coroutine, say.
    """

    signature: Signature
    outside: str = ""
    trouble: str = ""

    def same(self, other: "Taken") -> bool:
        """Whether every call of the one is a call of the other: names, order and kinds, and which have defaults."""
        return not self.trouble and not other.trouble and (self.outside, _form(self)) == (other.outside, _form(other))


def _form(taken: Taken) -> list[tuple[str, object, bool]]:
    return [(each.name, each.kind, each.default is _P.empty) for each in taken.signature.parameters.values()]


class Definitions:
    """Classes and functions of the tree as they are written; every file is parsed once."""

    def __init__(self, root: Path, resolver: Resolver) -> None:
        self._root = root
        self._resolver = resolver
        self._trees: dict[str, ast.Module | None] = {}

    def node(self, target: Target) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The definition that a target leads to; the last one of its name at the top level of its module."""
        if target.kind is not Kind.SYMBOL or target.module is None:
            return None
        tree = self._tree(target.module.path)
        name = target.name.removeprefix(f"{target.module.name}.")
        found = None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Module | ast.If | ast.Try):
                for each in ast.iter_child_nodes(node):
                    if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name:
                        found = each
        return found

    def _tree(self, path: str) -> ast.Module | None:
        if path not in self._trees:
            try:
                self._trees[path] = parsed((self._root / path).read_bytes())
            except (OSError, SyntaxError, Conflict):
                self._trees[path] = None
        return self._trees[path]

    def taken(self, target: Target, factory: str = "") -> Taken | None:
        """What a call of a class, of its factory method, or of a function takes; None where nobody can say."""
        node = self.node(target)
        if node is None:
            return None
        if not isinstance(node, ast.ClassDef):
            return None if factory or node.decorator_list else _of_function(node, first=False)
        if factory:
            return self._factory(target, node, factory, 0)
        return self._constructor(target, node, 0)

    def _constructor(self, target: Target, node: ast.ClassDef, depth: int) -> Taken | None:
        methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        if "__new__" in methods or node.decorator_list or any(each.arg == "metaclass" for each in node.keywords):
            return None
        if "__init__" in methods:
            return _of_function(methods["__init__"], first=True)
        for base, found in self._bases(target, node):
            if found is None:
                return None if base is None else Taken(Signature(), outside=base)
            inherited = self._constructor(*found, depth + 1) if depth < _DEEP else None
            if inherited is None or inherited.signature.parameters or inherited.outside:
                return inherited
        return Taken(Signature())

    def _factory(self, target: Target, node: ast.ClassDef, factory: str, depth: int) -> Taken | None:
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == factory:
                marks = {mark.id for mark in each.decorator_list if isinstance(mark, ast.Name)}
                if len(marks) != 1 or len(each.decorator_list) != 1 or not marks <= {"classmethod", "staticmethod"}:
                    return Taken(Signature(), trouble=f"{factory} is neither a class method nor a static one")
                return _of_function(each, first=marks == {"classmethod"})
        for _, found in self._bases(target, node):
            inherited = self._factory(*found, factory, depth + 1) if found is not None and depth < _DEEP else None
            if inherited is not None:
                return inherited
        return None

    def _bases(self, target: Target, node: ast.ClassDef) -> list[tuple[str | None, tuple[Target, ast.ClassDef] | None]]:
        """(name, definition) of each base but those that have no constructor of their own."""
        found: list[tuple[str | None, tuple[Target, ast.ClassDef] | None]] = []
        assert target.module is not None
        for base in node.bases:
            name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            if name.rpartition(".")[2] in ("object", "Generic", "Protocol", "ABC"):
                continue
            first, *rest = name.split(".")
            if not all(part.isidentifier() for part in (first, *rest)):
                found.append((None, None))
                continue
            resolved = self._resolver.chain(self._resolver.attribute(target.module, first), rest)
            definition = self.node(resolved)
            inner = (resolved, definition) if isinstance(definition, ast.ClassDef) else None
            found.append((resolved.name if resolved.kind is Kind.EXTERNAL else name, inner))
        return found

    def member(self, target: Target, name: str) -> ast.stmt | None:
        """What defines a member of a class, in itself or in a base of the tree."""
        node = self.node(target)
        if not isinstance(node, ast.ClassDef):
            return None
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and each.name == name:
                return each
        for _, inner in self._bases(target, node):
            found = self.member(inner[0], name) if inner is not None else None
            if found is not None:
                return found
        return None

    def taken_of(self, name: str, factory: str) -> Taken | None:
        """What a class method of a class of a dotted name takes."""
        return self.taken(self._resolver.dotted(name), factory)

    def members_of(self, name: str) -> frozenset[str] | None:
        """What the class of a dotted name is known to have."""
        return self.members(self._resolver.dotted(name))

    def members(self, target: Target) -> frozenset[str] | None:
        """What a class of the tree is known to have; None where a base is not known."""
        node = self.node(target)
        if not isinstance(node, ast.ClassDef):
            return None
        found = set(_members(node))
        for _, inner in self._bases(target, node):
            inherited = self.members(inner[0]) if inner is not None else None
            if inherited is None:
                return None
            found |= inherited
        return frozenset(found)


def _members(node: ast.ClassDef) -> Sequence[str]:
    found: list[str] = []
    for each in node.body:
        match each:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.append(name)
            case ast.Assign(targets=targets):
                found += [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                found.append(name)
            case _:
                pass
    return found


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, *, first: bool) -> Taken:
    """What a function takes; `first` is left out: the instance or the class."""
    arguments = node.args
    found: list[Parameter] = []
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    for place, each in enumerate(positional):
        kind = _P.POSITIONAL_ONLY if place < len(arguments.posonlyargs) else _P.POSITIONAL_OR_KEYWORD
        found.append(Parameter(each.arg, kind, default=_P.empty if place < required else None))
    if arguments.vararg is not None:
        found.append(Parameter(arguments.vararg.arg, _P.VAR_POSITIONAL))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(Parameter(each.arg, _P.KEYWORD_ONLY, default=_P.empty if default is None else None))
    if arguments.kwarg is not None:
        found.append(Parameter(arguments.kwarg.arg, _P.VAR_KEYWORD))
    trouble = "it is a coroutine, which has to be awaited" if isinstance(node, ast.AsyncFunctionDef) else ""
    return Taken(Signature(found[1:] if first and positional else found), trouble=trouble)


def of_configuration(params: Sequence[str], required: Sequence[str]) -> Taken:
    """What the configuration says that the new call takes."""
    needed = set(required) or set(params)
    ordered = [Parameter(name, _P.POSITIONAL_OR_KEYWORD, default=_P.empty) for name in params if name in needed]
    ordered += [Parameter(name, _P.KEYWORD_ONLY, default=None) for name in params if name not in needed]
    return Taken(Signature(ordered))
