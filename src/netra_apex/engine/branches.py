"""Where in a run a step stands, also when an agent does several things at once: the keys of its journal."""

import asyncio
import contextvars
import itertools
from weakref import WeakKeyDictionary

from netra_apex.core.journal import Journal, StepKind


class _Branch:
    """The steps of one task: numbered as they come. A task that was started from it is a branch of its own."""

    __slots__ = ("_forks", "_steps", "_taken", "_way", "tree")

    def __init__(self, tree: "Branches", way: str) -> None:
        self.tree = tree
        self._way = way
        self._steps = itertools.count(1)
        self._forks = itertools.count(1)
        self._taken: set[int] = set()

    def step(self) -> str:
        return f"{self._way}{next(self._steps)}"

    def fork(self, journal: Journal, kind: StepKind, name: str, digest: str) -> "_Branch":
        """The branch of a task that comes to its first step, which is this one."""
        number = journal.fork_of(self._way, kind, name, digest)
        if number is None and kind in ("step", "think"):
            # One whose first step left nothing: another task had taken that named step, or it failed.
            number = min(journal.forks(self._way, headless=True) - self._taken, default=None)
        if number is None:
            # Not one that the journal holds for a task that is still to come: which of them is first may differ.
            held = journal.forks(self._way)
            number = next(each for each in self._forks if each not in self._taken and each not in held)
        self._taken.add(number)
        return _Branch(self.tree, f"{self._way}f{number}.")


_here: "contextvars.ContextVar[_Branch | None]" = contextvars.ContextVar("netra_branch", default=None)


class Branches:
    """The keys of one scope's steps: `1`, `2`, … in the task that it was lent to, and `f1.1`, … in tasks of its own.

    Why not one count: of two tasks side by side, which is first may differ from time to time. Each counts for itself.
    Tasks are told apart by the order in which they come to their first step; where that order differs when the run is
    taken up, by what their first steps were. `prefix` is that of a tool call's own scope: the call's key.
    """

    def __init__(self, prefix: str = "", *, journal: Journal | None = None) -> None:
        self._journal = journal or Journal()
        self._root = _Branch(self, prefix)
        self._used = False
        self._of_task: WeakKeyDictionary[asyncio.Task[object], _Branch] = WeakKeyDictionary()

    def adopt(self) -> None:
        """The task that calls is the one that the scope is lent to."""
        task = asyncio.current_task()
        assert task is not None
        self._used = True
        self._of_task[task] = self._root
        _here.set(self._root)

    def step(self, kind: StepKind = "think", name: str = "", digest: str = "") -> str:
        """The key of this step, which begins now, in the task that calls."""
        task = asyncio.current_task()
        assert task is not None
        branch = self._of_task.get(task)
        if branch is None:
            branch = self._new_branch(kind, name, digest)
            self._of_task[task] = branch
            # A task that is started from here inherits it, and so is known for one that branches off.
            _here.set(branch)
        return branch.step()

    def _new_branch(self, kind: StepKind, name: str, digest: str) -> _Branch:
        if not self._used:
            self._used = True
            return self._root
        origin = _here.get()
        origin = origin if origin is not None and origin.tree is self else self._root
        return origin.fork(self._journal, kind, name, digest)
