"""What single expressions of a tree say: dotted names, signatures, lists of names, values that can be changed."""

import ast
from typing import Any

from netra_apex.migrate.source import encoding_of

_MAKERS = {
    "list": "list", "dict": "dict", "set": "set", "bytearray": "bytearray", "defaultdict": "dict",
    "OrderedDict": "dict", "Counter": "dict", "deque": "deque", "WeakValueDictionary": "dict",
    "WeakKeyDictionary": "dict", "WeakSet": "set", "ChainMap": "dict",
}  # fmt: skip
MAKERS = tuple(_MAKERS.items())
_TRAITS = (
    ("staticmethod", "s"),
    ("classmethod", "c"),
    ("property", "p"),
    ("cached_property", "p"),
    ("setter", "p"),
    ("abstractmethod", "b"),
    ("abstractproperty", "b"),
    ("overload", "o"),
)


def dotted(node: Any) -> str:
    """`a.b.c` of names and attributes, also of what is called or subscripted at the end; empty for all else."""
    parts: list[str] = []
    while True:
        kind = node.__class__
        if kind is ast.Attribute:
            parts.append(node.attr)
            node = node.value
        elif kind is ast.Name:
            parts.append(node.id)
            break
        elif not parts and kind is ast.Subscript:
            node = node.value
        elif not parts and kind is ast.Call:
            node = node.func
        else:
            return ""
    if len(parts) == 1:
        return parts[0]
    parts.reverse()
    return ".".join(parts)


def mutable_kind(value: Any) -> str:
    """What kind of value that can be changed in place an expression makes, or nothing."""
    kind = value.__class__
    if kind is ast.Dict or kind is ast.DictComp:
        return "dict"
    if kind is ast.List or kind is ast.ListComp:
        return "list"
    if kind is ast.Set or kind is ast.SetComp:
        return "set"
    if kind is ast.Call:
        name = dotted(value.func).rpartition(".")[2]
        for maker, made in MAKERS:
            if maker == name:
                return made
    return ""


def exported_names(value: ast.expr) -> list[str] | None:
    """The texts of an `__all__`, or None where it is made in another way."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = exported_names(value.left), exported_names(value.right)
        return None if left is None or right is None else left + right
    if not isinstance(value, ast.List | ast.Tuple | ast.Set):
        return None
    names = [each.value for each in value.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return names if len(names) == len(value.elts) else None


def signature(arguments: ast.arguments) -> str:
    """A signature without annotations and defaults: `self,a,b=,/,c,*,d=,**kw`."""
    positional = arguments.posonlyargs + arguments.args if arguments.posonlyargs else arguments.args
    names = [each.arg for each in positional]
    if arguments.defaults:
        for place in range(len(names) - len(arguments.defaults), len(names)):
            names[place] += "="
    if arguments.posonlyargs:
        names.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg is not None:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        names.append(each.arg if default is None else f"{each.arg}=")
    if arguments.kwarg is not None:
        names.append(f"**{arguments.kwarg.arg}")
    return ",".join(names)


def traits(node: Any) -> str:
    """The letters of `facts.Function.traits`."""
    found = "a" if type(node) is ast.AsyncFunctionDef else ""
    for decorator in node.decorator_list:
        name = dotted(decorator).rpartition(".")[2]
        for known, letter in _TRAITS:
            if name == known:
                found += letter
    return found


class Walked:
    """Columns in characters of a file that is not all ASCII: the parser's are in bytes of UTF-8."""

    def __init__(self, source: bytes) -> None:
        self._lines: list[bytes] = _text_of(source).encode("utf-8", "surrogatepass").split(b"\n")

    def column(self, node: Any) -> int:
        """The column of a node."""
        number: int = node.lineno
        line = self._lines[number - 1] if number <= len(self._lines) else b""
        return len(line[: node.col_offset].decode("utf-8", "replace"))


def _text_of(source: bytes) -> str:
    """A file's text with the line ends that the parser counts by."""
    try:
        text = source.decode(encoding_of(source), "replace")
    except (SyntaxError, LookupError):
        text = source.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
