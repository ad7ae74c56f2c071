"""What is written when a run is accepted or begun, and what is read of its thread's past: jobs for the database."""

import hashlib
import sqlite3
from typing import Any

import msgspec

from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.messages import AssistantMessage, ModelMessage, UserMessage
from netra_apex.errors import Busy, IdempotencyConflict, NotFound
from netra_apex.stores.statements import statements

SQL = statements("runs")
TITLE_LENGTH = 80
HISTORY_CHARACTERS = 2 * 1024 * 1024  # of a thread's past, as JSON, that a run is told: no model takes more

_transcript: "msgspec.json.Decoder[list[ModelMessage]]" = msgspec.json.Decoder(list[ModelMessage])


def title_of(content: str) -> str:
    """A thread's title, from the first line of its first message."""
    line = next((line.strip() for line in content.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def digest(post: Post) -> str:
    """A digest of what a post asks for: what must be the same under one idempotency key."""
    said = msgspec.json.encode((post.content, post.agent, post.replace))
    return hashlib.sha256(said).hexdigest()


def accept(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> tuple[Accepted, int]:
    """Thread, message and run; or the answer that was given before. With the run's position in its thread."""
    # Refusals come first: a job that refuses has written nothing.
    before = repeated(connection, post, values)
    if before is not None:
        return before, 1
    position = 1
    if post.thread_id is not None:
        position = _in_thread(connection, post, values)
    else:
        connection.execute(SQL["add_thread"], values)
    row = values | {"position": position}
    connection.execute(SQL["add_run"], row)
    connection.execute(SQL["add_message"], row)
    if post.idempotency_key is not None:
        connection.execute(SQL["remember_key"], values)
    accepted = Accepted(
        thread_id=values["thread_id"], run_id=values["run_id"], message_id=values["message_id"], status="queued"
    )
    return accepted, position


def repeated(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> Accepted | None:
    """The answer that the post's idempotency key had, if it had one. Raises: IdempotencyConflict."""
    if post.idempotency_key is None:
        return None
    before = connection.execute(SQL["repeated"], values).fetchone()
    if before is None:
        return None
    digest, thread_id, run_id, message_id, status = before
    if digest != values["digest"]:
        raise IdempotencyConflict("this idempotency_key came before, with other content")
    return Accepted(thread_id=thread_id, run_id=run_id, message_id=message_id, status=status, repeated=True)


def _in_thread(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> int:
    """The position of a new run in an existing thread, once it is sure that the post may be accepted."""
    if connection.execute(SQL["thread_title"], values).fetchone() is None:
        raise NotFound("thread", values["thread_id"])
    replaced = None
    if post.replace is not None:
        replaced = connection.execute(SQL["position_of"], values | {"message_id": post.replace}).fetchone()
        if replaced is None:
            raise NotFound("message of yours in this thread", post.replace)
    if post.if_busy == "reject" and connection.execute(SQL["busy"], values).fetchone() is not None:
        raise Busy("the thread has a run under way")
    position = int(connection.execute(SQL["next_position"], values).fetchone()[0])
    if replaced is not None:
        connection.execute(SQL["replace_from"], values | {"position": replaced[0]})
    connection.execute(SQL["touch_thread"], values)
    return position


def open_run(connection: sqlite3.Connection, values: dict[str, Any]) -> int:
    """Thread, run and message of a run that no post began, a program's own; its position in the thread."""
    connection.execute(SQL["add_thread"], values)
    if connection.execute(SQL["thread_title"], values).fetchone() is None:
        raise NotFound("thread", values["thread_id"])
    position = int(connection.execute(SQL["next_position"], values).fetchone()[0])
    row = values | {"position": position}
    connection.execute(SQL["add_run"], row)
    connection.execute(SQL["add_message"], row)
    return position


def said_before(connection: sqlite3.Connection, values: dict[str, Any]) -> tuple[ModelMessage, ...] | None:
    """What was said before a run, oldest first; None where the run does not exist.

    A run's transcript where it has one, else its bare messages. No more is read than is wanted: of a thread with long
    tool results that is little.
    """
    position = connection.execute(SQL["position"], values).fetchone()
    if position is None:
        return None
    if position[0] == 1:
        return ()
    limit, size, latest_first = values["limit"], 0, list[ModelMessage]()
    bare: list[ModelMessage] = []  # a run's messages, until it is known whether it has a transcript
    for role, content, body in connection.execute(SQL["said_before"], values | {"position": position[0]}):
        bare.append(UserMessage(content) if role == "user" else AssistantMessage(content))
        if role != "user":
            continue
        # The user's own message is a run's last row here, and brings the transcript.
        latest_first += reversed(_transcript.decode(body)) if body is not None else bare
        bare = []
        size += len(body or content)
        if len(latest_first) >= limit or size > HISTORY_CHARACTERS:
            break
    said = latest_first[:limit][::-1]
    # A history that begins with a call's answer is one that providers refuse.
    while said and not isinstance(said[0], UserMessage):
        said.pop(0)
    return tuple(said)
