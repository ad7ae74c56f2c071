"""What rows hold, as values: times (milliseconds since 1970 in UTC), ids, pages with their opaque cursors, runs."""

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from netra_apex.core.conversations import Page
from netra_apex.core.messages import Attachment
from netra_apex.core.runs import Run, RunStatus
from netra_apex.errors import Invalid

T = TypeVar("T")
# Where a first page begins. A value and no null, so that every page is one range of an index.
EARLIEST = (-1, "")
LATEST = (2**62, "")

_attachments: "msgspec.json.Decoder[tuple[Attachment, ...]]" = msgspec.json.Decoder(tuple[Attachment, ...])
_Cursor = tuple[Annotated[int, msgspec.Meta(ge=0, le=2**53)], str]


def now_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def to_ms(at: datetime) -> int:
    """An aware time as milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware time in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def cursor_of(number: int, ident: str) -> str:
    """Where a page ended, as text that a client hands back unread."""
    return base64.urlsafe_b64encode(msgspec.json.encode((number, ident))).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """What `cursor_of` was given.

    Raises:
        Invalid: it is no cursor of ours. (A forged one only moves its own reader's page: the owner is in the WHERE.)
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=_Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Invalid("cursor is none of ours: use next_cursor of the page before") from error


def page_of(
    rows: Sequence[tuple[Any, ...]],
    limit: int,
    item: Callable[[tuple[Any, ...]], T],
    end: Callable[[tuple[Any, ...]], tuple[int, str]],
) -> Page[T]:
    """A page of `limit` at most, from rows of which one more was asked for: where that came, there is another page.

    `end` gives what the cursor after a row is made of.
    """
    items = tuple(item(row) for row in rows[:limit])
    return Page(items=items, next_cursor=cursor_of(*end(rows[limit - 1])) if len(rows) > limit else None)


def may_be_id(*idents: str) -> bool:
    """Whether these could be ids: Postgres takes neither NUL nor half a surrogate pair."""
    return all(ident.isascii() and ident.isprintable() for ident in idents)


def attachments(files: str) -> tuple[Attachment, ...]:
    """What came with a message, from its column."""
    return _attachments.decode(files)


def run_of(row: tuple[Any, ...]) -> Run:
    """A run from its columns, in the order that `runs.sql` and `conversations.sql` select them."""
    run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at = row
    return Run(
        run_id=run_id,
        user_id=user_id,
        thread_id=thread_id,
        message_id=message_id,
        agent=agent,
        status=RunStatus(status),
        last_seq=last_seq,
        created_at=from_ms(created_at),
        ended_at=None if ended_at is None else from_ms(ended_at),
    )
