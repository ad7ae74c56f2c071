"""One walk over the statements of a file, which finds its facts. Expressions are looked at only where a fact may be.

This is where the time of a cold audit goes, beside the parser: so the records are plain tuples here, in the order of
`facts`, and types are told apart by a table.
"""

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from netra_apex.migrate.comments import suppressions
from netra_apex.migrate.facts import Guard, encode
from netra_apex.migrate.shapes import Walked, dotted, exported_names, mutable_kind, signature, traits
from netra_apex.migrate.unparsed import imported_lines

_STRING = re.compile(rb"""["']([A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+)["']""")
_DYNAMIC = (b"globals()", b"sys.modules[", b"exec(", b"vars()[", b"locals()[", b"__path__")
_CATCHING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "AttributeError"})
_MUTATORS_WORDS = """
    add append appendleft clear discard extend insert pop popitem popleft remove setdefault update
"""
_MUTATORS = frozenset(_MUTATORS_WORDS.split())
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTION, _CLASS, _TYPING = Guard.FUNCTION, Guard.CLASS, Guard.TYPING
_TRY, _HANDLER, _BRANCH = Guard.TRY, Guard.HANDLER, Guard.BRANCH


def facts(source: bytes) -> tuple[bytes, bytes]:
    """Head and body of a file, encoded; a file that does not parse has what its import lines say, and why."""
    fault: tuple[str, int, int]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        fault = (error.msg, error.lineno or 1, max((error.offset or 1) - 1, 0))
    except (ValueError, RecursionError, MemoryError) as error:
        fault = (f"{type(error).__name__}: {error}".rstrip(": "), 1, 0)
    else:
        return _Walk(source).facts(tree)
    imports, bindings = imported_lines(source)
    head = (imports, bindings, None, True, fault, True, suppressions(source))
    return encode(head, ((), (), (), (), ()))


class _Walk:
    """The state of one walk: where it is, and what it has found."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._column: Callable[[Any], int] = _plain_column if source.isascii() else Walked(source).column
        self.imports: list[tuple[Any, ...]] = []
        self.bindings: list[tuple[Any, ...]] = []
        self.classes: list[tuple[Any, ...]] = []
        self.functions: list[tuple[Any, ...]] = []
        self.mutables: list[tuple[Any, ...]] = []
        # Of functions, with what they seem to change: what of it is theirs alone is known at the end.
        self.changed: list[tuple[Any, str, str, str, Any]] = []
        self.exported: list[str] | None = None
        self.plain = True  # whether `__all__` is nothing but texts
        self._within: list[str] = []
        self._functions: list[Any] = []
        self._class: _ClassBody | None = None
        both: dict[type, Callable[[Any, int], None]] = {
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class_def,
            ast.If: self._if,
            ast.For: self._loop,
            ast.AsyncFor: self._loop,
            ast.While: self._loop,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Match: self._match,
        }
        self._outside: dict[type, Callable[[Any, int], None]] = {
            **both,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._extended,
        }
        if hasattr(ast, "TypeAlias"):
            self._outside[getattr(ast, "TypeAlias")] = self._type_alias  # noqa: B009 - of a later Python
        self._inside: dict[type, Callable[[Any, int], None]] = {
            **both,
            ast.Global: self._global,
            ast.Expr: self._value,
            ast.Return: self._value,
            ast.Assign: self._inner_assign,
            ast.AnnAssign: self._inner_assign,
            ast.AugAssign: self._inner_assign,
            ast.Delete: self._inner_assign,
        }

    def facts(self, tree: ast.Module) -> tuple[bytes, bytes]:
        """Everything, once the whole tree was walked."""
        self._block(tree.body, 0)
        names = {row[0] for row in self.bindings if row[1] != "f"}
        dynamic = any(row[0] == "__getattr__" for row in self.bindings) or any(
            mark in self._source for mark in _DYNAMIC
        )
        exported = tuple(self.exported) if self.exported is not None and self.plain else None
        comments = suppressions(self._source)
        head = (tuple(self.imports), tuple(self.bindings), exported, dynamic, None, False, comments)
        strings = tuple(sorted({each.decode("ascii", "replace") for each in _STRING.findall(self._source)}))
        body = (
            tuple(self.classes),
            tuple(self.functions),
            tuple(self.mutables),
            self._mutations(names),
            strings,
        )
        # The tables hold this walk's own methods: let go of them, as no collector looks for such circles here.
        self._outside.clear()
        self._inside.clear()
        return encode(head, body)

    def _block(self, body: Sequence[ast.stmt], guard: int) -> None:
        table: dict[type, Callable[[Any, int], None]] = self._inside if guard & _FUNCTION else self._outside
        for statement in body:
            visit = table.get(type(statement))
            if visit is not None:
                visit(statement, guard)

    def _bind(self, name: str, kind: str, node: Any, value: Any = None) -> None:
        if not self._within:
            self.bindings.append((name, kind, node.lineno, self._column(node), value))

    def _import(self, node: ast.Import, guard: int) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self._bind(bound, "i", alias, len(self.imports))
            self.imports.append((alias.name, "", bound, 0, guard, alias.lineno, self._column(alias)))

    def _import_from(self, node: ast.ImportFrom, guard: int) -> None:
        module, level = node.module or "", node.level
        for alias in node.names:
            bound = "" if alias.name == "*" else alias.asname or alias.name
            if bound:
                self._bind(bound, "i", alias, len(self.imports))
            self.imports.append((module, alias.name, bound, level, guard, alias.lineno, self._column(alias)))

    def _function(self, node: Any, guard: int) -> None:
        self._bind(node.name, "f", node)
        if not guard & _FUNCTION:
            row = (node.name, node.lineno, self._column(node), traits(node), signature(node.args))
            if self._class is not None:
                self._class.methods.append(row)
            elif not self._within:
                self.functions.append(row)
        self._within.append(node.name)
        self._functions.append(node)
        self._block(node.body, guard | _FUNCTION)
        self._functions.pop()
        self._within.pop()

    def _class_def(self, node: ast.ClassDef, guard: int) -> None:
        self._bind(node.name, "c", node)
        outer, self._class = self._class, _ClassBody(".".join((*self._within, node.name)))
        self._within.append(node.name)
        local = bool(guard & _FUNCTION)
        self._block(node.body, (guard | _CLASS) & ~_FUNCTION)
        self._within.pop()
        own, self._class = self._class, outer
        bases = tuple([dotted(base) for base in node.bases])
        decorators = tuple([dotted(each) for each in node.decorator_list])
        place = (node.lineno, self._column(node))
        attributes = tuple([row for row in own.attributes if row[0] not in own.of_instances])
        self.classes.append((own.name, *place, bases, tuple(own.methods), attributes, decorators, local))

    def _if(self, node: ast.If, guard: int) -> None:
        while True:
            typing = _is_typing(node.test)
            self._block(node.body, guard | (_TYPING if typing else _BRANCH))
            rest = node.orelse
            if len(rest) != 1 or type(rest[0]) is not ast.If:
                break
            node = rest[0]
        # The other side of TYPE_CHECKING is what runs.
        self._block(rest, guard if typing else guard | _BRANCH)

    def _loop(self, node: Any, guard: int) -> None:
        if not guard & _FUNCTION and hasattr(node, "target"):
            self._targets((node.target,), None)
        self._block(node.body, guard)
        self._block(node.orelse, guard)

    def _with(self, node: Any, guard: int) -> None:
        for item in node.items:
            if item.optional_vars is not None and not guard & _FUNCTION:
                self._targets((item.optional_vars,), None)
            call = item.context_expr
            if type(call) is ast.Call and dotted(call.func).rpartition(".")[2] == "suppress":
                guard |= _TRY
        self._block(node.body, guard)

    def _try(self, node: Any, guard: int) -> None:
        catches = any(_catches(handler.type) for handler in node.handlers)
        self._block(node.body, guard | _TRY if catches else guard)
        for handler in node.handlers:
            self._block(handler.body, guard | _HANDLER if catches else guard)
        self._block(node.orelse, guard | _TRY if catches else guard)
        self._block(node.finalbody, guard)

    def _match(self, node: ast.Match, guard: int) -> None:
        for case in node.cases:
            self._block(case.body, guard | _BRANCH)

    def _assign(self, node: ast.Assign, guard: int) -> None:
        self._targets(node.targets, node.value)

    def _annotated(self, node: ast.AnnAssign, guard: int) -> None:
        self._targets((node.target,), node.value)

    def _type_alias(self, node: Any, guard: int) -> None:
        self._targets((node.name,), node.value)

    def _extended(self, node: ast.AugAssign, guard: int) -> None:
        if type(node.target) is ast.Name and node.target.id == "__all__":
            self._all(node.value)

    def _targets(self, targets: Sequence[ast.expr], value: ast.expr | None) -> None:
        for target in targets:
            kind = type(target)
            if kind is ast.Name:
                self._name(target, value)
            elif kind is ast.Tuple or kind is ast.List:
                self._targets(target.elts, None)  # type: ignore[attr-defined]
            elif kind is ast.Starred:
                self._targets((target.value,), None)  # type: ignore[attr-defined]

    def _name(self, target: Any, value: ast.expr | None) -> None:
        name: str = target.id
        mutable = mutable_kind(value)
        if self._class is not None:
            self._class.attributes.append((name, target.lineno, self._column(target), mutable))
            return
        if self._within:
            return
        if name == "__all__" and value is not None:
            self.exported = None
            self._all(value)
        same = dotted(value) if type(value) in (ast.Name, ast.Attribute) else ""
        if same:
            self._bind(name, "a", target, same)
        else:
            self._bind(name, "v", target, "None" if type(value) is ast.Constant and value.value is None else None)
        if mutable and not name.startswith("__"):
            self.mutables.append((name, mutable, target.lineno, self._column(target)))

    def _all(self, value: ast.expr) -> None:
        names = exported_names(value)
        self.plain = self.plain and names is not None
        self.exported = [*(self.exported or ()), *(names or ())]

    def _global(self, node: ast.Global, guard: int) -> None:
        for name in node.names:
            self.changed.append((None, name, "global", ".".join(self._within), node))

    def _value(self, node: Any, guard: int) -> None:
        call = node.value
        if type(call) is ast.Await:
            call = call.value
        if type(call) is ast.Call and type(call.func) is ast.Attribute and call.func.attr in _MUTATORS:
            self._change(call.func.value, f".{call.func.attr}()", node)

    def _inner_assign(self, node: Any, guard: int) -> None:
        for target in getattr(node, "targets", None) or (node.target,):
            kind = target.__class__
            if kind is ast.Subscript:
                self._change(target.value, "del [...]" if type(node) is ast.Delete else "[...] =", node)
            elif kind is ast.Attribute:
                if type(target.value) is ast.Name and target.value.id == "self":
                    if self._class is not None:
                        self._class.of_instances.add(target.attr)
                else:
                    self._change(target, "=", node)
        if getattr(node, "value", None) is not None:
            self._value(node, guard)

    def _change(self, target: ast.expr, how: str, node: ast.stmt) -> None:
        name = dotted(target)
        if not name:
            return
        first, _, rest = name.partition(".")
        if first in ("self", "cls") and self._class is not None:
            name = f"{self._class.name}.{rest}"
        self.changed.append((tuple(self._functions), name, how, ".".join(self._within), node))

    def _mutations(self, names: set[str]) -> tuple[tuple[Any, ...], ...]:
        """The changes of what belongs to the module, those of a function's own names left out."""
        found: list[tuple[Any, ...]] = []
        known: dict[Any, frozenset[str]] = {}
        for functions, target, how, within, node in self.changed:
            first = target.partition(".")[0]
            if first not in names and how != "global":
                continue
            if functions is not None and any(first in _locals(function, known) for function in functions):
                continue
            found.append((target, how, within, node.lineno, self._column(node)))
        return tuple(found)


class _ClassBody:
    """A class while its body is walked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.methods: list[tuple[Any, ...]] = []
        self.attributes: list[tuple[Any, ...]] = []
        self.of_instances: set[str] = set()  # what methods set on `self`, which is not shared


def _plain_column(node: Any) -> int:
    return node.col_offset


def _is_typing(test: ast.expr) -> bool:
    return dotted(test).rpartition(".")[2] == "TYPE_CHECKING"


def _catches(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    each = caught.elts if type(caught) is ast.Tuple else (caught,)
    return any(dotted(name).rpartition(".")[2] in _CATCHING for name in each)


def _locals(function: Any, known: dict[Any, frozenset[str]]) -> frozenset[str]:
    """The names that a function has for itself."""
    if function not in known:
        arguments = function.args
        own = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        own |= {each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None}
        shared: set[str] = set()
        _stored(function.body, own, shared)
        known[function] = frozenset(own - shared)
    return known[function]


def _stored(body: Sequence[Any], own: set[str], shared: set[str]) -> None:
    """What statements bind, those in the functions among them left out."""
    for node in body:
        kind = node.__class__
        if kind is ast.Expr or kind is ast.Return:
            continue
        if kind is ast.Assign:
            for target in node.targets:
                _bound(target, own)
        elif kind is ast.Global:
            shared.update(node.names)
        elif kind is ast.Import or kind is ast.ImportFrom:
            own.update(each.asname or each.name.partition(".")[0] for each in node.names)
        elif kind in _DEFINITIONS:
            own.add(node.name)
        else:
            for target in (getattr(node, "target", None), *(each.optional_vars for each in getattr(node, "items", ()))):
                _bound(target, own)
            for part in ("body", "orelse", "finalbody"):
                _stored(getattr(node, part, ()), own, shared)
            for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                own.add(getattr(part, "name", None) or "")
                _stored(part.body, own, shared)


def _bound(target: Any, own: set[str]) -> None:
    kind = target.__class__
    if kind is ast.Name:
        own.add(target.id)
    elif kind is ast.Tuple or kind is ast.List:
        for each in target.elts:
            _bound(each, own)
    elif kind is ast.Starred:
        _bound(target.value, own)
