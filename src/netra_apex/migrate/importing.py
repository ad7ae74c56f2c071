"""Import statements whose names move: renamed in place where the whole statement moves, else split in two."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from netra_apex.migrate.constructing import Piece, Unmappable
from netra_apex.migrate.text import Text

_FROM = re.compile(r"from(?P<space>\s*)(?P<module>(?:\.+[ \t]*)?[\w.]*)\s*import\b")


@dataclass(frozen=True, slots=True)
class Move:
    """One name of a `from` import that comes from elsewhere now; `module` is as it is written, with its dots."""

    statement: ast.ImportFrom
    alias: ast.alias
    module: str
    name: str
    asname: str | None

    @property
    def written(self) -> str:
        """The name as it stands in a statement."""
        return self.name if self.asname is None else f"{self.name} as {self.asname}"


def module_text(statement: ast.ImportFrom) -> str:
    """The module of a `from` import as it is written."""
    return "." * statement.level + (statement.module or "")


def moved_imports(source: Text, statement: ast.ImportFrom, moves: Sequence[Move]) -> list[Piece]:
    """The edits of one statement.

    Raises:
        Unmappable: it cannot be split without moving a comment or other code.
    """
    here = {module_text(statement)}
    away = [move for move in moves if move.module not in here]
    kept = len(statement.names) - len(away)
    inside = [move for move in moves if move.module in here]
    pieces = [_renamed(source, move) for move in inside]
    if not away:
        return pieces
    modules = sorted({move.module for move in away})
    if not kept and len(modules) == 1:
        return [_module(source, statement, modules[0]), *(_renamed(source, move) for move in away)]
    if kept and inside:
        raise Unmappable("import_shape", "names of the statement go several ways")
    return _split(source, statement, away, modules)


def _renamed(source: Text, move: Move) -> Piece:
    return Piece(*source.span(move.alias), move.written)


def _module(source: Text, statement: ast.ImportFrom, module: str) -> Piece:
    start, end = source.span(statement)
    found = _FROM.match(source.text(start, end))
    if found is None:
        raise Unmappable("import_shape", "the module of the import cannot be found in its text")
    text = source.text(start, end)
    begin = start + len(text[: found.start("module")].encode(source.encoding))
    space = "" if found["space"] else " "
    return Piece(begin, begin + len(found["module"].encode(source.encoding)), f"{space}{module}")


def _split(source: Text, statement: ast.ImportFrom, away: Sequence[Move], modules: Sequence[str]) -> list[Piece]:
    start, end = source.span(statement)
    line_start = source.line_at(start)[0]
    line_end = source.line_at(end)[1]
    indent, behind = source.text(line_start, start), source.text(end, line_end)
    if indent.strip(" \t\f") or (behind.strip() and not behind.strip().startswith("#")):
        raise Unmappable("import_shape", "other code stands on the line of the import")
    new = [
        f"from {module} import {', '.join(move.written for move in away if move.module == module)}"
        for module in modules
    ]
    lines = "".join(f"{source.newline}{indent}{line}" for line in new)
    text = source.text(start, end)
    gone = {move.alias for move in away}
    kept = [alias for alias in statement.names if alias not in gone]
    several = "\n" in text or "\r" in text
    if not kept:
        if several or "#" in text:
            raise Unmappable("import_shape", "names of the statement go several ways")
        return [Piece(start, end, f"{source.newline}{indent}".join(new))]
    if not several:
        first, last = source.span(statement.names[0])[0], source.span(statement.names[-1])[1]
        names = ", ".join(source.text(*source.span(alias)) for alias in kept)
        return [Piece(first, last, names), Piece(line_end, line_end, lines)]
    return [*(_line(source, move.alias) for move in away), Piece(line_end, line_end, lines)]


def _line(source: Text, alias: ast.alias) -> Piece:
    """The whole line of a name that stands alone on it, with its comma."""
    start, end = source.span(alias)
    line_start, line_end = source.line_at(start)[0], source.line_at(end)[1]
    if source.text(line_start, start).strip() or source.text(end, line_end).strip() not in (",", ""):
        raise Unmappable("import_shape", "the name does not stand alone on its line, or has a comment")
    after = line_end + (2 if source.data[line_end : line_end + 2] == b"\r\n" else 1)
    return Piece(line_start, after, "")


def move_in_tree(tree_parents: dict[ast.AST, ast.AST], statement: ast.ImportFrom, moves: Sequence[Move]) -> None:
    """Does to the tree what `moved_imports` does to the text."""
    here = module_text(statement)
    away = [move for move in moves if move.module != here]
    for move in moves:
        if move.module == here or len(away) == len(statement.names):
            move.alias.name, move.alias.asname = move.name, move.asname
    modules = sorted({move.module for move in away})
    if not away:
        return
    if len(away) == len(statement.names) and len(modules) == 1:
        statement.level, statement.module = _level(modules[0])
        return
    new: list[ast.stmt] = []
    for module in modules:
        level, name = _level(module)
        names = [ast.alias(name=move.name, asname=move.asname) for move in away if move.module == module]
        new.append(ast.ImportFrom(module=name, names=names, level=level))
    gone = {move.alias for move in away}
    kept = [alias for alias in statement.names if alias not in gone]
    body = _body_of(tree_parents[statement], statement)
    place = body.index(statement)
    if kept:
        statement.names = kept
        body[place + 1 : place + 1] = new
    else:
        body[place : place + 1] = new


def _level(module: str) -> tuple[int, str | None]:
    name = module.lstrip(".")
    return len(module) - len(name), name or None


def _body_of(parent: ast.AST, statement: ast.stmt) -> list[ast.stmt]:
    for _, value in ast.iter_fields(parent):
        if isinstance(value, list) and statement in value:
            return cast("list[ast.stmt]", value)
    raise AssertionError(parent)
