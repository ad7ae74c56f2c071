"""Copying the write-ahead log back into the database file beside the writing, and not in the middle of it."""

import contextlib
import queue
import sqlite3
import threading

COPY = "pragma wal_checkpoint(passive)"  # takes no lock that a reader or a writer waits for


class Checkpointer:
    """A thread that copies what has been committed back into the file, on a connection of its own.

    Why: SQLite has the connection whose commit finds the log too long copy it all, and every run of the process waits
    for that, up to some hundred milliseconds. A passive checkpoint stands in nobody's way; when the writer's own turn
    comes there is little left for it to copy. `Database` closes the connection after `close`.
    """

    def __init__(self, connection: sqlite3.Connection, *, every: int) -> None:
        self._connection = connection
        self._every = every
        self._commits = 0
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._copy_forever, name="netra-checkpoint", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """Counts a commit; each `every`th one has the log copied."""
        self._commits += 1
        if self._commits >= self._every and self._asked.empty():
            self._commits = 0
            self._asked.put(COPY)

    def close(self) -> None:
        """Ends the thread, once it has finished."""
        self._asked.put(None)
        self._thread.join()

    def _copy_forever(self) -> None:
        while (statement := self._asked.get()) is not None:
            # One that fails, for a full disk, is made up for by the next, or by the writer, whose error is told.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute(statement)
