"""The edits of a file, proven: the new bytes parse to the old tree with what was meant done to it."""

import ast
from collections.abc import Sequence

from netra_apex.migrate.changes import Change
from netra_apex.migrate.constructing import Unmappable
from netra_apex.migrate.edits import Edit, FileEdits, digest
from netra_apex.migrate.importing import Move, move_in_tree, moved_imports
from netra_apex.migrate.rewriting import Rewriter
from netra_apex.migrate.text import Text, parsed


class Unproven(Exception):
    """Why a file stays as it is; `code` is of REASONS."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def proven(file: Rewriter, changes: Sequence[Change]) -> FileEdits:
    """All edits of a file.

    Raises:
        Unproven: an import cannot be split, the encoding lacks a character, or the new bytes mean another thing.
    """
    source = file.source
    edits = _edits(source, changes)
    try:
        after = _applied(source, edits)
        for change in changes:
            for mutate in change.mutations:
                mutate()
        for statement, moves in _moves(changes).items():
            move_in_tree(file.scopes.parents, statement, moves)
        same = ast.dump(source.tree) == ast.dump(parsed(after))
    except SyntaxError as error:
        raise Unproven("unproven", f"the file would not be Python: {error}") from error
    except UnicodeEncodeError as error:
        raise Unproven("unencodable", f"{error.object!r} cannot be written in {source.encoding}") from error
    if not same:
        raise Unproven("unproven", "the file would mean another thing than what was meant")
    return FileEdits(
        path=source.path,
        encoding=source.encoding,
        before_sha=digest(source.data),
        after_sha=digest(after),
        edits=edits,
    )


def _moves(changes: Sequence[Change]) -> dict[ast.ImportFrom, list[Move]]:
    found: dict[ast.ImportFrom, list[Move]] = {}
    for change in changes:
        for move in change.moves:
            found.setdefault(move.statement, []).append(move)
    return found


def _edits(source: Text, changes: Sequence[Change]) -> tuple[Edit, ...]:
    proofs = {move: change.proof for change in changes for move in change.moves}
    found = [(piece, line, kind, proof) for change in changes for piece, line, kind, proof in change.pieces]
    for statement, moves in _moves(changes).items():
        try:
            pieces = moved_imports(source, statement, moves)
        except Unmappable as error:
            raise Unproven(error.code, error.message) from error
        found += [(piece, statement.lineno, "import", proofs[moves[0]]) for piece in pieces]
    edits = {
        Edit(
            start=piece.start,
            end=piece.end,
            line=line,
            before=source.text(piece.start, piece.end),
            after=piece.after,
            kind=kind,
            proof=proof,
        )
        for piece, line, kind, proof in found
    }
    return tuple(sorted((edit for edit in edits if edit.before != edit.after), key=lambda edit: (edit.start, edit.end)))


def _applied(source: Text, edits: Sequence[Edit]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        if edit.start < at:
            raise Unproven("unproven", f"two edits of line {edit.line} overlap")
        parts += (source.data[at : edit.start], edit.after.encode(source.encoding))
        at = edit.end
    return b"".join((*parts, source.data[at:]))
