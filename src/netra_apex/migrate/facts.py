"""Facts: what the audit knows of one file, a pure function of its bytes, small enough to keep for ten thousand files.

A file's facts are two byte strings, `head` and `body`, so that a reader decodes only what it needs: the head says what
the module binds and imports, the body what its classes, functions and shared state are. Lines count from 1, columns
from 0 in characters, as an editor's do less one.
"""

import marshal
from typing import Any, NamedTuple


class Guard:
    """What stands around an import, and so when and whether it is carried out: bits of a plain number.

    No IntFlag: half a million of them are tested in a large tree, and each would be made anew.
    """

    NONE = 0
    TYPING = 1  # under `if TYPE_CHECKING:`
    TRY = 2  # in a `try` that catches a failed import, or under `suppress(ImportError)`
    HANDLER = 4  # in the `except` of such a `try`: the twin of what stands in its body
    FUNCTION = 8  # carried out when the function is called
    CLASS = 16
    BRANCH = 32  # under any other `if`


class Import(NamedTuple):
    """One name of an import statement; `name` is empty for `import a.b`, and `*` for a star."""

    module: str
    name: str
    bound: str  # the name that it binds, empty for a star
    level: int
    guard: int
    line: int
    column: int


class Binding(NamedTuple):
    """A name that a module binds: by `i`mport, `c`lass, `f`unction, `v`alue, or as an `a`lias of a dotted name."""

    name: str
    kind: str
    line: int
    column: int
    value: Any  # of `i` the place in the imports, of `a` the dotted name, of `v` "None" where it is None


class Function(NamedTuple):
    """A function of a module or class; `signature` is as `signatures.Signature.read` takes it."""

    name: str
    line: int
    column: int
    traits: str  # of "async", "static", "class", "property", "abstract", "overload", "stub": their first letters
    signature: str


class Attribute(NamedTuple):
    """A value that belongs to a class; `mutable` says what kind of shared state it is, or is empty."""

    name: str
    line: int
    column: int
    mutable: str


class Class(NamedTuple):
    """A class with its bases as they are written; `local` where it stands in a function."""

    name: str
    line: int
    column: int
    bases: tuple[str, ...]
    methods: tuple[Function, ...]
    attributes: tuple[Attribute, ...]
    decorators: tuple[str, ...]
    local: bool


class Mutable(NamedTuple):
    """A module's value that can be changed in place."""

    name: str
    kind: str
    line: int
    column: int


class Mutation(NamedTuple):
    """A change of a module's or class's value from within a function; `target` is a dotted name of the module."""

    target: str
    how: str
    function: str
    line: int
    column: int


class Suppression(NamedTuple):
    """A comment `# ssot: ignore[D001] reason`; `applies` is the line that it is about."""

    line: int
    applies: int
    rules: tuple[str, ...]
    reason: str


class Fault(NamedTuple):
    """Why a file could not be parsed."""

    reason: str
    line: int
    column: int


class Head(NamedTuple):
    """What the resolver needs of a module."""

    imports: tuple[Import, ...]
    bindings: tuple[Binding, ...]
    exported: tuple[str, ...] | None  # `__all__`, or None where there is none or it is not plain
    dynamic: bool  # it answers for names that it does not bind: `__getattr__`, `globals()`
    fault: Fault | None
    approximate: bool  # the file does not parse: its imports were found line by line
    suppressions: tuple[Suppression, ...]


class Body(NamedTuple):
    """What the rules need besides."""

    classes: tuple[Class, ...]
    functions: tuple[Function, ...]
    mutables: tuple[Mutable, ...]
    mutations: tuple[Mutation, ...]
    strings: tuple[str, ...]  # that could be dotted names


def encode(head: tuple[Any, ...], body: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """Plain tuples in the order of `Head` and `Body`, as bytes."""
    return marshal.dumps(head), marshal.dumps(body)


def head_of(data: bytes) -> Head:
    """What `encode` made of a head."""
    imports, bindings, exported, dynamic, fault, approximate, comments = marshal.loads(data)  # noqa: S302 - our own cache, checked by digest
    return Head(
        tuple(map(Import._make, imports)),
        tuple(map(Binding._make, bindings)),
        exported,
        dynamic,
        None if fault is None else Fault._make(fault),
        approximate,
        tuple(map(Suppression._make, comments)),
    )


def body_of(data: bytes) -> Body:
    """What `encode` made of a body."""
    classes, functions, mutables, mutations, strings = marshal.loads(data)  # noqa: S302 - as above
    return Body(
        tuple(map(_class, classes)),
        tuple(map(Function._make, functions)),
        tuple(map(Mutable._make, mutables)),
        tuple(map(Mutation._make, mutations)),
        strings,
    )


class Shared(NamedTuple):
    """What a file's functions may change, and do; the attributes are those of classes that can be changed in place."""

    mutables: tuple[Mutable, ...]
    attributes: tuple[tuple[str, Attribute], ...]  # with the class's name
    mutations: tuple[Mutation, ...]


def shared_of(data: bytes) -> Shared:
    """Of what `encode` made of a body, the state alone: classes and signatures are most of a body."""
    classes, _, mutables, mutations, _ = marshal.loads(data)  # noqa: S302 - as above
    return Shared(
        tuple(map(Mutable._make, mutables)),
        tuple((row[0], Attribute._make(each)) for row in classes if not row[7] for each in row[5] if each[3]),
        tuple(map(Mutation._make, mutations)),
    )


def _class(row: tuple[Any, ...]) -> Class:
    name, line, column, bases, methods, attributes, decorators, local = row
    return Class(
        name,
        line,
        column,
        bases,
        tuple(map(Function._make, methods)),
        tuple(map(Attribute._make, attributes)),
        decorators,
        local,
    )
