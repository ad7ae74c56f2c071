"""The walk that finds what each scope of a file binds."""

import ast
from typing import Any

from netra_apex.migrate.scopes import Bound, Scope, ScopeKind
from netra_apex.migrate.shapes import dotted


class Binder(ast.NodeVisitor):
    """Makes a scope for each node that has one, and enters its bindings."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope("module", tree, None)
        self.scopes = [self.module]
        self.of_node: dict[Any, Scope] = {tree: self.module}
        self._scope = self.module
        for statement in tree.body:
            self.visit(statement)

    def _bind(self, name: str, kind: Any, node: Any, **more: Any) -> None:
        scope = self._scope
        if kind == "walrus":
            kind = "value"
            while scope.kind == "comprehension" and scope.parent is not None:
                scope = scope.parent
        declared = scope.elsewhere.get(name)
        if declared == "global":
            scope = scope.module
        elif declared == "nonlocal" and scope.parent is not None:
            scope = scope.parent.lookup(name) or scope
        scope.names.setdefault(name, []).append(Bound(name, kind, node, scope, **more))

    def _inside(self, node: Any, kind: ScopeKind, parts: list[Any]) -> None:
        outer = self._scope
        scope = self._scope = self.of_node[node] = Scope(kind, node, outer)
        self.scopes.append(scope)
        if kind == "function":
            declared = _declared(parts)
            scope.elsewhere.update(declared)
            arguments = node.args
            rest = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
            for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest):
                self._bind(each.arg, "parameter", each)
        for part in parts:
            self.visit(part)
        self._scope = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name, "function", node)
        self._around(node)
        self._inside(node, "function", list(node.body))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as the visitor calls it

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for each in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(each)
        self._inside(node, "function", [node.body])

    def _around(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What of a function stands outside it."""
        for each in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(each)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, "class", node)
        for each in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(each)
        self._inside(node, "class", list(node.body))

    def _comprehension(self, node: Any) -> None:
        self.visit(node.generators[0].iter)
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        parts: list[Any] = []
        for place, each in enumerate(node.generators):
            parts += [each.target, *([each.iter] if place else []), *each.ifs]
        self._inside(node, "comprehension", [*parts, *elements])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815 - as above

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name.partition(".")[0], "import", alias, statement=node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self._bind(alias.asname or alias.name, "import", alias, statement=node)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, "value", node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bind(node.target.id, "walrus", node.target)
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        alias = dotted(node.value) if isinstance(node.value, ast.Name | ast.Attribute) else ""
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, "value", target, alias=alias)
            else:
                self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, "value", node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, "value", node)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # noqa: N815 - as the visitor calls it

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind(node.rest, "value", node)
        self.generic_visit(node)


def _declared(body: list[Any]) -> dict[str, Any]:
    """The names that a function says are global or nonlocal, wherever in it that stands."""
    found: dict[str, Any] = {}
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global | ast.Nonlocal):
            found.update(dict.fromkeys(node.names, "global" if isinstance(node, ast.Global) else "nonlocal"))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            waiting += ast.iter_child_nodes(node)
    return found
