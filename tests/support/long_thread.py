"""A thread that has gone on for years, written into a server's database: nobody waits for ten thousand answers."""

import contextlib
import sqlite3
from pathlib import Path

QUESTION = "Question {number}: what did we decide about the {number}th order?"
ANSWER = """Answer {number}. We looked at it **twice**:

- first by its *number*,
- then by `order_{number}`.

| part | count |
| --- | ---: |
| bolts | {number} |
"""
BEGUN_MS = 1_700_000_000_000


def add_long_thread(home: Path, user: str, messages: int, thread_id: str = "thr_long") -> str:
    """Adds a thread of so many messages, each second one an answer, beside whatever server there is; its id."""
    turns = range(1, messages // 2 + 1)
    at = [BEGUN_MS + number * 1000 for number in turns]
    runs = [
        (user, f"run_{number}", thread_id, number, f"msg_{number}_0", "assistant", "completed", now, now, 1, 1)
        for number, now in zip(turns, at, strict=True)
    ]
    said = [
        (user, f"run_{number}", ordinal, f"msg_{number}_{ordinal}", thread_id, number, role, text, now)
        for number, now in zip(turns, at, strict=True)
        for ordinal, role, text in (
            (0, "user", QUESTION.format(number=number)),
            (1, "assistant", ANSWER.format(number=number)),
        )
    ]
    with contextlib.closing(sqlite3.connect(home / "netra.db", timeout=10)) as connection, connection:
        connection.execute(
            "insert into threads (user_id, thread_id, title, created_at, updated_at) values (?, ?, ?, ?, ?)",
            (user, thread_id, "Ten years of orders", at[0], at[-1]),
        )
        connection.executemany(
            "insert into runs (user_id, run_id, thread_id, position, message_id, agent, status, created_at, ended_at,"
            " last_seq, pruned) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            runs,
        )
        connection.executemany(
            "insert into messages (user_id, run_id, ordinal, message_id, thread_id, position, role, content,"
            " created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            said,
        )
    return thread_id
