"""One use of a deprecated class, judged by what stands around it: moved as it is, mapped as a call, or left."""

import ast
import re
from collections.abc import Iterator

from netra_apex.migrate.constructing import Unmappable
from netra_apex.migrate.signing import Definitions
from netra_apex.migrate.succession import Successor
from netra_apex.migrate.visibility import Function, Scope, Scopes

_MOCKS = frozenset(("Mock", "MagicMock", "AsyncMock", "NonCallableMock", "NonCallableMagicMock"))
_RAISES = frozenset(("raises", "assertRaises", "assertRaisesRegex"))
# What takes a class for its type alone.
_TYPES = frozenset((
    "Optional", "Union", "List", "Dict", "Set", "FrozenSet", "Tuple", "Type", "list", "dict", "set", "frozenset",
    "tuple", "type", "Annotated", "Callable", "Iterable", "Iterator", "Sequence", "Mapping", "Awaitable", "Coroutine",
    "AsyncIterator", "AsyncIterable", "Generator", "AsyncGenerator", "Final", "ClassVar",
))  # fmt: skip


class Judge:
    """Judges the uses of one file."""

    def __init__(self, scopes: Scopes, definitions: Definitions, *, test: bool, canonical: frozenset[ast.AST]) -> None:
        self._scopes = scopes
        self._definitions = definitions
        self._test = test
        self._canonical = canonical  # functions that use a canonical symbol already

    def constructs(self, node: ast.expr, successor: Successor) -> ast.Call | None:
        """The call of the class that a use is, or None where the name alone has to change.

        Raises:
            Unmappable: it has to stay as it is.
        """
        parent = self._scopes.parents[node]
        if self._test and self._canonical and outermost(self._scopes, node) in self._canonical:
            raise Unmappable("compares_old_and_new", "the test uses both the old and the new one")
        if node in self._scopes.annotations and not (isinstance(parent, ast.Call) and parent.func is node):
            return None
        if self._expects_failure(node):
            raise Unmappable("expects_failure", "the test expects that this fails")
        match parent:
            case ast.Call() if parent.func is node:
                return parent
            case ast.Attribute():
                self._member(parent, successor)
            case ast.ClassDef():
                self._inherits(parent, node, successor)
            case _ if self._of_type(node, parent):
                pass
            case ast.Call() if word(parent.func) in ("object", "setattr", "multiple"):
                self._patched(parent, node, successor)
            case _ if not successor.same:
                raise Unmappable("value_use", "the class itself is passed on, so nobody can see what it is called with")
            case _:
                pass
        return None

    def _member(self, node: ast.Attribute, successor: Successor) -> None:
        name = node.attr
        if not isinstance(node.ctx, ast.Load):
            raise Unmappable("value_use", f"the attribute {name} of the class is set")
        if name.startswith("__"):
            raise Unmappable("subclass", f"{name} of the class is used by its name")
        members = self._definitions.members(successor.symbol)
        if members is None or name not in members:
            raise Unmappable("missing_member", f"{successor.symbol.name} is not known to have {name}")
        if isinstance(self._definitions.member(successor.symbol, name), Function):
            before = self._definitions.taken_of(successor.old, name)
            after = self._definitions.taken(successor.symbol, name)
            if before is None or after is None or not before.same(after):
                raise Unmappable("not_bound", f"{name} is not known to take the same in {successor.symbol.name}")

    def _inherits(self, node: ast.ClassDef, use: ast.expr, successor: Successor) -> None:
        if use not in node.bases:
            raise Unmappable("subclass", f"class {node.name} takes it as an argument")
        old = self._definitions.members_of(successor.old)
        own = {each.name for each in node.body if isinstance(each, Function)}
        flagged = sorted(own & (old or own) | own & {"__init__", "__new__"})
        if any(isinstance(each, ast.Name) and each.id == "super" for each in ast.walk(node)):
            flagged.append("super()")
        if flagged or not successor.same:
            why = f"it has {', '.join(flagged)}" if flagged else "the new one is constructed in another way"
            raise Unmappable("subclass", f"class {node.name} inherits from it: {why}")

    def _of_type(self, node: ast.expr, parent: ast.AST) -> bool:
        """Whether a use asks only of which class something is."""
        at: ast.AST = node
        while isinstance(parent, ast.Tuple | ast.BinOp | ast.List):
            at, parent = parent, self._scopes.parents[parent]
        match parent:
            case ast.Call(func=func, args=args) if word(func) in ("isinstance", "issubclass"):
                return at in args[1:]
            case ast.Call(func=func, args=[first, *_]) if word(func) in _MOCKS or word(func) == "cast":
                return at is first
            case ast.keyword(arg="spec" | "spec_set" | "bound"):
                return True
            case ast.Subscript(value=value, slice=index):
                return at is index and word(value) in _TYPES
            case ast.ExceptHandler() | ast.Compare():
                return True
            case ast.AnnAssign(annotation=annotation):
                return at is annotation
            case ast.MatchClass(cls=kind):
                return at is kind and not parent.patterns
            case _:
                return False

    def _patched(self, call: ast.Call, node: ast.expr, successor: Successor) -> None:
        """`patch.object(Old, "run")` and `monkeypatch.setattr(Old, "run", …)`: the new one is to have it too."""
        name = call.args[1].value if len(call.args) > 1 and isinstance(call.args[1], ast.Constant) else None
        members = self._definitions.members(successor.symbol)
        dunder = isinstance(name, str) and name.startswith("__")
        if call.args[0] is not node or members is None or name not in members or dunder:
            raise Unmappable("patched_object", f"{successor.symbol.name} is not known to have {name!r} to be patched")

    def _expects_failure(self, node: ast.expr) -> bool:
        for above in self._scopes.above(node):
            if isinstance(above, ast.Call) and word(above.func) in _RAISES and node in above.args[1:]:
                return True
            if isinstance(above, ast.With | ast.AsyncWith) and any(
                isinstance(item.context_expr, ast.Call)
                and word(item.context_expr.func) in _RAISES
                and node not in ast.walk(item.context_expr)
                for item in above.items
            ):
                return True
            if isinstance(above, Function):
                return False
        return False


def outermost(scopes: Scopes, node: ast.AST) -> ast.AST | None:
    """The function that a node is in, the outermost one of a module or a class."""
    found: ast.AST | None = None
    for above in scopes.above(node):
        if isinstance(above, Function):
            found = above
    return found


def word(node: ast.expr) -> str:
    """The last part of a name or attribute."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def candidates(scope: Scope, missing: str) -> tuple[str, ...]:
    """Names in scope that a person could mean: those that share a word with what is missing, the nearest first."""
    words = set(missing.split("_")) - {""}
    found: list[str] = []
    for each in _visible(scope):
        for name, nodes in sorted(each.bindings.items()):
            written = {word for node in nodes if isinstance(node, ast.arg) for word in _words(node.annotation)}
            if name not in found and (words & set(name.lower().split("_")) or words <= written):
                found.append(name)
    return tuple(found[:10])


def _words(annotation: ast.expr | None) -> Iterator[str]:
    if annotation is not None:
        for part in re.findall(r"[A-Z][a-z0-9]+", ast.unparse(annotation)):
            yield part.lower()


def _visible(scope: Scope) -> Iterator[Scope]:
    at: Scope | None = scope
    while at is not None:
        if at is scope or at.kind != "class":
            yield at
        at = at.parent
