"""Where in an application's source it can happen: the line that a finding points at."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

_CHANGERS = frozenset(
    {"append", "add", "update", "setdefault", "extend", "insert", "put", "put_nowait", "appendleft", "set", "push"}
)


class Line(NamedTuple):
    """A line of a file."""

    path: str
    line: int


def where_kept(module: ModuleType, name: str, attribute: str | None) -> Line | None:
    """The line of the module that changes this global, or this attribute of anything; else the one that makes it."""
    path, tree = _source(module)
    if path is None or tree is None:
        return None
    changes = sorted(node.lineno for node in _changes(tree, name, attribute))
    made = [node.lineno for node in tree.body for target in _targets(node) if _is_name(target, name)]
    lines = changes or made
    return Line(path, lines[0]) if lines else None


def where_of(function: Callable[..., Any]) -> Line | None:
    """The line of a function that uses a global that can change; else its first."""
    plain = inspect.unwrap(function)
    if not isinstance(plain, FunctionType):
        return None
    path, first = plain.__code__.co_filename, plain.__code__.co_firstlineno
    shared = {name for name in plain.__code__.co_names if _can_change(plain.__globals__.get(name))}
    module = inspect.getmodule(plain)
    _, tree = _source(module) if module is not None else (None, None)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == plain.__name__:
            uses = [each.lineno for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in shared]
            if uses:
                return Line(path, min(uses))
    return Line(path, first)


def _can_change(value: object) -> bool:
    return value is not None and not isinstance(
        value, str | bytes | int | float | tuple | frozenset | type | FunctionType | ModuleType
    )


def _source(module: ModuleType) -> tuple[str | None, ast.Module | None]:
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_file():
        return None, None
    try:
        return file, ast.parse(Path(file).read_bytes())
    except (SyntaxError, ValueError):
        return file, None


def _changes(tree: ast.Module, name: str, attribute: str | None) -> Iterator[ast.expr | ast.stmt]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    for function in functions:
        if function.name == "__init__":
            continue  # there it is made, and nobody's yet
        rebinds = any(name in node.names for node in ast.walk(function) if isinstance(node, ast.Global))
        for node in ast.walk(function):
            for target in _targets(node):
                if (rebinds and _is_name(target, name)) or _reaches(target, name, attribute):
                    yield cast("ast.stmt", node)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGERS:
                held = node.func.value
                if _is_name(held, name) or _reaches(held, name, attribute):
                    yield node


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        pairs = (target.elts if isinstance(target, ast.Tuple) else [target] for target in node.targets)
        return [each for pair in pairs for each in pair]
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _reaches(node: ast.expr, name: str, attribute: str | None) -> bool:
    """Whether it is a part of the global, or the attribute on whatever."""
    if isinstance(node, ast.Attribute) and attribute is not None and node.attr == attribute:
        return True
    part = node
    while isinstance(part, ast.Attribute | ast.Subscript):
        part = part.value
        if isinstance(part, ast.Attribute) and attribute is not None and part.attr == attribute:
            return True
        if _is_name(part, name):
            return True
    return False
