"""The walk that finds every name with its attributes, which binding it is, and what it is used for."""

import ast
from collections.abc import Iterable
from typing import Any

from netra_apex.migrate.bindings import Binder
from netra_apex.migrate.scopes import Analysis, Reference, Scope, Text, Use
from netra_apex.migrate.shapes import dotted

_CHECKS = frozenset({"isinstance", "issubclass"})
_SPECS = frozenset({"spec", "spec_set", "autospec", "wraps"})
_TYPED = frozenset({"cast", "TypeVar", "NewType"})


def analyse(tree: ast.Module) -> Analysis:
    """The scopes, references and strings of a file."""
    binder = Binder(tree)
    reader = _Reader(binder)
    for statement in tree.body:
        reader.visit(statement)
    return Analysis(binder.module, tuple(binder.scopes), tuple(reader.references), tuple(reader.texts))


class _Reader(ast.NodeVisitor):
    """Visits each expression in the scope that it is evaluated in."""

    def __init__(self, binder: Binder) -> None:
        self._binder = binder
        self._scope = binder.module
        self._use: Use = "value"
        self._call: ast.Call | None = None
        self._argument = ""
        self._text: ast.Constant | None = None
        self.references: list[Reference] = []
        self.texts: list[Text] = []

    def _in(self, scope: Scope, nodes: Iterable[Any]) -> None:
        outer, self._scope = self._scope, scope
        for node in nodes:
            self.visit(node)
        self._scope = outer

    def _as(self, use: Use, *nodes: Any, call: ast.Call | None = None, argument: str = "") -> None:
        before = (self._use, self._call, self._argument)
        self._use, self._call, self._argument = use, call, argument
        for node in nodes:
            if node is not None:
                self.visit(node)
        self._use, self._call, self._argument = before

    def generic_visit(self, node: ast.AST) -> None:
        """What is below a node that is no plain name is a value, whatever the node is; annotations and types go on."""
        if self._use in ("annotation", "isinstance", "except", "spec") or not isinstance(node, ast.expr):
            super().generic_visit(node)
            return
        before, self._use = self._use, "value"
        super().generic_visit(node)
        self._use = before

    def visit_Name(self, node: ast.Name) -> None:
        self._found([node.id], [node], node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, nodes = [node.attr], [node]
        inner: Any = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            nodes.append(inner)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._found([inner.id, *reversed(parts)], [inner, *reversed(nodes)], node.ctx)
        else:
            self._as("value", inner)

    def _found(self, parts: list[str], nodes: list[Any], context: ast.expr_context) -> None:
        use: Use = self._use
        if isinstance(context, ast.Store):
            use = "store"
        elif isinstance(context, ast.Del):
            use = "delete"
        bound = self._scope.lookup(parts[0])
        found = Reference(tuple(parts), tuple(nodes), self._scope, bound, use, self._call, self._text, self._argument)
        self.references.append(found)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        if self._use == "annotation" and self._text is None:
            self._quoted(node, node.value)
            return
        call = dotted(self._call.func) if self._call is not None else ""
        self.texts.append(Text(node, node.value, call, self._scope))

    def _quoted(self, node: ast.Constant, value: str) -> None:
        """An annotation in quotes: its names count as if they stood there, at the place of the string."""
        try:
            inner = ast.parse(value.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            return
        self._text = node
        self.visit(inner)
        self._text = None

    def visit_Call(self, node: ast.Call) -> None:
        name = dotted(node.func).rpartition(".")[2]
        if isinstance(node.func, ast.Name | ast.Attribute):
            self._as("call", node.func, call=node)
        else:
            self._as("value", node.func)
        for place, each in enumerate(node.args):
            if name in _CHECKS and place == 1:
                self._as("isinstance", each, call=node)
            elif name in _TYPED and place == 0:
                self._as("annotation", each, call=node)
            else:
                self._as("value", each, call=node)
        for keyword in node.keywords:
            use: Use = "spec" if keyword.arg in _SPECS else "value"
            self._as(use, keyword.value, call=node, argument=keyword.arg or "**")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        literal = self._use == "annotation" and dotted(node.value).rpartition(".")[2] == "Literal"
        self._as(self._use if self._use in ("annotation", "base") else "value", node.value)
        self._as("annotation" if self._use == "annotation" and not literal else "value", node.slice)

    def _function(self, node: Any) -> None:
        self._as("decorator", *node.decorator_list)
        arguments = node.args
        self._as("value", *arguments.defaults, *(each for each in arguments.kw_defaults if each is not None))
        every = (*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg)
        self._as("annotation", *(each.annotation for each in every if each is not None), node.returns)
        self._in(self._binder.of_node[node], node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815 - as the visitor calls it

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._as("value", *node.args.defaults, *node.args.kw_defaults)
        self._in(self._binder.of_node[node], [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._as("decorator", *node.decorator_list)
        self._as("base", *node.bases)
        self._as("value", *(keyword.value for keyword in node.keywords))
        self._in(self._binder.of_node[node], node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        self._as("annotation", node.annotation)
        self._as("value", node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._as("except", node.type)
        for statement in node.body:
            self.visit(statement)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self._as("match", node.cls)
        for each in (*node.patterns, *node.kwd_patterns):
            self.visit(each)

    def _comprehension(self, node: Any) -> None:
        first, *rest = node.generators
        self._as("value", first.iter)
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner: list[Any] = [first.target, *first.ifs]
        for each in rest:
            inner += [each.iter, each.target, *each.ifs]
        before, self._use = self._use, "value"
        self._in(self._binder.of_node[node], [*inner, *elements])
        self._use = before

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815 - as above
