"""Strings that name what a test replaces: `patch("pkg.consumer.Name")`, `monkeypatch.setattr(consumer, "Name", …)`.

What such a string leads to is resolved over all files. Every other string stays as it is.
"""

import ast
from collections.abc import Iterator, Mapping

from netra_apex.migrate.changes import Change, Place
from netra_apex.migrate.constructing import Piece
from netra_apex.migrate.judging import word
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind, Target
from netra_apex.migrate.rewriting import Rewriter
from netra_apex.migrate.succession import Successor
from netra_apex.migrate.visibility import Scope

_BY_PATH = frozenset(("patch", "setattr", "delattr", "import_string"))
_BY_NAME = frozenset(("object", "setattr", "delattr", "getattr", "hasattr"))


def mentions(file: Rewriter, renamed: Mapping[Place, str]) -> Iterator[Change]:
    """The changes of strings; `renamed` tells what names of modules are to be called, where they move."""
    for call, scope in file.scopes.calls:
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and word(call.func) in _BY_PATH:
            change = _by_path(file, call, first, renamed)
        elif len(call.args) > 1 and word(call.func) in _BY_NAME:
            change = _by_name(file, call, scope, renamed)
        else:
            change = None
        if change is not None:
            yield change
        if word(call.func) == "multiple":
            yield from _by_keywords(file, call, scope, renamed)


def _by_path(file: Rewriter, call: ast.Call, node: ast.Constant, renamed: Mapping[Place, str]) -> Change | None:
    value = str(node.value)
    parts = value.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return None
    found = _owner(file, parts)
    if found is None:
        return None
    module, length, target, successor = found
    change = file.begin(node, successor, target)
    name, rest = parts[length], parts[length + 1 :]
    place = (module.path, name)
    if module.path in file.tree.succession.definitions and place not in renamed:
        new = [*file.tree.importable(successor.symbol, ".".join(parts[:length])).split("."), successor.name]
    elif place in renamed:
        change.needs.add(place)
        new = [*parts[:length], renamed[place]]
    else:
        return None
    change.through.discard(place)
    _replaced(change, call, successor, rest, file)
    _edit(file, change, node, ".".join((*new, *rest)))
    return change


def _owner(file: Rewriter, parts: list[str]) -> tuple[Module, int, Target, Successor] | None:
    """The module that a path leads into, how long its name is, and what its attribute is."""
    for length in range(len(parts) - 1, 0, -1):
        module = file.tree.resolver.index.find(file.tree.resolver.index.plain(".".join(parts[:length])))
        if module is not None:
            target = file.tree.resolver.attribute(module, parts[length])
            successor = file.tree.succession.of(target)
            return None if successor is None else (module, length, target, successor)
    return None


def _by_name(file: Rewriter, call: ast.Call, scope: Scope, renamed: Mapping[Place, str]) -> Change | None:
    node = call.args[1]
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return None
    module = module_of(file, call.args[0], scope)
    if module is None or (module.path, node.value) not in renamed:
        return None
    target = file.tree.resolver.attribute(module, node.value)
    successor = file.tree.succession.of(target)
    if successor is None:
        return None
    change = file.begin(node, successor, target)
    change.needs.add((module.path, node.value))
    if word(call.func) in ("object", "setattr"):
        _replaced(change, call, successor, [], file)
    _edit(file, change, node, renamed[module.path, node.value])
    return change


def _by_keywords(file: Rewriter, call: ast.Call, scope: Scope, renamed: Mapping[Place, str]) -> Iterator[Change]:
    """`patch.multiple(consumer, Name=…)`: a keyword is no place where a name could be proven to stand for another."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant):
        module = file.tree.resolver.index.find(file.tree.resolver.index.plain(str(first.value)))
    else:
        module = module_of(file, first, scope) if first is not None else None
    for each in call.keywords:
        if module is None or each.arg is None or (module.path, each.arg) not in renamed:
            continue
        target = file.tree.resolver.attribute(module, each.arg)
        successor = file.tree.succession.of(target)
        if successor is not None:
            change = file.begin(call, successor, target)
            change.refuse(call, "dynamic_use", f"{each.arg} is the name of a keyword here")
            yield change


def module_of(file: Rewriter, node: ast.expr, scope: Scope) -> Module | None:
    """The module of the tree that an expression is, as far as its name was imported."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    owner = scope.lookup(node.id)
    nodes = owner.bindings[node.id] if owner is not None else []
    if not nodes or not all(isinstance(each, ast.alias) for each in nodes):
        return None
    target = file.tree.resolver.chain(file.target(nodes[0]), parts) if isinstance(nodes[0], ast.alias) else None
    return target.module if target is not None and target.kind is Kind.MODULE else None


def _replaced(change: Change, call: ast.Call, successor: Successor, rest: list[str], file: Rewriter) -> None:
    """Refuses where the test says what the class's constructor gives, and the new one is constructed otherwise."""
    if rest:
        members = file.tree.definitions.members(successor.symbol)
        if rest[0].startswith("__") or members is None or rest[0] not in members:
            change.refuse(call, "patched_object", f"{successor.symbol.name} is not known to have {rest[0]}")
        return
    if not successor.call.to:
        return
    parent = file.scopes.parents[call]
    alone = len(call.args) + len(call.keywords) == 1
    if not (alone and isinstance(parent, ast.withitem) and parent.optional_vars is None):
        why = f"what is put in place of the class is to have {successor.call.to}, which is called now"
        change.refuse(call, "patched_object", why)


def _edit(file: Rewriter, change: Change, node: ast.Constant, new: str) -> None:
    start, end = file.source.span(node)
    value = str(node.value)
    quote = next((mark for mark in ('"', "'") if file.source.text(start, end) == mark + value + mark), "")
    if not quote:
        change.refuse(node, "dynamic_use", "the string is not plain")
    elif new != value:
        change.edit([Piece(start + 1, end - 1, new)], node.lineno, "string")

        def change_text() -> None:
            node.value = new

        change.mutations.append(change_text)
