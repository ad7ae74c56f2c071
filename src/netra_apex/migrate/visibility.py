"""Scopes of a file as Python has them: which binding each name means, where it is used, and what stands around it."""

import ast
from collections.abc import Iterable, Iterator
from typing import Literal

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Scope:
    """A module, class, function or comprehension, with what each of its names is bound by."""

    def __init__(
        self, kind: Literal["module", "class", "function", "comprehension"], node: ast.AST, parent: "Scope | None"
    ) -> None:
        self.kind = kind
        self.node = node
        self.parent = parent
        self.bindings: dict[str, list[ast.AST]] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()

    def bind(self, name: str, node: ast.AST) -> None:
        """Notes that a node binds a name here, or where `global` and `nonlocal` say."""
        self.owner(name).bindings.setdefault(name, []).append(node)

    def owner(self, name: str) -> "Scope":
        """The scope that a binding made here belongs to."""
        if name in self.globals:
            return self.module
        if name in self.nonlocals and self.parent is not None:
            return self.parent.lookup(name, nested=True) or self
        return self

    @property
    def module(self) -> "Scope":
        """The outermost scope."""
        return self if self.parent is None else self.parent.module

    def lookup(self, name: str, *, nested: bool = False) -> "Scope | None":
        """The scope whose binding a name means here; None where it is bound nowhere."""
        if name in self.globals:
            return self.module if name in self.module.bindings else None
        # What a class binds is not seen by what is nested in it.
        if name in self.bindings and not (nested and self.kind == "class"):
            return self
        return self.parent.lookup(name, nested=True) if self.parent is not None else None

    def between(self, outer: "Scope") -> Iterator["Scope"]:
        """This scope and those around it, up to and with `outer`."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            if scope is outer:
                return
            scope = scope.parent


class Scopes:
    """What a walk over a tree found; names are in the order of the text as far as Python's own order is."""

    def __init__(self, tree: ast.Module) -> None:
        self.root = Scope("module", tree, None)
        self.all: list[Scope] = [self.root]
        self.names: list[tuple[ast.Name, Scope]] = []
        self.strings: list[tuple[ast.Constant, Scope]] = []  # in annotations
        self.calls: list[tuple[ast.Call, Scope]] = []
        self.annotations: set[ast.AST] = set()
        self.parents: dict[ast.AST, ast.AST] = {
            child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
        }
        self._declare(tree.body, self.root)
        self._each(tree.body, self.root)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, the innermost first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def _scope(self, kind: Literal["class", "function", "comprehension"], node: ast.AST, parent: Scope) -> Scope:
        scope = Scope(kind, node, parent)
        self.all.append(scope)
        return scope

    def _declare(self, body: Iterable[ast.AST], scope: Scope) -> None:
        """`global` and `nonlocal` hold for the whole scope, also before they are said."""
        for node in body:
            if isinstance(node, ast.Global):
                scope.globals |= set(node.names)
            elif isinstance(node, ast.Nonlocal):
                scope.nonlocals |= set(node.names)
            elif not isinstance(node, Function | ast.ClassDef | ast.Lambda):
                self._declare(ast.iter_child_nodes(node), scope)

    def _each(self, nodes: Iterable[ast.AST | None], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                self._visit(node, scope)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scope)
            case ast.Lambda():
                self._each((*node.args.defaults, *node.args.kw_defaults), scope)
                inner = self._scope("function", node, scope)
                self._arguments(node.args, inner)
                self._visit(node.body, inner)
            case ast.ClassDef():
                scope.bind(node.name, node)
                self._each((*node.decorator_list, *node.bases, *node.keywords), scope)
                inner = self._scope("class", node, scope)
                self._parameters(node, inner)
                self._declare(node.body, inner)
                self._each(node.body, inner)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node, scope)
            case ast.NamedExpr(target=ast.Name() as target):
                self._visit(node.value, scope)
                outer = next(each for each in scope.between(scope.module) if each.kind != "comprehension")
                outer.bind(target.id, target)
                self.names.append((target, scope))
            case ast.AnnAssign():
                self._each((node.target, node.value), scope)
                self._annotation(node.annotation, scope)
            case ast.Call():
                self.calls.append((node, scope))
                self._each(ast.iter_child_nodes(node), scope)
            case _:
                self._leaf(node, scope)
                self._each(ast.iter_child_nodes(node), scope)

    def _leaf(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Name():
                self.names.append((node, scope))
                if not isinstance(node.ctx, ast.Load):
                    scope.bind(node.id, node)
            case ast.alias():
                if node.name != "*":
                    scope.bind(node.asname or self._bound(node), node)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                scope.bind(name, node)
            case ast.MatchMapping(rest=str(name)):
                scope.bind(name, node)
            case _:
                pass

    def _bound(self, node: ast.alias) -> str:
        return node.name.partition(".")[0] if isinstance(self.parents[node], ast.Import) else node.name

    def _function(self, node: Function, scope: Scope) -> None:
        scope.bind(node.name, node)
        self._each((*node.decorator_list, *node.args.defaults, *node.args.kw_defaults), scope)
        inner = self._scope("function", node, scope)
        self._parameters(node, inner)
        seen = inner if getattr(node, "type_params", ()) else scope
        for argument in _all_arguments(node.args):
            if argument.annotation is not None:
                self._annotation(argument.annotation, seen)
        if node.returns is not None:
            self._annotation(node.returns, seen)
        self._arguments(node.args, inner)
        self._declare(node.body, inner)
        self._each(node.body, inner)

    def _parameters(self, node: ast.AST, inner: Scope) -> None:
        """The type parameters of newer Pythons: `def f[T](x: T)`."""
        for parameter in getattr(node, "type_params", ()):
            inner.bind(parameter.name, parameter)
            self._each(ast.iter_child_nodes(parameter), inner)

    def _arguments(self, arguments: ast.arguments, inner: Scope) -> None:
        for argument in _all_arguments(arguments):
            inner.bind(argument.arg, argument)

    def _comprehension(self, node: Comprehension, scope: Scope) -> None:
        first, *rest = node.generators
        self._visit(first.iter, scope)
        inner = self._scope("comprehension", node, scope)
        self._each((first.target, *first.ifs), inner)
        for generator in rest:
            self._each((generator.iter, generator.target, *generator.ifs), inner)
        self._each((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,), inner)

    def _annotation(self, node: ast.expr, scope: Scope) -> None:
        for each in ast.walk(node):
            self.annotations.add(each)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and not self._literal(each):
                self.strings.append((each, scope))
        self._visit(node, scope)

    def _literal(self, node: ast.AST) -> bool:
        """Whether a string of an annotation is a value: `Literal["x"]`."""
        for above in self.above(node):
            if isinstance(above, ast.Subscript):
                name = above.value
                word = name.attr if isinstance(name, ast.Attribute) else name.id if isinstance(name, ast.Name) else ""
                return word == "Literal"
            if isinstance(above, ast.stmt | ast.arg):
                return False
        return False


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
