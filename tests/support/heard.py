"""`Heard`: keeps what a model told while it answered."""


class Heard:
    """Deltas in the order in which they came: `("text", piece)`, `("thinking", piece)`, `("reset", "")`."""

    def __init__(self, *, pace: float = 0.0) -> None:
        self.pace = pace
        self.log: list[tuple[str, str]] = []

    def text(self, piece: str) -> None:
        self.log.append(("text", piece))

    def thinking(self, piece: str) -> None:
        self.log.append(("thinking", piece))

    def reset(self) -> None:
        self.log.append(("reset", ""))

    def shown(self) -> str:
        """The text that a user sees in the end: what came after the last reset."""
        shown = ""
        for kind, piece in self.log:
            shown = "" if kind == "reset" else shown + (piece if kind == "text" else "")
        return shown

    def resets(self) -> int:
        return sum(1 for kind, _ in self.log if kind == "reset")
