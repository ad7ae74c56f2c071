"""One file: every binding that leads to a deprecated symbol, with each use of it, as changes that are made or left."""

import ast
import re
from collections.abc import Iterator

from netra_apex.migrate.changes import Change, Place
from netra_apex.migrate.constructing import Piece, Unmappable, mapped
from netra_apex.migrate.facts import Import
from netra_apex.migrate.importing import Move
from netra_apex.migrate.judging import Judge, candidates, outermost, word
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind, Target
from netra_apex.migrate.succession import Successor
from netra_apex.migrate.text import Text
from netra_apex.migrate.tree import Tree
from netra_apex.migrate.visibility import Scope, Scopes

Bound = tuple[Scope, str]


class Rewriter:
    """The changes of one file whose names come by import; constructed, it has looked at all of its scopes."""

    def __init__(self, tree: Tree, module: Module, source: Text) -> None:
        self.tree = tree
        self.module = module
        self.source = source
        self.scopes = Scopes(source.tree)
        self.uses: dict[Bound, list[tuple[ast.Name, Scope]]] = {}
        self._murky: dict[Bound, ast.Name] = {}
        for name, scope in self.scopes.names:
            owner = scope.lookup(name.id)
            if owner is None:
                continue
            self.uses.setdefault((owner, name.id), []).append((name, scope))
            if owner.kind == "class" and owner.parent is not None and isinstance(name.ctx, ast.Load):
                # A class reads a name from outside for as long as it has not bound it itself.
                outer = owner.parent.lookup(name.id, nested=True)
                if outer is not None:
                    self._murky[outer, name.id] = name
        self.judge = Judge(
            self.scopes, tree.definitions, test=_is_test(module.path), canonical=frozenset(self._canonical())
        )

    def _bound(self) -> Iterator[tuple[Scope, str, list[ast.AST], list[ast.alias]]]:
        for scope in self.scopes.all:
            for name, nodes in scope.bindings.items():
                aliases = [node for node in nodes if isinstance(node, ast.alias)]
                if aliases:
                    yield scope, name, nodes, aliases

    def target(self, alias: ast.alias) -> Target:
        """What an import binds."""
        statement = self.scopes.parents[alias]
        if isinstance(statement, ast.ImportFrom):
            each = Import(
                statement.module or "", alias.name, alias.asname or alias.name, statement.level, 0, alias.lineno, 0
            )
        else:
            bound = alias.asname or alias.name.partition(".")[0]
            each = Import(alias.name, "", bound, 0, 0, alias.lineno, 0)
        return self.tree.resolver.imported(self.module, each)

    def _canonical(self) -> Iterator[ast.AST]:
        """The functions in which a canonical symbol is used already."""
        succession = self.tree.succession
        for scope, name, _, aliases in self._bound():
            targets = [self.target(alias) for alias in aliases]
            if all(succession.is_canonical(each) and succession.of(each) is None for each in targets):
                for use, _ in self.uses.get((scope, name), ()):
                    function = outermost(self.scopes, use)
                    if function is not None:
                        yield function

    def changes(self) -> Iterator[Change]:
        """The changes of names that are imported; those of modules are found by `Chains`."""
        for scope, name, nodes, aliases in self._bound():
            targets = [self.target(alias) for alias in aliases]
            successors = [self.tree.succession.of(target) for target in targets]
            first = next((each for each in successors if each is not None), None)
            if first is None:
                continue
            change = self.begin(aliases[0], first, targets[successors.index(first)])
            if not self._sole(change, nodes, successors, first):
                continue
            self._binding(change, scope, name, aliases, first)
            yield change

    def stars(self) -> Iterator[Change]:
        """Names that come by `import *`, which says nothing of them that could be changed."""
        for use, scope in self.scopes.names if self.module.stars else ():
            if scope.lookup(use.id) is not None:
                continue
            target = self.tree.resolver.attribute(self.module, use.id)
            successor = self.tree.succession.of(target)
            if successor is not None:
                change = self.begin(use, successor, target)
                change.refuse(use, "star_import", f"{use.id} comes by `import *`")
                yield change

    def begin(self, node: ast.AST, successor: Successor, target: Target) -> Change:
        """A change of a binding, with how its name was resolved."""
        change = Change(path=self.module.path, line=getattr(node, "lineno", 1), symbol=successor.old)
        hops = " → ".join(f"{hop.name} ({hop.path}:{hop.line})" for hop in target.hops)
        change.proof = f"{hops or target.name}; now {successor.symbol.name}"
        for hop in target.hops:
            if hop.path not in self.tree.succession.definitions and hop.path != self.module.path:
                change.through.add((hop.path, hop.name.rpartition(".")[2]))
        return change

    def _sole(self, change: Change, nodes: list[ast.AST], successors: list[Successor | None], first: Successor) -> bool:
        """Whether all that binds the name is the old symbol, or stands in for it where it is not there."""
        others = [node for node in nodes if not isinstance(node, ast.alias) and not self._stands_in(node)]
        if others or any(each is None or each.symbol.name != first.symbol.name for each in successors):
            node = others[0] if others else nodes[0]
            change.refuse(node, "ambiguous_binding", "the name is bound to another thing too")
        return True

    def _stands_in(self, node: ast.AST) -> bool:
        """`X = None` where the import of X failed."""
        parent = self.scopes.parents.get(node)
        if not isinstance(parent, ast.Assign | ast.AnnAssign) or not isinstance(node, ast.Name):
            return False
        value = parent.value
        return (
            isinstance(value, ast.Constant)
            and value.value is None
            and any(isinstance(above, ast.ExceptHandler | ast.Try | ast.If) for above in self.scopes.above(parent))
        )

    def _binding(self, change: Change, scope: Scope, name: str, aliases: list[ast.alias], found: Successor) -> None:
        kept_name = all(alias.asname is not None and alias.asname != alias.name for alias in aliases)
        public = scope is self.scopes.root and self._public(name, aliases)
        change.facade = public
        new = name if kept_name or public else found.name
        if (scope, name) in self._murky:
            change.refuse(self._murky[scope, name], "ambiguous_binding", "the class has a name of its own like it")
        if new != name and any(name in each.globals | each.nonlocals for each in self.scopes.all):
            change.refuse(aliases[0], "ambiguous_binding", "a `global` or `nonlocal` statement names it")
        if scope.kind == "class":
            change.refuse(aliases[0], "ambiguous_binding", "the class has it as an attribute, by whoever uses that")
        if public and not found.same:
            change.refuse(aliases[0], "public_name", f"{name} is public, and outside callers build it the old way")
        if scope is self.scopes.root:
            change.binds = (self.module.path, name)
        if not self._free(change, scope, name, new, found):
            return
        for alias in aliases:
            self._move(change, alias, found, new)
        self._uses(change, scope, name, new, found)

    def _public(self, name: str, aliases: list[ast.alias]) -> bool:
        exported = self.module.head.exported
        if exported is not None:
            return name in exported
        if "__all__" in self.scopes.root.bindings or any(alias.asname == alias.name for alias in aliases):
            return True
        # What a package imports without a word of what is public, others take from it.
        return self.module.package and not name.startswith("_")

    def _free(self, change: Change, scope: Scope, name: str, new: str, found: Successor) -> bool:
        """Whether the new name means the new symbol wherever the old name is used."""
        if new == name:
            return True
        for user in (scope, *(user for _, user in self.uses.get((scope, name), ()))):
            for each in user.between(scope):
                nodes = each.bindings.get(new, ())
                declared = new in each.globals | each.nonlocals
                if declared or not all(self._is_new(node, found) for node in nodes):
                    change.refuse(nodes[0] if nodes else None, "capture", f"{new} already means something else here")
                    return False
        # A name that means something from further out, and would mean this from now on.
        outer = scope.lookup(new)
        if outer is not None and outer is not scope:
            nodes = outer.bindings[new]
            if not all(self._is_new(node, found) for node in nodes):
                change.refuse(nodes[0], "capture", f"{new} already means something else here")
                return False
        if outer is None and any(use.id == new for use, _ in self.scopes.names) and self.module.stars:
            change.refuse(None, "capture", f"{new} may come by a star import")
            return False
        return True

    def _is_new(self, node: ast.AST, found: Successor) -> bool:
        return isinstance(node, ast.alias) and self.target(node).name == found.symbol.name

    def _move(self, change: Change, alias: ast.alias, found: Successor, new: str) -> None:
        statement = self.scopes.parents[alias]
        if not isinstance(statement, ast.ImportFrom):
            change.refuse(alias, "import_shape", "the name is imported as a module")
            return
        asname = None if new == found.name else new
        change.moves.append(Move(statement, alias, self.module_for(statement, found), found.name, asname))

    def module_for(self, statement: ast.ImportFrom, found: Successor, below: str = "") -> str:
        """The module of the new symbol as a file writes it that imports like this statement: relative where it was."""
        absolute = self.tree.resolver.index.absolute(self.module, statement.level, statement.module or "") or ""
        if below:
            absolute += f".{below}"
        name = self.tree.importable(found.symbol, absolute)
        if not statement.level:
            return name
        base = self.module.base.split(".")
        base = base[: len(base) - statement.level + 1]
        if name.split(".")[: len(base)] == base and len(name.split(".")) > len(base):
            return "." * statement.level + ".".join(name.split(".")[len(base) :])
        return name

    def _uses(self, change: Change, scope: Scope, name: str, new: str, found: Successor) -> None:
        for use, user in self.uses.get((scope, name), ()):
            if isinstance(use.ctx, ast.Load):
                self.use(change, use, user, new, found)
            elif self._stands_in(use):
                self.rename(change, use, new)
            else:
                change.refuse(use, "ambiguous_binding", "the name is bound to another thing too")
        for text, user in [*self.scopes.strings, *self._type_strings()]:
            if user.lookup(name) is scope:
                self._annotation(change, text, name, new)
        for call, _ in self.scopes.calls:
            if word(call.func) not in ("globals", "locals", "vars", "eval", "exec") or new == name:
                continue
            around = self.scopes.parents[call]
            if any(isinstance(each, ast.Constant) and name in str(each.value) for each in ast.walk(around)):
                change.refuse(call, "dynamic_use", f"{name} is looked up by its name")

    def use(self, change: Change, node: ast.expr, scope: Scope, new: str, found: Successor) -> None:
        """Notes what becomes of one use, or why the binding stays."""
        try:
            call = self.judge.constructs(node, found)
            if call is not None:
                self._construct(change, call, scope, found)
        except Unmappable as left:
            hints = candidates(scope, left.missing) if left.missing else ()
            change.refuse(node, left.code, left.message, hints)
            return
        if isinstance(node, ast.Name):
            self.rename(change, node, new, kind="call" if call else "name")
        if call is not None and found.call.to:
            end = self.source.span(node)[1]
            change.edit([Piece(end, end, f".{found.call.to}")], node.lineno, "call")
            change.mutations.append(lambda: _through_factory(call, found.call.to))

    def _construct(self, change: Change, call: ast.Call, scope: Scope, found: Successor) -> None:
        made = mapped(self.source, call, found)
        for name, text in found.call.defaults.items():
            free = {each.id for each in ast.walk(ast.parse(text, mode="eval")) if isinstance(each, ast.Name)}
            lost = sorted(each for each in free if scope.lookup(each) is None)
            if lost and any(each.arg == name for each in made.keywords) and name not in {k.arg for k in call.keywords}:
                raise Unmappable("missing_argument", f"{name} would be {text}, and {lost[0]} is not in scope", name)
        change.edit(made.pieces, call.lineno, "call")

        def change_arguments() -> None:
            call.args, call.keywords = made.args, made.keywords

        change.mutations.append(change_arguments)

    def rename(self, change: Change, node: ast.Name, new: str, *, kind: str = "name") -> None:
        """Notes that a name is another one now."""
        start, end = self.source.span(node)
        if self.source.data[start:end] != node.id.encode(self.source.encoding):
            change.refuse(node, "dynamic_use", "this Python does not tell where in a string the name stands")
        elif new != node.id:
            change.edit([Piece(start, end, new)], node.lineno, kind)

            def change_name() -> None:
                node.id = new

            change.mutations.append(change_name)

    def _type_strings(self) -> Iterator[tuple[ast.Constant, Scope]]:
        """Strings that name a type outside of annotations: `cast("X", …)`, `TypeVar(bound="X")`."""
        for call, scope in self.scopes.calls:
            found = [each.value for each in call.keywords if each.arg == "bound"]
            if word(call.func) == "cast":
                found += call.args[:1]
            for value in found:
                for each in ast.walk(value):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each, scope

    def _annotation(self, change: Change, node: ast.Constant, name: str, new: str) -> None:
        """The names in an annotation that is written as a string."""
        value = str(node.value)
        try:
            inner = ast.parse(value, mode="eval")
        except (SyntaxError, ValueError):
            return
        found = sorted(
            (each for each in ast.walk(inner) if isinstance(each, ast.Name) and each.id == name),
            key=lambda each: each.col_offset,
        )
        if not found or new == name:
            return
        start, end = self.source.span(node)
        written = self.source.text(start, end)
        quote = next((mark for mark in ('"""', "'''", '"', "'") if written == mark + value + mark), "")
        if not quote or not value.isascii() or "\n" in value:
            change.refuse(node, "dynamic_use", "an annotation in a string that is not plain has the name")
            return
        begin = start + len(quote)
        spans = [(each.col_offset, each.col_offset + len(name)) for each in found]
        change.edit([Piece(begin + left, begin + right, new) for left, right in spans], node.lineno, "annotation")

        def change_text() -> None:
            # Another change may have had its part of the same string.
            node.value = re.sub(rf"(?<![\w.]){name}\b", new, str(node.value))

        change.mutations.append(change_text)


def _through_factory(call: ast.Call, factory: str) -> None:
    call.func = ast.Attribute(value=call.func, attr=factory, ctx=ast.Load())


def _is_test(path: str) -> bool:
    *folders, name = path.split("/")
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py" or "tests" in folders


def place_of(target: Target) -> Place | None:
    """Where a name of a module is that leads elsewhere: the first hop of a target."""
    if target.kind is not Kind.SYMBOL or not target.hops:
        return None
    first = target.hops[0]
    return first.path, first.name.rpartition(".")[2]
