"""What becomes of one binding of a file: all of its edits, or the reasons why it stays as it is."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from netra_apex.migrate.constructing import Piece
from netra_apex.migrate.edits import Refusal
from netra_apex.migrate.importing import Move

Place = tuple[str, str]  # (path of a module, name that it binds)


@dataclass(eq=False, slots=True)
class Change:
    """A binding with every use of it. It is refused as a whole where one of its uses is.

    `binds` is the module's name that comes to mean something else, for whoever takes it from there; `through` are such
    names of other modules that lead this one to the old symbol, `needs` those that have to change with it.
    """

    path: str
    line: int
    symbol: str
    facade: bool = False
    binds: Place | None = None
    through: set[Place] = field(default_factory=set[Place])
    needs: set[Place] = field(default_factory=set[Place])
    pieces: list[tuple[Piece, int, str, str]] = field(default_factory=list[tuple[Piece, int, str, str]])
    moves: list[Move] = field(default_factory=list[Move])
    mutations: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    proof: str = ""

    @property
    def refused(self) -> bool:
        """Whether it stays as it is."""
        return bool(self.refusals)

    def edit(self, pieces: Sequence[Piece], line: int, kind: str) -> None:
        """Notes edits of one place."""
        self.pieces += [(piece, line, kind, self.proof) for piece in pieces]

    def refuse(self, node: ast.AST | None, code: str, message: str, candidates: tuple[str, ...] = ()) -> None:
        """Notes why it stays as it is."""
        line = getattr(node, "lineno", self.line)
        column = getattr(node, "col_offset", 0) + 1
        refusal = Refusal(
            path=self.path,
            line=line,
            column=column,
            code=code,
            symbol=self.symbol,
            message=message,
            candidates=candidates,
        )
        if refusal not in self.refusals:
            self.refusals.append(refusal)
