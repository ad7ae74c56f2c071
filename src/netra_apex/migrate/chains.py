"""Deprecated symbols that are reached through a module: `import pkg.old`, then `pkg.old.Engine`."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netra_apex.migrate.changes import Change, Place
from netra_apex.migrate.constructing import Piece
from netra_apex.migrate.importing import Move
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind, Target
from netra_apex.migrate.rewriting import Rewriter
from netra_apex.migrate.succession import Successor
from netra_apex.migrate.visibility import Scope


@dataclass(frozen=True, slots=True)
class Chain:
    """One use through a module: the whole expression, the module that it is read from, and what it leads to."""

    root: ast.Name
    scope: Scope
    top: ast.Attribute
    parts: tuple[str, ...]  # as written, the symbol last
    module: Module
    target: Target
    successor: Successor


def chains(file: Rewriter) -> Iterator[Change]:
    """The changes of modules that define what is deprecated: the import goes to the new module, with every use."""
    definitions = file.tree.succession.definitions
    for (scope, name), found in _by_binding(file).items():
        mine = [chain for chain in found if chain.module.path in definitions]
        if not mine:
            continue
        first = mine[0]
        change = file.begin(first.top, first.successor, first.target)
        aliases = [node for node in scope.bindings[name] if isinstance(node, ast.alias)]
        if len(aliases) != len(scope.bindings[name]) or len({chain.successor.symbol.name for chain in mine}) > 1:
            change.refuse(first.top, "ambiguous_binding", f"{name} stands for several things")
        else:
            _moved(file, change, aliases, name, mine)
        yield change


def attributes(file: Rewriter, renamed: Mapping[Place, str]) -> Iterator[Change]:
    """The changes of uses through a module that takes the symbol from elsewhere: `consumer.Engine`."""
    definitions = file.tree.succession.definitions
    for found in _by_binding(file).values():
        for chain in found:
            if chain.module.path in definitions:
                continue
            place = (chain.module.path, chain.parts[-1])
            change = file.begin(chain.top, chain.successor, chain.target)
            if place in renamed:
                change.needs.add(place)
                _use(file, change, chain, (*chain.parts[:-1], renamed[place]))
            else:
                change.refuse(chain.top, "coupled", f"{place[1]} of {place[0]} stays as it is")
            yield change


def _by_binding(file: Rewriter) -> dict[tuple[Scope, str], list[Chain]]:
    found: dict[tuple[Scope, str], list[Chain]] = {}
    for (scope, name), uses in file.uses.items():
        alias = next((node for node in scope.bindings[name] if isinstance(node, ast.alias)), None)
        if alias is None:
            continue
        start = file.target(alias)
        if start.kind is not Kind.MODULE:
            continue
        for use, user in uses:
            chain = _chain(file, start, use, user)
            if chain is not None:
                found.setdefault((scope, name), []).append(chain)
    return found


def _chain(file: Rewriter, start: Target, use: ast.Name, scope: Scope) -> Chain | None:
    node: ast.expr = use
    parts = [use.id]
    at = start
    while isinstance(parent := file.scopes.parents[node], ast.Attribute) and at.module is not None:
        if at.kind is not Kind.MODULE:
            return None
        module = at.module
        node, at = parent, file.tree.resolver.chain(at, [parent.attr])
        parts.append(parent.attr)
        successor = file.tree.succession.of(at)
        if successor is not None:
            return Chain(use, scope, parent, tuple(parts), module, at, successor)
    return None


def _moved(file: Rewriter, change: Change, aliases: list[ast.alias], name: str, mine: list[Chain]) -> None:
    found = mine[0].successor
    used = {chain.root for chain in mine}
    others = [use for use, _ in file.uses[_owner(file, mine[0]), name] if use not in used]
    for alias in aliases:
        statement = file.scopes.parents[alias]
        if isinstance(statement, ast.ImportFrom):
            _from(file, change, statement, alias, mine, alone=not others)
            continue
        new = file.tree.importable(found.symbol, alias.name)
        if alias.asname is None and ".".join(mine[0].parts[:-1]) != alias.name:
            continue  # `import pkg.other` binds `pkg` too
        if others and alias.asname is not None:
            change.refuse(alias, "import_place", f"{name} is used for other names of {alias.name} too")
            return
        # Where the package's name is used for more, the old import stays beside the new one.
        change.edit([_import(file, alias, new, beside=bool(others))], alias.lineno, "import")
        change.mutations.append(lambda alias=alias, new=new: _import_in_tree(file, alias, new, beside=bool(others)))
        if alias.asname is None and new.partition(".")[0] != name:
            root = new.partition(".")[0]
            if any(each.lookup(root) for _, each in file.uses[_owner(file, mine[0]), name]):
                change.refuse(alias, "capture", f"{root} already means something else here")
        prefix = (name,) if alias.asname is not None else tuple(new.split("."))
        for chain in mine:
            _use(file, change, chain, (*prefix, found.name))


def _owner(file: Rewriter, chain: Chain) -> Scope:
    owner = chain.scope.lookup(chain.root.id)
    assert owner is not None
    return owner


def _from(
    file: Rewriter, change: Change, statement: ast.ImportFrom, alias: ast.alias, mine: list[Chain], *, alone: bool
) -> None:
    found = mine[0].successor
    module = file.module_for(statement, found, below=alias.name)
    parent, _, last = module.rpartition(".")
    dots = module[: len(module) - len(module.lstrip("."))]
    package = parent if parent.strip(".") else dots
    name = alias.asname or last
    if not alone or not package:
        change.refuse(alias, "import_place", f"{alias.asname or alias.name} is used for other names too")
        return
    if name != (alias.asname or alias.name):
        for chain in mine:
            if chain.scope.lookup(name) is not None:
                change.refuse(chain.top, "capture", f"{name} already means something else here")
                return
    change.moves.append(Move(statement, alias, package, last, alias.asname))
    for chain in mine:
        _use(file, change, chain, (name, found.name))


def _import(file: Rewriter, alias: ast.alias, new: str, *, beside: bool) -> Piece:
    start, end = file.source.span(alias)
    if beside:
        return Piece(end, end, f", {new}")
    return Piece(start, end, new if alias.asname is None else f"{new} as {alias.asname}")


def _import_in_tree(file: Rewriter, alias: ast.alias, new: str, *, beside: bool) -> None:
    statement = file.scopes.parents[alias]
    assert isinstance(statement, ast.Import)
    if beside:
        statement.names.insert(statement.names.index(alias) + 1, ast.alias(name=new, asname=None))
    else:
        alias.name = new


def _use(file: Rewriter, change: Change, chain: Chain, new: tuple[str, ...]) -> None:
    start, end = file.source.span(chain.top)
    if file.source.text(start, end) != ".".join(chain.parts):
        change.refuse(chain.top, "dynamic_use", "the name is not written in one piece")
        return
    file.use(change, chain.top, chain.scope, new[-1], chain.successor)
    if new != chain.parts:
        change.edit([Piece(start, end, ".".join(new))], chain.top.lineno, "name")
        value = ast.parse(".".join(new[:-1]), mode="eval").body

        def change_chain() -> None:
            chain.top.attr, chain.top.value = new[-1], value

        change.mutations.append(change_chain)
