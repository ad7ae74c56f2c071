"""What is written when a run is accepted or begun, and what is read of its thread's past: jobs for the database."""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec

from netra_apex.core.conversations import Accepted, Admitted, Post
from netra_apex.core.events import RunQueued, decode, encode, told_now
from netra_apex.core.messages import AssistantMessage, Attachment, ModelMessage, UserMessage, told_with
from netra_apex.core.runs import Seat
from netra_apex.errors import Forbidden, IdempotencyConflict, NotFound, QueueFull, Superseded
from netra_apex.stores.database import Row, Transaction
from netra_apex.stores.rows import attachments
from netra_apex.stores.statements import statements
from netra_apex.stores.turns import reason_to_wait, standing

SQL = statements("runs")
TITLE_LENGTH = 80
PAGE = 16  # messages that are read at once
HISTORY_CHARACTERS = 2 * 1024 * 1024  # of a thread's past, as JSON, that a run is told: no model takes more

_permissions: "msgspec.json.Decoder[frozenset[str]]" = msgspec.json.Decoder(frozenset[str])
_transcript: "msgspec.json.Decoder[list[ModelMessage]]" = msgspec.json.Decoder(list[ModelMessage])


def title_of(content: str) -> str:
    """A thread's title, from the first line of its first message."""
    line = next((line.strip() for line in content.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def digest(post: Post) -> str:
    """A digest of what a post asks for: what must be the same under one idempotency key."""
    # What is left out is as if it could not be: a key that was remembered before it could is known again.
    asked = [post.content, post.agent, post.replace, post.files, post.before]
    while len(asked) > 3 and not asked[-1]:
        asked.pop()
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


async def accepted_before(tx: Transaction, values: dict[str, Any], seat: Seat) -> tuple[Admitted, int] | None:
    """What `accept` has answered, where it was asked before and its answer was lost with the connection."""
    row = await tx.one(SQL["accepted"], values)
    if row is None:
        return None
    position, message_id, executor, first = row
    accepted = Accepted(thread_id=values["thread_id"], run_id=values["run_id"], message_id=message_id, status="queued")
    started = executor is not None and executor == seat.executor
    queued = first if first is not None and isinstance(decode(first), RunQueued) else None
    return Admitted(accepted, started=started, queued=queued), position


async def accept(tx: Transaction, post: Post, values: dict[str, Any], seat: Seat) -> tuple[Admitted, int]:
    """Thread, message and run; or the answer that was given before. With the run's position in its thread."""
    await tx.lock(values["user_id"])
    # Refusals come first: a job that refuses has written nothing.
    before = await repeated(tx, post, values)
    if before is not None:
        return Admitted(before), 1
    values |= {"files": await _attached(tx, post, values)}
    files = attachments(values["files"])
    stands = await standing(tx, values)
    if stands[3] and (again := await accepted_before(tx, values, seat)) is not None:
        return replace(again[0], files=files), again[1]
    replaced = None if post.thread_id is None else await _check_thread(tx, post, values)
    if post.if_busy == "steer" and (steered := await _steer(tx, post, values, seat, stands[1])) is not None:
        return Admitted(steered, steers=True), 1
    reason = await reason_to_wait(tx, seat, post.if_busy, stands, values)
    # It waits for runs of its user's own, which is not the server's to shorten.
    own_wait = reason is not None and bool(stands[2] or stands[0] >= seat.per_user)
    position = 1
    if post.thread_id is None:
        await tx.run(SQL["add_thread"], values)
        if post.before:
            await tx.run(SQL["add_opening"], values | {"body": msgspec.json.encode(post.before).decode()})
    else:
        position = await _in_thread(tx, post, values, replaced)
        if post.if_busy == "interrupt":
            # With the acceptance, so that no crash comes between; who carries them out is told right after.
            await tx.run(SQL["interrupt"], values | {"position": position})
    started = reason is None and seat.executor is not None
    row = values | {
        "position": position,
        "executor": seat.executor if started else None,
        "last_seq": int(reason is not None),
        "first_event_at": None if reason is None else values["now"],
        "own_wait": int(own_wait),
    }
    await tx.run(SQL["add_run"], row)
    await tx.run(SQL["add_message"], row)
    queued = None
    if reason is not None:
        queued = _queued(values, reason)
        await tx.run(SQL["add_event"], row | {"seq": 1, "body": queued})
    if post.idempotency_key is not None:
        await tx.run(SQL["remember_key"], values)
    accepted = Accepted(
        thread_id=values["thread_id"], run_id=values["run_id"], message_id=values["message_id"], status="queued"
    )
    return Admitted(accepted, started=started, queued=queued, files=files), position


async def _attached(tx: Transaction, post: Post, values: dict[str, Any]) -> str:
    """The files that come with a post, as JSON. Raises: NotFound: its thread has no such file."""
    found: list[Row] = []
    for file_id in dict.fromkeys(post.files):
        row = await tx.one(SQL["attachment"], values | {"file_id": file_id})
        if row is None:
            raise NotFound("file", file_id)
        found.append(row)
    return msgspec.json.encode([Attachment(*row) for row in found]).decode()


async def _steer(tx: Transaction, post: Post, values: dict[str, Any], seat: Seat, waiting: int) -> Accepted | None:
    """Gives the message to the run that the thread has; None where it has none, and the message makes one.

    Raises:
        Forbidden: it may do what whoever sends the message may not, as with a key that was given less.
        QueueFull: with the user's runs that wait, as many of his messages are unheard as may wait.
    """
    under_way = await tx.one(SQL["run_under_way"], values)
    if under_way is None:
        return None
    run_id, status, permissions = under_way
    lacking = _permissions.decode(permissions) - _permissions.decode(values["permissions"])
    if lacking:
        raise Forbidden(f"the run has the permission {', '.join(sorted(lacking))}, which you lack: wait for its end")
    target = values | {"run_id": run_id}
    unheard = await tx.one(SQL["unheard_count"], target)
    if unheard is not None and unheard[0] + waiting >= seat.queued_per_user:
        raise QueueFull(f"{seat.queued_per_user} of your messages are waiting already")
    # It holds the run's row: a run that ends at this moment has ended, or finds that it was given this.
    if not await tx.run(SQL["steer"], target):
        return None
    await tx.run(SQL["add_steering"], target)
    await tx.run(SQL["touch_thread"], values)
    if post.idempotency_key is not None:
        await tx.run(SQL["remember_key"], target)
    return Accepted(thread_id=values["thread_id"], run_id=run_id, message_id=values["message_id"], status=status)


def _queued(values: dict[str, Any], reason: str) -> str:
    """The event that a run waits, which is its first."""
    event = RunQueued(
        reason=reason,
        seq=1,
        run_id=values["run_id"],
        thread_id=values["thread_id"],
        agent=values["agent"],
        at=told_now(),
    )
    return encode(event)


async def repeated(tx: Transaction, post: Post, values: dict[str, Any]) -> Accepted | None:
    """The answer that the post's idempotency key had, if it had one. Raises: IdempotencyConflict."""
    if post.idempotency_key is None:
        return None
    before = await tx.one(SQL["repeated"], values)
    if before is None:
        return None
    digest, thread_id, run_id, message_id, status = before
    if digest != values["digest"]:
        raise IdempotencyConflict("this idempotency_key came before, with other content")
    return Accepted(thread_id=thread_id, run_id=run_id, message_id=message_id, status=status, repeated=True)


async def _check_thread(tx: Transaction, post: Post, values: dict[str, Any]) -> int | None:
    """Whether the thread is there, and the message that is to be replaced: its position, if there is to be one."""
    if not post.begins and await tx.one(SQL["thread_title"], values) is None:
        raise NotFound("thread", values["thread_id"])
    if post.follows is not None:
        last = await tx.one(SQL["last_run"], values)
        if last is None or last[0] != post.follows:
            raise Superseded("the thread has gone on from there")
    if post.replace is None:
        return None
    replaced = await tx.one(SQL["position_of"], values | {"message_id": post.replace})
    if replaced is None:
        raise NotFound("message of yours in this thread", post.replace)
    return int(replaced[0])


async def _in_thread(tx: Transaction, post: Post, values: dict[str, Any], replaced: int | None) -> int:
    """The position of a new run in a thread that was named, which is told of it.

    Raises:
        NotFound: it was to begin, and is another user's; nothing has been written.
    """
    begun = post.begins and await tx.run(SQL["add_thread"], values)
    if not begun and await tx.one(SQL["thread_title"], values) is None:
        raise NotFound("thread", values["thread_id"])
    position = await _next_position(tx, values)
    if replaced is not None:
        await tx.run(SQL["replace_from"], values | {"position": replaced})
    await tx.run(SQL["touch_thread"], values)
    return position


async def open_run(tx: Transaction, values: dict[str, Any]) -> int:
    """Thread, run and message of a run that no post began, a program's own; its position in the thread."""
    await tx.lock(values["user_id"])
    await tx.run(SQL["add_thread"], values)
    if await tx.one(SQL["thread_title"], values) is None:
        raise NotFound("thread", values["thread_id"])
    position = await _next_position(tx, values)
    row = values | {"position": position, "last_seq": 0, "files": "[]", "first_event_at": None, "own_wait": 0}
    await tx.run(SQL["add_run"], row)
    await tx.run(SQL["add_message"], row)
    return position


async def _next_position(tx: Transaction, values: dict[str, Any]) -> int:
    row = await tx.one(SQL["next_position"], values)
    assert row is not None
    return int(row[0])


async def said_before(
    tx: Transaction, values: dict[str, Any], *, itself: bool = False
) -> tuple[ModelMessage, ...] | None:
    """What was said before a run, or up to its end with `itself`, oldest first; None where the run does not exist.

    No more is read than is wanted: of a thread with long tool results that is little.
    """
    row = await tx.one(SQL["position"], values)
    if row is None:
        return None
    past = _Past(values["limit"])
    first = row[0] + itself
    at = {"position": first, "ordinal": -1}
    while first > 1 and not past.enough:
        page = await tx.all(SQL["said_before"], values | at | {"limit": PAGE})
        for role, content, files, body, position, ordinal in page:
            said = told_with(content, attachments(files)) if role == "user" else AssistantMessage(content)
            past.add(said, body, own=ordinal == 0)
            at = {"position": position, "ordinal": ordinal}
        if len(page) < PAGE:
            break
    if not past.enough and (opening := await tx.one(SQL["opening"], values)) is not None:
        past.open(opening[0])
    return past.said()


class _Past:
    """Gathers what was said, the last first: a run's transcript where it has one, else its bare messages."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._latest_first: list[ModelMessage] = []
        self._bare: list[ModelMessage] = []  # a run's messages, until it is known whether it has a transcript

    @property
    def enough(self) -> bool:
        """Whether no more is wanted."""
        return len(self._latest_first) >= self._limit or self._size > HISTORY_CHARACTERS

    def add(self, said: ModelMessage, body: str | None, *, own: bool) -> None:
        """One more message; its `own`, which it answers, is a run's last one here, and brings the transcript."""
        if self.enough:
            return
        self._bare.append(said)
        if own:
            self._latest_first += reversed(_transcript.decode(body)) if body is not None else self._bare
            self._size += len(body or said.content)
            self._bare = []

    def open(self, body: str) -> None:
        """What was said before the thread began."""
        self._latest_first += reversed(_transcript.decode(body))

    def said(self) -> tuple[ModelMessage, ...]:
        """All of it, oldest first."""
        said = self._latest_first[: self._limit][::-1]
        # A history that begins with a call's answer is one that providers refuse.
        while said and not isinstance(said[0], UserMessage):
            said.pop(0)
        return tuple(said)
