"""What goes wrong with a migration as a whole; what goes wrong with one file is an outcome in the journal."""

from netra_apex.errors import ConfigurationError, NetraError


class MigrationError(NetraError):
    """The root of what `netra migrate` refuses or cannot do."""


class PlanUnreadable(MigrationError, ConfigurationError):
    """A file that is not a plan, or one whose bytes were changed by hand."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the plan cannot be read: {self.reason}"


class TreeLocked(MigrationError):
    """Another process runs, resumes or rolls back on this tree."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"another netra migrate is at work on {self.root}; wait for it, or stop it"


class RunUnfinished(MigrationError):
    """The last run has not ended, so no other one may begin."""

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return (
            f"run {self.run_id} has not ended: "
            "`netra migrate resume` goes on with it, `netra migrate rollback` takes it back"
        )


class NoRun(MigrationError):
    """There is nothing to resume, to report or to roll back; `what` says which."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


class WorkTreeDirty(MigrationError):
    """Files that are to change have changes that are not committed."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__(paths)
        self.paths = paths

    def __str__(self) -> str:
        shown = ", ".join(self.paths[:5]) + (f" and {len(self.paths) - 5} more" if len(self.paths) > 5 else "")
        return f"these files have changes that are not committed: {shown}; commit them, or say --allow-dirty"


class GitFailed(MigrationError):
    """A git command failed; `output` is what it said."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(command, output)
        self.command = command
        self.output = output

    def __str__(self) -> str:
        return f"`{self.command}` failed: {self.output}"


class CommandMissing(MigrationError, ConfigurationError):
    """A validation command that cannot be started."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(command, reason)
        self.command = command
        self.reason = reason

    def __str__(self) -> str:
        return f"the validation command `{self.command}` cannot be started: {self.reason}"


class Conflict(MigrationError):
    """A file is not what it was when it was planned or written: it is never overwritten."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
