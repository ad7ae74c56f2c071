"""A call of the old made a call of the new: arguments keep their place and their order, and only their names change.

That keeps the layout, and the order in which arguments are evaluated.
"""

import ast
import io
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature

from netra_apex.migrate.succession import Successor
from netra_apex.migrate.text import Text

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Unmappable(Exception):
    """Why a call is left; `code` is of REASONS, `missing` the parameter that the call would need."""

    def __init__(self, code: str, message: str, missing: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the old call; `name` is what it is called in the new one, empty where it stays positional."""

    value: ast.expr
    name: str
    dropped: bool
    was_keyword: bool
    renamed: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `end` become `after`."""

    start: int
    end: int
    after: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """What becomes of a call: the pieces of text, and the arguments of its tree."""

    pieces: tuple[Piece, ...]
    args: list[ast.expr]
    keywords: list[ast.keyword]


def mapped(source: Text, call: ast.Call, successor: Successor) -> Mapped:
    """The new form of a call's arguments.

    Raises:
        Unmappable: the call does not bind to the old, cannot be proven to bind to the new, or lacks an argument.
    """
    starred = any(isinstance(each, ast.Starred) for each in call.args) or any(not each.arg for each in call.keywords)
    if successor.same and (starred or successor.before is None or successor.before.outside):
        return Mapped((), call.args, call.keywords)
    if starred:
        raise Unmappable("dynamic_arguments", "the call passes * or **, so nobody can say what binds to what")
    if successor.before is None or successor.after is None or successor.before.outside or successor.after.outside:
        which = "old" if successor.before is None or successor.before.outside else "new"
        raise Unmappable("unknown_signature", f"what a call of the {which} one takes is not known from the tree")
    if successor.after.trouble:
        raise Unmappable("not_bound", f"{successor.symbol.name}: {successor.after.trouble}")
    arguments = _arguments(call, successor, successor.before.signature, successor.after.signature)
    added = _added(arguments, successor, successor.after.signature)
    _prove(arguments, added, successor)
    pieces = _pieces(source, call, arguments, added) if _changes(arguments) or added else ()
    kept = [each for each in arguments if not each.dropped]
    return Mapped(
        pieces,
        [each.value for each in kept if not each.name],
        [ast.keyword(arg=each.name, value=each.value) for each in kept if each.name]
        + [ast.keyword(arg=name, value=ast.parse(text, mode="eval").body) for name, text in added],
    )


def _changes(arguments: Sequence[Argument]) -> bool:
    return any(each.dropped or each.renamed or (each.name and not each.was_keyword) for each in arguments)


def _arguments(call: ast.Call, successor: Successor, before: Signature, after: Signature) -> list[Argument]:
    try:
        before.bind(*call.args, **{each.arg: each.value for each in call.keywords if each.arg})
    except TypeError as error:
        raise Unmappable("invalid_call", f"the call does not bind to {successor.old}: {error}") from error
    positional = [each.name for each in before.parameters.values() if each.kind in _POSITIONAL]
    if len(call.args) > len(positional):
        raise Unmappable("not_bound", "the call has positional arguments that the old one takes as *args")
    new_order = [each.name for each in after.parameters.values() if each.kind in _POSITIONAL]
    found: list[Argument] = []
    kept, in_order = 0, True
    for old, value in zip(positional, call.args, strict=False):
        new = successor.call.rename.get(old, old)
        if old in successor.call.drop:
            found.append(_dropped(old, value, was_keyword=False))
            continue
        in_order = in_order and kept < len(new_order) and new_order[kept] == new
        kept += 1
        found.append(Argument(value, "" if in_order else new, dropped=False, was_keyword=False, renamed=False))
    for each in call.keywords:
        assert each.arg is not None
        new = successor.call.rename.get(each.arg, each.arg)
        if each.arg in successor.call.drop:
            found.append(_dropped(each.arg, each.value, was_keyword=True))
        else:
            found.append(Argument(each.value, new, dropped=False, was_keyword=True, renamed=new != each.arg))
    return found


def _dropped(name: str, value: ast.expr, *, was_keyword: bool) -> Argument:
    plain = ast.Name | ast.Constant | ast.Attribute | ast.Load | ast.UnaryOp | ast.USub
    if not all(isinstance(each, plain) for each in ast.walk(value)):
        raise Unmappable("not_bound", f"{name} is dropped, but to compute it may do something: {ast.unparse(value)}")
    return Argument(value, name, dropped=True, was_keyword=was_keyword, renamed=False)


def _added(arguments: Sequence[Argument], successor: Successor, after: Signature) -> list[tuple[str, str]]:
    """(parameter, expression) of what the configuration adds to a call that lacks it."""
    order = [each.name for each in after.parameters.values() if each.kind in _POSITIONAL]
    kept = [each for each in arguments if not each.dropped]
    given = {each.name for each in kept if each.name} | set(order[: sum(not each.name for each in kept)])
    needed = {
        each.name
        for each in after.parameters.values()
        if each.default is Parameter.empty and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    } | set(successor.call.required)
    found: list[tuple[str, str]] = []
    for name in [*after.parameters, *sorted(needed - set(after.parameters))]:
        if name in given:
            continue
        if name in successor.call.defaults and name not in successor.call.required:
            found.append((name, successor.call.defaults[name]))
        elif name in needed:
            target = f"{successor.symbol.name}{'.' + successor.call.to if successor.call.to else ''}"
            raise Unmappable("missing_argument", f"{target} needs {name}, which the call does not have", missing=name)
    return found


def _prove(arguments: Sequence[Argument], added: Sequence[tuple[str, str]], successor: Successor) -> None:
    assert successor.after is not None
    kept = [each for each in arguments if not each.dropped]
    names = [each.name for each in kept if each.name] + [name for name, _ in added]
    if len(set(names)) != len(names):
        raise Unmappable("not_bound", f"two arguments of the call become one of {successor.symbol.name}")
    try:
        successor.after.signature.bind(*[each.value for each in kept if not each.name], **dict.fromkeys(names))
    except TypeError as error:
        raise Unmappable("not_bound", f"the call would not bind to {successor.symbol.name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Segment:
    start: int
    end: int


def _pieces(
    source: Text, call: ast.Call, arguments: Sequence[Argument], added: Sequence[tuple[str, str]]
) -> tuple[Piece, ...]:
    inside, segments, comma, comments = _segments(source, call)
    if len(segments) != len(arguments):
        raise Unmappable("call_shape", "the text of the call cannot be taken apart")
    found: list[Piece] = []
    for segment, argument in zip(segments, arguments, strict=True):
        if argument.dropped:
            continue
        if not argument.was_keyword and argument.name:
            found.append(Piece(segment.start, segment.start, f"{argument.name}="))
        elif argument.renamed:
            written = source.text(segment.start, segment.end)
            length = next((place for place, char in enumerate(written) if not _of_name(char)), len(written))
            end = segment.start + len(written[:length].encode(source.encoding))
            found.append(Piece(segment.start, end, argument.name))
    for start, end in _removed(segments, [argument.dropped for argument in arguments], comma):
        if any(start <= comment < max(end, source.line_at(end)[1]) for comment in comments):
            raise Unmappable("call_shape", "an argument that is dropped has a comment")
        found.append(Piece(start, end, ""))
    if added:
        found.append(_appended(source, inside, segments, arguments, added))
    return tuple(sorted(found, key=lambda piece: (piece.start, piece.end)))


def _of_name(char: str) -> bool:
    return char.isidentifier() or char.isdecimal()


def _appended(
    source: Text,
    inside: int,
    segments: Sequence[_Segment],
    arguments: Sequence[Argument],
    added: Sequence[tuple[str, str]],
) -> Piece:
    """What is added stands behind the last argument that is kept, on a line of its own where that one is."""
    kept = [number for number, argument in enumerate(arguments) if not argument.dropped]
    if not kept:
        return Piece(inside, inside, ", ".join(f"{name}={text}" for name, text in added))
    last = kept[-1]
    begin = segments[last - 1].end if last else inside
    space = source.text(begin, segments[last].start).lstrip().removeprefix(",")
    between = source.text(begin, segments[last].start)
    space = between.partition(",")[2] if last else between
    if space.strip() or not space:
        space = " "
    return Piece(segments[last].end, segments[last].end, "".join(f",{space}{name}={text}" for name, text in added))


def _removed(segments: Sequence[_Segment], dropped: Sequence[bool], comma: int | None) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(segments):
        if not dropped[place]:
            place += 1
            continue
        last = place
        while last + 1 < len(segments) and dropped[last + 1]:
            last += 1
        if last + 1 < len(segments):
            found.append((segments[place].start, segments[last + 1].start))
        elif place:
            found.append((segments[place - 1].end, segments[last].end))
        else:
            found.append((segments[0].start, segments[last].end if comma is None else comma))
        place = last + 1
    return found


def _segments(source: Text, call: ast.Call) -> tuple[int, list[_Segment], int | None, list[int]]:
    """Where the call's text begins inside its parentheses, its arguments, its last comma's end, and its comments."""
    begin, end = source.span(call.func)[1], source.span(call)[1]
    # The tokenizer knows no lines that end with a lone carriage return; a line feed is as long.
    text = re.sub("\r(?!\n)", "\n", source.text(begin, end))
    starts = [0]
    for line in io.StringIO(text, newline=""):
        starts.append(starts[-1] + len(line))
    if not text.lstrip().startswith("("):
        raise Unmappable("call_shape", "the text of the call cannot be taken apart")

    def place(at: tuple[int, int]) -> int:
        return begin + len(text[: starts[at[0] - 1] + at[1]].encode(source.encoding))

    found: list[_Segment] = []
    depth, first, last, comma, inside = 0, -1, -1, None, begin
    comments: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
            if token.type == tokenize.COMMENT:
                comments.append(place(token.start))
            if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
                continue
            closing = token.type == tokenize.OP and token.string in ")]}"
            depth -= closing
            if (closing and depth == 0) or (token.type == tokenize.OP and token.string == "," and depth == 1):
                if first >= 0:
                    found.append(_Segment(first, last))
                comma, first = (place(token.end) if token.string == "," else comma if first < 0 else None), -1
                if closing:
                    break
                continue
            if depth >= 1 and first < 0:
                first = place(token.start)
            last = place(token.end)
            depth += token.type == tokenize.OP and token.string in "([{"
            if depth == 1 and inside == begin and token.string == "(":
                inside, first = place(token.end), -1
    except (tokenize.TokenError, IndentationError) as error:
        raise Unmappable("call_shape", f"the text of the call cannot be taken apart: {error}") from error
    return inside, found, comma, comments
