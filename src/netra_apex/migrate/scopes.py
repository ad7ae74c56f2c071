"""Scopes of one file: which binding each name is, by Python's own rules, and every chain of attributes behind a name.

A `Reference` is a name with its attributes, as far as they follow it directly: `a.b.c` of `a.b.c(x).d`. It says in
which scope it stands, and what it is there for, so that a rule or an edit can tell a call from an annotation.
"""

import ast
from dataclasses import dataclass, field
from typing import Any, Literal

Use = Literal[
    "value", "call", "annotation", "base", "isinstance", "spec", "decorator", "except", "store", "delete", "match"
]
ScopeKind = Literal["module", "class", "function", "comprehension"]


@dataclass(eq=False, slots=True)
class Bound:
    """One place where a scope binds a name; `node` is the statement, argument, name or alias that does."""

    name: str
    kind: Literal["import", "class", "function", "parameter", "value"]
    node: Any
    scope: "Scope"
    statement: Any = None  # of an import, its statement
    alias: str = ""  # of `name = a.b`, what it stands for


@dataclass(eq=False, slots=True)
class Scope:
    """A module, class, function or comprehension, with the names that it binds."""

    kind: ScopeKind
    node: Any
    parent: "Scope | None"
    names: dict[str, list[Bound]] = field(default_factory=dict[str, list[Bound]])
    elsewhere: dict[str, Literal["global", "nonlocal"]] = field(default_factory=dict[str, Any])

    @property
    def module(self) -> "Scope":
        """The scope of the file."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def lookup(self, name: str) -> "Scope | None":
        """The scope that a name used here is bound in, or None where it is a builtin or made as the program runs."""
        scope: Scope | None = self
        declared = self.elsewhere.get(name)
        if declared == "global":
            scope = self.module
            return scope if name in scope.names else None
        if declared == "nonlocal":
            scope = self.parent
        first = scope is self
        while scope is not None:
            # What a class binds is not seen from the functions in it.
            if (scope.kind != "class" or first) and name in scope.names and name not in scope.elsewhere:
                return scope
            if scope.elsewhere.get(name) == "global":
                return scope.module if name in scope.module.names else None
            scope, first = scope.parent, False
        return None


@dataclass(eq=False, slots=True)
class Reference:
    """A name with its attributes; `nodes` has the node of each part, the outermost last."""

    parts: tuple[str, ...]
    nodes: tuple[Any, ...]
    scope: Scope
    bound: Scope | None
    use: Use
    call: ast.Call | None = None  # whose function, or argument, it is
    text: ast.Constant | None = None  # the string that it stands in, of an annotation in quotes
    argument: str = ""  # of a `spec`, the keyword

    @property
    def name(self) -> str:
        """As it is written."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant; `call` is the dotted name, as written, of what it is an argument of."""

    node: ast.Constant
    value: str
    call: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Analysis:
    """A file's scopes, references and strings, in the order of the file."""

    module: Scope
    scopes: tuple[Scope, ...]
    references: tuple[Reference, ...]
    texts: tuple[Text, ...]

    def uses_of(self, bound: Bound) -> tuple[Reference, ...]:
        """The references to the name of a binding, in its scope and those below it."""
        return tuple(each for each in self.references if each.bound is bound.scope and each.parts[0] == bound.name)
